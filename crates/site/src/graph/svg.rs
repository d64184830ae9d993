//! A layered drawing (after Sugiyama, Tagawa and Toda, 1981): a column for each layer, columns
//! ordered by the barycentre of their neighbours to keep crossings few.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{Topology, label};

const BOX_WIDTH: f64 = 168.0;
const BOX_HEIGHT: f64 = 44.0;
const GAP_X: f64 = 96.0;
const GAP_Y: f64 = 20.0;
const MARGIN: f64 = 24.0;
const SWEEPS: usize = 8;

/// Colours follow the reader's preference; a page that embeds the drawing may override them.
const STYLE: &str = "
.wt-box{fill:#fff;stroke:#94a3b8;stroke-width:1.2}
.wt-store{fill:#eff6ff;stroke:#3b82f6}
.wt-name{font:600 13px system-ui,sans-serif;fill:#0f172a}
.wt-sub{font:11px system-ui,sans-serif;fill:#64748b}
.wt-edge{fill:none;stroke:#94a3b8;stroke-width:1.3}
.wt-loose{stroke-dasharray:4 4}
.wt-tip{fill:#94a3b8}
@media (prefers-color-scheme:dark){.wt-box{fill:#1e293b;stroke:#475569}.wt-store{fill:#172554;stroke:#3b82f6}.wt-name{fill:#f1f5f9}.wt-sub{fill:#94a3b8}.wt-edge{stroke:#64748b}.wt-tip{fill:#64748b}}
";

/// The columns, each from top to bottom, as indexes of apps.
fn columns(topology: &Topology) -> Vec<Vec<usize>> {
    let depth = topology
        .apps
        .iter()
        .map(|node| node.layer as usize + 1)
        .max()
        .unwrap_or(0);
    let mut columns = vec![Vec::new(); depth];
    for (index, node) in topology.apps.iter().enumerate() {
        columns[node.layer as usize].push(index);
    }
    let index: BTreeMap<&str, usize> = topology
        .apps
        .iter()
        .enumerate()
        .map(|(i, node)| (node.app.as_str(), i))
        .collect();
    let mut neighbours = vec![Vec::new(); topology.apps.len()];
    for edge in &topology.needs {
        let ends = (index.get(edge.from.as_str()), index.get(edge.to.as_str()));
        if let (Some(from), Some(to)) = ends {
            neighbours[*from].push(*to);
            neighbours[*to].push(*from);
        }
    }
    for sweep in 0..SWEEPS {
        let mut row = vec![0.0; topology.apps.len()];
        for column in &columns {
            for (position, app) in column.iter().enumerate() {
                // Centred, so that short and long columns compare.
                row[*app] = position as f64 - column.len() as f64 / 2.0;
            }
        }
        let mut order: Vec<usize> = (0..columns.len()).collect();
        if sweep % 2 == 1 {
            order.reverse();
        }
        for layer in order {
            let centre = |app: usize| {
                let near = &neighbours[app];
                match near.len() {
                    0 => row[app],
                    count => near.iter().map(|n| row[*n]).sum::<f64>() / count as f64,
                }
            };
            let mut keyed: Vec<(f64, usize)> = columns[layer]
                .iter()
                .map(|app| (centre(*app), *app))
                .collect();
            keyed.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            columns[layer] = keyed.into_iter().map(|(_, app)| app).collect();
        }
    }
    columns
}

pub(super) fn draw(topology: &Topology) -> String {
    let columns = columns(topology);
    let tallest = columns.iter().map(Vec::len).max().unwrap_or(0) as f64;
    let count = columns.len() as f64;
    let width = MARGIN * 2.0 + count * BOX_WIDTH + (count - 1.0).max(0.0) * GAP_X;
    let height = MARGIN * 2.0 + tallest * (BOX_HEIGHT + GAP_Y) - GAP_Y.min(tallest * GAP_Y);

    let mut at: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    for (layer, column) in columns.iter().enumerate() {
        // What needs nothing is on the right; who needs it is left of it.
        let x = MARGIN + (count - 1.0 - layer as f64) * (BOX_WIDTH + GAP_X);
        let used = column.len() as f64 * (BOX_HEIGHT + GAP_Y) - GAP_Y;
        let top = (height - used) / 2.0;
        for (row, app) in column.iter().enumerate() {
            let y = top + row as f64 * (BOX_HEIGHT + GAP_Y);
            at.insert(topology.apps[*app].app.as_str(), (x, y));
        }
    }
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" height=\"{height:.0}\" role=\"img\" aria-label=\"Topology of {}\">\n<style>{STYLE}</style>\n",
        topology.site
    );
    for edge in &topology.needs {
        let ends = (at.get(edge.from.as_str()), at.get(edge.to.as_str()));
        if let (Some(from), Some(to)) = ends {
            arrow(&mut svg, *from, *to, edge.gate);
        }
    }
    for node in &topology.apps {
        let Some((x, y)) = at.get(node.app.as_str()) else {
            continue;
        };
        let class = if node.store {
            "wt-box wt-store"
        } else {
            "wt-box"
        };
        let (middle, name_y, sub_y) = (x + BOX_WIDTH / 2.0, y + 19.0, y + 34.0);
        let _ = writeln!(
            svg,
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{BOX_WIDTH}\" height=\"{BOX_HEIGHT}\" rx=\"8\"/>\
             <text class=\"wt-name\" x=\"{middle:.1}\" y=\"{name_y:.1}\" text-anchor=\"middle\">{}</text>\
             <text class=\"wt-sub\" x=\"{middle:.1}\" y=\"{sub_y:.1}\" text-anchor=\"middle\">{}</text>",
            label(node),
            node.package
        );
    }
    svg.push_str("</svg>\n");
    svg
}

fn arrow(svg: &mut String, from: (f64, f64), to: (f64, f64), gate: bool) {
    let class = if gate { "wt-edge" } else { "wt-edge wt-loose" };
    let (y1, y2) = (from.1 + BOX_HEIGHT / 2.0, to.1 + BOX_HEIGHT / 2.0);
    let path = if to.0 > from.0 {
        let (x1, x2) = (from.0 + BOX_WIDTH, to.0 - 7.0);
        let bend = ((x2 - x1) / 2.0).min(GAP_X * 0.7);
        format!(
            "M{x1:.1} {y1:.1} C{:.1} {y1:.1} {:.1} {y2:.1} {x2:.1} {y2:.1}",
            x1 + bend,
            x2 - bend
        )
    } else {
        // A need that does not gate may point back or stay in its column: around, on the right.
        let (x1, x2) = (from.0 + BOX_WIDTH, to.0 + BOX_WIDTH + 7.0);
        let out = x1.max(x2) + GAP_X / 2.0;
        format!("M{x1:.1} {y1:.1} C{out:.1} {y1:.1} {out:.1} {y2:.1} {x2:.1} {y2:.1}")
    };
    let (tip, back) = if to.0 > from.0 {
        (to.0, to.0 - 8.0)
    } else {
        (to.0 + BOX_WIDTH, to.0 + BOX_WIDTH + 8.0)
    };
    let _ = writeln!(
        svg,
        "<path class=\"{class}\" d=\"{path}\"/><polygon class=\"wt-tip\" points=\"{tip:.1},{y2:.1} {back:.1},{:.1} {back:.1},{:.1}\"/>",
        y2 - 4.0,
        y2 + 4.0
    );
}
