use std::fmt::Write as _;

use super::{Report, gantt, text::time};

/// Text for an element or a quoted attribute.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

/// The verbs in the order of a build, with a colour that tells them apart on light and dark.
const COLOURS: [(&str, &str); 10] = [
    ("fetch", "#38bdf8"),
    ("install", "#6366f1"),
    ("configure", "#a78bfa"),
    ("start", "#f59e0b"),
    ("ready", "#22c55e"),
    ("verify", "#14b8a6"),
    ("serve", "#0ea5e9"),
    ("drain", "#f472b6"),
    ("stop", "#f87171"),
    ("uninstall", "#9ca3af"),
];

const STYLE: &str = include_str!("report.css");
const SCRIPT: &str = include_str!("report.js");

pub(super) fn write(report: &Report) -> String {
    let state = format!("{:?}", report.state).to_lowercase();
    let title = escape(&format!("{} — {state}", report.title));
    let mut colours = String::new();
    for (verb, colour) in COLOURS {
        let _ = writeln!(colours, ".v-{verb}{{fill:{colour};background:{colour}}}");
    }
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>\n{STYLE}\n{colours}</style>\n</head>\n<body>\n<main>\n"
    );
    let _ = writeln!(
        page,
        "<header><h1>{}</h1><span class=\"state {state}\">{state}</span>\
         <p class=\"meta\">{} · job {} · began {}</p></header>",
        escape(&report.title),
        escape(&report.subject),
        report.job,
        report.began_at.strftime("%Y-%m-%d %H:%M:%S UTC"),
    );
    if !report.cause.is_empty() {
        let _ = writeln!(page, "<p class=\"cause\">{}</p>", escape(&report.cause));
    }
    figures(&mut page, report);
    page.push_str("<section><h2>Timeline</h2>\n<div class=\"legend\">");
    for (verb, _) in COLOURS
        .iter()
        .filter(|(verb, _)| report.timeline.iter().any(|b| b.verb == *verb))
    {
        let _ = write!(
            page,
            "<button data-verb=\"{verb}\"><i class=\"v-{verb}\"></i>{verb}</button>"
        );
    }
    page.push_str(
        "<button data-verb=\"critical\"><i class=\"ring\"></i>critical path</button></div>\n",
    );
    page.push_str(&gantt::draw(report));
    page.push_str("</section>\n");
    path(&mut page, report);
    operations(&mut page, report);
    apps(&mut page, report);
    if let Some(topology) = &report.topology {
        let _ = writeln!(
            page,
            "<section><h2>Topology</h2><div class=\"scroll\">{}</div></section>",
            topology.svg()
        );
    }
    let _ = write!(
        page,
        "</main>\n<script>\n{SCRIPT}\n</script>\n</body>\n</html>\n"
    );
    page
}

fn figures(page: &mut String, report: &Report) {
    let retries: u64 = report.operations.iter().map(|row| row.retries).sum();
    let figures = [
        ("wall time", time(report.wall_ms)),
        ("critical path", time(report.critical_ms)),
        ("wall / critical", format!("{:.2}", report.ratio)),
        ("steps", report.timeline.len().to_string()),
        ("retries", retries.to_string()),
    ];
    page.push_str("<dl class=\"figures\">");
    for (name, value) in figures {
        let _ = write!(page, "<div><dt>{name}</dt><dd>{value}</dd></div>");
    }
    page.push_str("</dl>\n");
}

fn path(page: &mut String, report: &Report) {
    page.push_str("<section><h2>Critical path</h2><table><thead><tr><th>step</th><th class=\"n\">took</th><th class=\"n\">waited before</th><th class=\"n\">share</th></tr></thead><tbody>");
    for part in &report.critical_path {
        let share = part.running_ms as f64 * 100.0 / report.critical_ms.max(1) as f64;
        let _ = write!(
            page,
            "<tr><td><i class=\"dot v-{}\"></i>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{share:.1} %</td></tr>",
            escape(&part.verb),
            escape(&part.step),
            time(part.running_ms),
            time(part.waiting_ms)
        );
    }
    page.push_str("</tbody></table></section>\n");
}

fn operations(page: &mut String, report: &Report) {
    page.push_str("<section><h2>Operations</h2><table><thead><tr><th>operation</th><th class=\"n\">steps</th><th class=\"n\">attempts</th><th class=\"n\">success</th><th class=\"n\">retries</th><th class=\"n\">p50</th><th class=\"n\">p99</th></tr></thead><tbody>");
    for row in &report.operations {
        let _ = write!(
            page,
            "<tr><td><i class=\"dot v-{verb}\"></i>{verb}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{:.1} %</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            row.count,
            row.attempts,
            row.success_rate * 100.0,
            row.retries,
            time(row.p50_ms),
            time(row.p99_ms),
            verb = escape(&row.verb),
        );
    }
    page.push_str("</tbody></table></section>\n");
}

fn apps(page: &mut String, report: &Report) {
    page.push_str("<section><h2>Apps</h2><table><thead><tr><th>app</th><th class=\"n\">layer</th><th class=\"n\">instances</th><th class=\"n\">began</th><th class=\"n\">ready</th><th class=\"n\">done</th></tr></thead><tbody>");
    for app in &report.apps {
        let _ = write!(
            page,
            "<tr><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            escape(&app.app),
            app.layer,
            app.instances,
            time(app.from_ms),
            app.ready_ms.map_or_else(|| "–".to_owned(), time),
            time(app.to_ms)
        );
    }
    page.push_str("</tbody></table></section>\n");
}
