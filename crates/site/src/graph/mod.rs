//! Who needs whom: the topology of a site, drawn as DOT (graphviz.org), Mermaid (mermaid.js.org)
//! or SVG.

mod layout;
mod svg;

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use wright_model::Name;

use crate::desired::Desired;

/// The apps of a site and who needs whom.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topology {
    /// The site's name.
    pub site: String,
    /// By layer, then by name.
    pub apps: Vec<Node>,
    /// By who needs, then by whom.
    pub needs: Vec<Edge>,
}

/// An app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its name.
    pub app: Name,
    /// `NAME@VERSION`.
    pub package: String,
    /// How many.
    pub instances: u32,
    /// 0: needs nothing.
    pub layer: u32,
    /// Whether it keeps data.
    pub store: bool,
}

/// One app needs another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edge {
    /// Who needs.
    pub from: Name,
    /// Whom.
    pub to: Name,
    /// Whether its start waits for the other's readiness.
    pub gate: bool,
}

/// The topology of a site.
pub fn topology(desired: &Desired) -> Topology {
    let mut apps: Vec<Node> = desired
        .apps
        .values()
        .map(|app| Node {
            app: app.name.clone(),
            package: app.package.to_string(),
            instances: app.instances,
            layer: app.layer,
            store: app.store,
        })
        .collect();
    apps.sort_by(|a, b| (a.layer, &a.app).cmp(&(b.layer, &b.app)));
    let edges = desired.apps.values().flat_map(|app| {
        let edge = |need: &crate::desired::Need| Edge {
            from: app.name.clone(),
            to: need.app.clone(),
            gate: need.gate,
        };
        app.needs.iter().map(edge)
    });
    let mut needs: Vec<Edge> = edges.collect();
    needs.sort_by(|a, b| (&a.from, &a.to).cmp(&(&b.from, &b.to)));
    Topology {
        site: desired.site.to_string(),
        apps,
        needs,
    }
}

fn label(node: &Node) -> String {
    match node.instances {
        1 => node.app.to_string(),
        count => format!("{} ×{count}", node.app),
    }
}

impl Topology {
    /// In the DOT language of Graphviz.
    pub fn dot(&self) -> String {
        let mut text = format!("digraph \"{}\" {{\n  rankdir=LR;\n", self.site);
        text.push_str("  node [shape=box, style=rounded, fontname=\"sans-serif\"];\n");
        for node in &self.apps {
            let shape = if node.store { ", shape=cylinder" } else { "" };
            let _ = writeln!(
                text,
                "  \"{}\" [label=\"{}\"{shape}];",
                node.app,
                label(node)
            );
        }
        for edge in &self.needs {
            let style = if edge.gate { "" } else { " [style=dashed]" };
            let _ = writeln!(text, "  \"{}\" -> \"{}\"{style};", edge.from, edge.to);
        }
        text.push_str("}\n");
        text
    }

    /// As a Mermaid flow chart.
    pub fn mermaid(&self) -> String {
        let id = |app: &Name| app.as_str().replace('-', "_");
        let mut text = "flowchart LR\n".to_owned();
        for node in &self.apps {
            let (open, close) = if node.store { ("[(", ")]") } else { ("[", "]") };
            let _ = writeln!(text, "  {}{open}\"{}\"{close}", id(&node.app), label(node));
        }
        for edge in &self.needs {
            let arrow = if edge.gate { "-->" } else { "-.->" };
            let _ = writeln!(text, "  {} {arrow} {}", id(&edge.from), id(&edge.to));
        }
        text
    }

    /// As an SVG image that stands alone: layers from right to left, arrows from who needs to what
    /// is needed.
    pub fn svg(&self) -> String {
        svg::draw(self)
    }
}
