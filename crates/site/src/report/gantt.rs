//! The timeline as SVG: a row for each instance, grouped by host.

use std::fmt::Write as _;

use wright_workflow::StepState;

use super::{Bar, Report, html::escape, text::time};

const LABELS: f64 = 190.0;
const WIDTH: f64 = 1180.0;
const ROW: f64 = 20.0;
const HEAD: f64 = 26.0;

/// A step of the scale at which at most a dozen lines fit.
fn tick(wall_ms: u64) -> u64 {
    const STEPS: [u64; 13] = [
        10, 50, 100, 250, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 300_000, 600_000,
    ];
    STEPS
        .into_iter()
        .find(|step| wall_ms / step <= 12)
        .unwrap_or(3_600_000)
}

/// The rows: the host that begins with this row, the label, and the bars.
fn rows(report: &Report) -> Vec<(Option<&str>, &str, Vec<&Bar>)> {
    let mut rows: Vec<(Option<&str>, &str, Vec<&Bar>)> = Vec::new();
    let mut host = None;
    for bar in &report.timeline {
        let new_host = host != Some(bar.host.as_str());
        match rows.last_mut() {
            Some((_, what, bars)) if !new_host && *what == bar.what => bars.push(bar),
            _ => rows.push((new_host.then_some(bar.host.as_str()), &bar.what, vec![bar])),
        }
        host = Some(&bar.host);
    }
    rows
}

pub(super) fn draw(report: &Report) -> String {
    let rows = rows(report);
    let groups = rows.iter().filter(|(host, _, _)| host.is_some()).count() as f64;
    let height = HEAD + rows.len() as f64 * ROW + groups * ROW + 8.0;
    let scale = (WIDTH - LABELS - 16.0) / report.wall_ms.max(1) as f64;
    let mut svg = format!(
        "<svg id=\"gantt\" viewBox=\"0 0 {WIDTH} {height:.0}\" width=\"100%\" role=\"img\" aria-label=\"Timeline\">\n"
    );
    let step = tick(report.wall_ms);
    let mut at = 0;
    while at <= report.wall_ms {
        let x = LABELS + at as f64 * scale;
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{HEAD}\" y2=\"{height:.0}\"/><text class=\"tick\" x=\"{x:.1}\" y=\"16\">{}</text>",
            time(at)
        );
        at += step;
    }
    let mut y = HEAD;
    for (host, what, bars) in rows {
        if let Some(host) = host {
            let _ = writeln!(
                svg,
                "<text class=\"host\" x=\"4\" y=\"{:.1}\">{}</text>",
                y + 15.0,
                escape(host)
            );
            y += ROW;
        }
        let _ = writeln!(
            svg,
            "<text class=\"what\" x=\"16\" y=\"{:.1}\">{}</text>",
            y + 14.0,
            escape(what)
        );
        for bar in bars {
            draw_bar(&mut svg, bar, y, scale);
        }
        y += ROW;
    }
    svg.push_str("</svg>\n");
    svg
}

fn draw_bar(svg: &mut String, bar: &Bar, y: f64, scale: f64) {
    let x = LABELS + bar.from_ms as f64 * scale;
    let width = ((bar.to_ms - bar.from_ms) as f64 * scale).max(1.5);
    let mut class = format!("bar v-{}", bar.verb);
    if bar.critical {
        class.push_str(" critical");
    }
    if matches!(bar.state, StepState::Failed | StepState::Stuck) {
        class.push_str(" failed");
    }
    let mut tip = format!(
        "{}\n{} from {}",
        bar.step,
        time(bar.to_ms - bar.from_ms),
        time(bar.from_ms)
    );
    if bar.attempts > 1 {
        let _ = write!(tip, "\n{} attempts", bar.attempts);
    }
    if !bar.error.is_empty() {
        let _ = write!(tip, "\n{}", bar.error);
    }
    let _ = writeln!(
        svg,
        "<rect class=\"{class}\" data-verb=\"{}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"14\" rx=\"2\"><title>{}</title></rect>",
        escape(&bar.verb),
        y + 3.0,
        escape(&tip)
    );
}
