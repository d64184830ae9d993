use std::fmt::Write as _;

use super::Report;
use crate::Label;

/// Milliseconds as people read them.
pub(super) fn time(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{:.2} s", ms as f64 / 1_000.0),
        _ => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1_000),
    }
}

pub(super) fn write(report: &Report) -> String {
    let state = format!("{:?}", report.state).to_lowercase();
    let mut text = format!("{}: {state}\n", report.title);
    if !report.cause.is_empty() {
        let _ = writeln!(text, "cause: {}", report.cause);
    }
    let _ = writeln!(
        text,
        "\nwall time {}, critical path {}, ratio {:.2}",
        time(report.wall_ms),
        time(report.critical_ms),
        report.ratio
    );
    text.push_str("\nCritical path\n");
    for part in &report.critical_path {
        let waited = if part.waiting_ms > 0 {
            format!("  (waited {})", time(part.waiting_ms))
        } else {
            String::new()
        };
        let _ = writeln!(
            text,
            "  {:>10}  {}{waited}",
            time(part.running_ms),
            Label::of(&part.step)
        );
    }
    text.push_str("\nOperation    steps  success  retries         p50         p99\n");
    for row in &report.operations {
        let _ = writeln!(
            text,
            "{:<12} {:>5}  {:>6.1}%  {:>7}  {:>10}  {:>10}",
            row.verb,
            row.count,
            row.success_rate * 100.0,
            row.retries,
            time(row.p50_ms),
            time(row.p99_ms)
        );
    }
    text
}
