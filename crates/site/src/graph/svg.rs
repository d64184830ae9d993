use std::fmt::Write as _;

use super::{
    Topology, label,
    layout::{BOX_HEIGHT, BOX_WIDTH, GAP_X, Layout, layout},
};

/// Colours follow the reader's preference.
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

pub(super) fn draw(topology: &Topology) -> String {
    let drawn = layout(topology);
    let Layout { width, height, .. } = drawn;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" height=\"{height:.0}\" role=\"img\" aria-label=\"Topology of {}\">\n<style>{STYLE}</style>\n",
        topology.site
    );
    for (edge, way) in topology.needs.iter().zip(&drawn.ways) {
        let class = if edge.gate {
            "wt-edge"
        } else {
            "wt-edge wt-loose"
        };
        if way.is_empty() {
            let at = |name: &wright_model::Name| {
                topology
                    .apps
                    .iter()
                    .position(|node| node.app == *name)
                    .map(|i| drawn.boxes[i])
            };
            if let (Some(from), Some(to)) = (at(&edge.from), at(&edge.to)) {
                around(&mut svg, class, from, to);
            }
        } else {
            arrow(&mut svg, class, way);
        }
    }
    for (node, (x, middle)) in topology.apps.iter().zip(&drawn.boxes) {
        let class = if node.store {
            "wt-box wt-store"
        } else {
            "wt-box"
        };
        let centre = x + BOX_WIDTH / 2.0;
        let _ = writeln!(
            svg,
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"{BOX_WIDTH}\" height=\"{BOX_HEIGHT}\" rx=\"8\"/>\
             <text class=\"wt-name\" x=\"{centre:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\
             <text class=\"wt-sub\" x=\"{centre:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            middle - BOX_HEIGHT / 2.0,
            middle - 3.0,
            label(node),
            middle + 12.0,
            node.package
        );
    }
    svg.push_str("</svg>\n");
    svg
}

/// From box to box, through the lanes between.
fn arrow(svg: &mut String, class: &str, way: &[(f64, f64)]) {
    let mut path = String::new();
    for (index, pair) in way.windows(2).enumerate() {
        let ((from_x, y1), (to_x, y2)) = (pair[0], pair[1]);
        let last = index + 2 == way.len();
        let (x1, x2) = (from_x + BOX_WIDTH, if last { to_x - 7.0 } else { to_x });
        let middle = f64::midpoint(x1, x2);
        let verb = if index == 0 { 'M' } else { 'L' };
        let _ = write!(
            path,
            "{verb}{x1:.1} {y1:.1} C{middle:.1} {y1:.1} {middle:.1} {y2:.1} {x2:.1} {y2:.1} "
        );
    }
    if let Some((x, y)) = way.last() {
        tip(svg, class, path.trim_end(), (*x, *y), -8.0);
    }
}

/// A need that does not gate may point back or stay in its column: around, on the right.
fn around(svg: &mut String, class: &str, from: (f64, f64), to: (f64, f64)) {
    let (x1, x2) = (from.0 + BOX_WIDTH, to.0 + BOX_WIDTH);
    let out = x1.max(x2) + GAP_X / 2.0;
    let path = format!(
        "M{x1:.1} {:.1} C{out:.1} {:.1} {out:.1} {:.1} {:.1} {:.1}",
        from.1,
        from.1,
        to.1,
        x2 + 7.0,
        to.1
    );
    tip(svg, class, &path, (x2, to.1), 8.0);
}

fn tip(svg: &mut String, class: &str, path: &str, (x, y): (f64, f64), back: f64) {
    let back = x + back;
    let _ = writeln!(
        svg,
        "<path class=\"{class}\" d=\"{path}\"/><polygon class=\"wt-tip\" points=\"{x:.1},{y:.1} {back:.1},{:.1} {back:.1},{:.1}\"/>",
        y - 4.0,
        y + 4.0
    );
}
