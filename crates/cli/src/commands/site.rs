//! `wright site …`

use std::path::Path;

use console::style;
use serde::Deserialize;
use wright_model::{Name, Phase};
use wright_server::api::{UpAnswer, UpRequest};
use wright_site::{
    Action, Bundle, Causes, Explanation, Label, Plan, PlanSummary, Report, SiteStatus, Touched,
    TouchedLayer, Why,
};
use wright_workflow::JobId;

use super::{Context, confirm, job};
use crate::{
    args::{Format, GraphFormat, SiteCommand},
    failure::Failure,
    output,
};

/// Does it.
pub async fn run(context: Context, command: SiteCommand) -> Result<(), Failure> {
    match command {
        SiteCommand::Plan { file, graph } => plan(&context, &file, graph).await,
        SiteCommand::Up {
            file,
            yes,
            detach,
            report,
        } => up(&context, &file, yes, detach, report.as_deref()).await,
        SiteCommand::Down { site, yes, detach } => down(&context, &site, yes, detach).await,
        SiteCommand::Status { site } => {
            output::print(context.format, &status(&context, &site).await?, tree)
        }
        SiteCommand::Explain {
            site,
            instance: None,
        } => {
            let path = format!("/sites/{site}/explain");
            let causes: Causes = context.client.get(&path).await?;
            // The status of a large site is large: asked for only where there is nothing to explain.
            let state = match (context.format, causes.instances) {
                (Format::Table, 0) => status(&context, &site).await?.state,
                _ => String::new(),
            };
            output::print(context.format, &causes, |causes| explained(causes, &state))
        }
        SiteCommand::Explain {
            site,
            instance: Some(instance),
        } => {
            let path = format!("/sites/{site}/explain/{instance}");
            let told: Option<Explanation> = context.client.get(&path).await?;
            output::print(context.format, &told, |told| match told {
                None => format!("{instance} runs and is ready"),
                Some(told) => explanation(instance.as_str(), &told.why),
            })
        }
        SiteCommand::Report { site, html } => {
            if let Some(file) = html {
                return save_report(&context, &site, &file).await;
            }
            print_report(&context, &site).await
        }
        SiteCommand::List => list(&context).await,
    }
}

/// A plan as people are shown it.
const BRIEF: &str = "/plans?summary=true";

fn collect(file: &Path) -> Result<Bundle, Failure> {
    wright_site::bundle::collect(file).map_err(|findings| {
        let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
        Failure::failed(format!(
            "the site's files cannot be read\n\n{}",
            lines.join("\n")
        ))
    })
}

async fn plan(context: &Context, file: &Path, graph: Option<GraphFormat>) -> Result<(), Failure> {
    let bundle = collect(file)?;
    if let Some(format) = graph {
        let plan: Plan = context.client.post("/plans?steps=false", &bundle).await?;
        let topology = &plan.topology;
        output::say(&match format {
            GraphFormat::Svg => topology.svg(),
            GraphFormat::Dot => topology.dot(),
            GraphFormat::Mermaid => topology.mermaid(),
        });
        return Ok(());
    }
    // Only programs look at every step.
    if context.format != Format::Table {
        let plan: Plan = context.client.post("/plans", &bundle).await?;
        return output::print(context.format, &plan, |plan| shown(&plan.summary()));
    }
    let plan: PlanSummary = context.client.post(BRIEF, &bundle).await?;
    output::print(context.format, &plan, shown)
}

/// What is done, for people.
fn word(action: &str) -> &str {
    match action {
        "update" => "change",
        "keep" => "leave",
        action => action,
    }
}

/// What a plan would do, for people.
fn shown(plan: &PlanSummary) -> String {
    let [create, change, moved, remove, keep] =
        ["create", "update", "move", "remove", "keep"].map(|action| plan.count(action));
    let mut text = format!(
        "site {}: {create} to create, {change} to change, {moved} to move, {remove} to remove, {keep} left as they are",
        style(&plan.site).bold()
    );
    if plan.step_count == 0 {
        text.push_str("\nnothing is to be done: the site is what its files say");
    } else {
        text.push_str(&steps(plan));
    }
    for warning in &plan.warnings {
        text.push_str(&format!("\n{} {warning}", style("warning:").yellow()));
    }
    text
}

/// The instances that are touched, and the way there.
fn steps(plan: &PlanSummary) -> String {
    let mut text = String::from("\n\n");
    text.push_str(&if plan.touched.is_empty() {
        by_layer(plan)
    } else {
        let head = ["LAYER", "ACTION", "INSTANCE", "PACKAGE", "HOST", "WHY"];
        output::table(head, plan.touched.iter().map(row))
    });
    text.push_str(&format!(
        "\n\n{} steps; expected critical path {:.1} s:\n  {}",
        plan.step_count,
        plan.expected_ms as f64 / 1000.0,
        path(&plan.critical_path)
    ));
    text
}

fn row(touched: &Touched) -> [String; 6] {
    let why = match &touched.action {
        Action::Update { why } => why.join(", "),
        Action::Move { from } => format!("from {from}"),
        Action::Create | Action::Remove | Action::Keep => String::new(),
    };
    [
        touched.layer.to_string(),
        word(touched.action.verb()).to_owned(),
        touched.instance.to_string(),
        touched.package.clone(),
        format!("{} {}", touched.host, touched.address),
        why,
    ]
}

/// How many instances of each layer are touched, and how; which they are is in `-o json`.
fn by_layer(plan: &PlanSummary) -> String {
    let line = |layer: &TouchedLayer| {
        [
            layer.layer.to_string(),
            word(&layer.action).to_owned(),
            layer.instances.to_string(),
            format!("{}, …", layer.such_as),
        ]
    };
    let table = output::table(
        ["LAYER", "ACTION", "INSTANCES", "SUCH AS"],
        plan.layers.iter().map(line),
    );
    format!("{table}\n\nevery one of them: wright site plan FILE -o json")
}

/// The steps of a path, those of one instance together: `db-1 (start, ready) → web-1 (start)`.
fn path(steps: &[String]) -> String {
    let mut parts: Vec<(&str, Vec<&str>)> = Vec::new();
    for label in steps.iter().map(|step| Label::of(step)) {
        match parts.last_mut().filter(|(what, _)| *what == label.what) {
            Some((_, verbs)) => verbs.push(label.verb),
            None => parts.push((label.what, vec![label.verb])),
        }
    }
    let parts: Vec<String> = parts
        .iter()
        .map(|(what, verbs)| format!("{what} ({})", verbs.join(", ")))
        .collect();
    parts.join(" → ")
}

async fn up(
    context: &Context,
    file: &Path,
    yes: bool,
    detach: bool,
    report: Option<&Path>,
) -> Result<(), Failure> {
    let bundle = collect(file)?;
    let shown_plan = if yes {
        None
    } else {
        let plan: PlanSummary = context.client.post(BRIEF, &bundle).await?;
        output::say(&shown(&plan));
        if plan.step_count == 0 {
            return Ok(());
        }
        confirm("Do it?", false)?;
        Some(plan.digest)
    };
    let answer: UpAnswer = context
        .client
        .post(
            "/sites",
            &UpRequest {
                bundle,
                plan: shown_plan,
            },
        )
        .await?;
    let Some(id) = answer.job else {
        return output::print(context.format, &answer.plan, shown);
    };
    if yes && context.format == Format::Table {
        eprintln!("{}\n", shown(&answer.plan));
    }
    if detach {
        output::say(&format!("job {id}"));
        return Ok(());
    }
    finish(context, id, &answer.plan.site, report).await
}

async fn finish(
    context: &Context,
    id: JobId,
    site: &Name,
    html: Option<&Path>,
) -> Result<(), Failure> {
    let view = job::watch(context, &id.to_string()).await?;
    if let Some(file) = html {
        save_report(context, site, file).await?;
    }
    print_report(context, site).await?;
    job::judge(&view)
}

async fn print_report(context: &Context, site: &Name) -> Result<(), Failure> {
    // Only programs look at every step.
    let timeline = context.format != Format::Table;
    let path = format!("/sites/{site}/report?timeline={timeline}");
    let report: Report = context.client.get(&path).await?;
    output::print(context.format, &report, Report::text)
}

async fn save_report(context: &Context, site: &Name, file: &Path) -> Result<(), Failure> {
    let page = context
        .client
        .text(&format!("/sites/{site}/report?format=html"))
        .await?;
    std::fs::write(file, page)
        .map_err(|error| Failure::failed(format!("{}: {error}", file.display())))
}

async fn down(context: &Context, site: &Name, yes: bool, detach: bool) -> Result<(), Failure> {
    confirm(&format!("Take down site {site} and remove its data?"), yes)?;
    let answer: UpAnswer = context
        .client
        .post(&format!("/sites/{site}/down"), &())
        .await?;
    if let Some(id) = answer.job {
        if detach {
            output::say(&format!("job {id}"));
            return Ok(());
        }
        job::judge(&job::watch(context, &id.to_string()).await?)?;
    }
    output::say(&format!("site {site} is down; everything it had is freed"));
    Ok(())
}

/// A line of `GET /sites`.
#[derive(Debug, Deserialize, serde::Serialize)]
struct Line {
    site: String,
    job: Option<JobId>,
    plan: u64,
    served: bool,
}

async fn list(context: &Context) -> Result<(), Failure> {
    let sites: Vec<Line> = context.client.get("/sites").await?;
    output::print(context.format, &sites, |sites| {
        let rows = sites.iter().map(|line| {
            let job = line.job.map(|job| job.to_string()).unwrap_or_default();
            [
                line.site.clone(),
                line.plan.to_string(),
                if line.served { "yes" } else { "no" }.to_owned(),
                job,
            ]
        });
        output::table(["SITE", "PLAN", "SERVED", "LAST JOB"], rows)
    })
}

async fn status(context: &Context, site: &Name) -> Result<SiteStatus, Failure> {
    context.client.get(&format!("/sites/{site}")).await
}

/// Apps, and below each its instances.
fn tree(status: &SiteStatus) -> String {
    let mut lines = vec![format!("{}  {}", style(&status.site).bold(), status.state)];
    for (number, app) in status.apps.iter().enumerate() {
        let last = number + 1 == status.apps.len();
        let (branch, stem) = if last {
            ("└─", "  ")
        } else {
            ("├─", "│ ")
        };
        let count = format!("{}/{}", app.ready, app.want);
        let count = if app.ready == app.want {
            style(count).green()
        } else {
            style(count).red()
        };
        lines.push(format!(
            "{branch} {:<18} {count} ready",
            style(&app.app).bold()
        ));
        for (number, instance) in app.instances.iter().enumerate() {
            let twig = if number + 1 == app.instances.len() {
                "└─"
            } else {
                "├─"
            };
            let phase = instance.phase.map_or("unknown".to_owned(), |phase| {
                format!("{phase:?}").to_lowercase()
            });
            let phase = match instance.phase {
                Some(Phase::Ready) => style(phase).green(),
                Some(Phase::Starting | Phase::Installed) => style(phase).cyan(),
                _ => style(phase).red(),
            };
            let ports: Vec<String> = instance.ports.values().map(ToString::to_string).collect();
            let address = instance
                .address
                .map(|address| address.to_string())
                .unwrap_or_default();
            let mut line = format!(
                "{stem} {twig} {:<22} {:<5} {:<22} {phase:<9} {:>5}",
                instance.name,
                instance.host,
                format!("{}:{}", address, ports.join(",")),
                instance.since.map(output::age).unwrap_or_default(),
            );
            if instance.restarts > 0 {
                line.push_str(&format!("  {} restarts", instance.restarts));
            }
            if instance.flapping {
                line.push_str(&format!("  {}", style("flapping").red()));
            }
            if !instance.last_error.is_empty() && instance.phase != Some(Phase::Ready) {
                line.push_str(&format!("  {}", instance.last_error));
            }
            lines.push(line);
        }
    }
    lines.join("\n")
}

fn explained(told: &Causes, state: &str) -> String {
    if told.instances == 0 {
        return match state {
            "healthy" => "every instance runs and is ready".to_owned(),
            state => format!(
                "no instance is left that does not run, but the site is {state}: `wright job list` says \
                 how its last job ended"
            ),
        };
    }
    let mut lines: Vec<String> = told
        .causes
        .iter()
        .map(|common| {
            let names: Vec<&str> = common.first.iter().map(Name::as_str).collect();
            let mut who = names.join(", ");
            if common.instances > names.len() {
                let more = common.instances - names.len();
                who = format!("{who} and {more} more ({} instances)", common.instances);
            }
            explanation(&who, &common.why)
        })
        .collect();
    if told.more_causes > 0 {
        lines.push(format!(
            "and {} more for {} other causes",
            told.more_instances, told.more_causes
        ));
    }
    lines.join("\n")
}

fn explanation(who: &str, why: &Why) -> String {
    let mut text = format!("{}: {}", style(who).bold(), why.cause);
    if !why.last_error.is_empty() {
        text.push_str(&format!("\n  last error: {}", why.last_error));
    }
    if !why.help.is_empty() {
        text.push_str(&format!("\n  would help: {}", why.help));
    }
    text
}
