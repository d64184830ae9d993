//! Reports, status and explanations of jobs.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests may

mod common;

use std::collections::BTreeMap;

use common::*;
use jiff::{SignedDuration, Timestamp};
use wright_model::{InstanceId, InstanceStatus, Phase};
use wright_site::{Plan, Report, explain, graph, status};
use wright_workflow::{JobId, JobState, JobSummary, JobView, StepError, StepRecord, StepState};

fn at(ms: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_millis(ms)
}

/// A job in which every step took exactly as long as was expected and none waited for a slot.
fn job(plan: &Plan, state: JobState) -> JobView {
    let mut ends: BTreeMap<String, i64> = BTreeMap::new();
    let mut steps = Vec::new();
    for step in &plan.steps {
        let due = step.needs.iter().map(|need| ends[need]).max().unwrap_or(0);
        let end = due + i64::try_from(step.expected_ms).unwrap();
        ends.insert(step.name.clone(), end);
        let mut record = StepRecord::new(step.clone());
        record.state = StepState::Succeeded;
        record.attempts = 1;
        record.ready_at = Some(at(due));
        record.started_at = Some(at(due));
        record.ended_at = Some(at(end));
        steps.push(record);
    }
    JobView {
        summary: JobSummary {
            id: JobId(uuid::Uuid::nil()),
            kind: "site-up".to_owned(),
            subject: "site/shop".to_owned(),
            title: "build shop".to_owned(),
            actor: "test".to_owned(),
            tenant: "site/shop".to_owned(),
            parent: None,
            state,
            paused: None,
            plan: 1,
            created_at: at(0),
            ended_at: state.is_final().then(|| at(*ends.values().max().unwrap())),
            cause: String::new(),
            forgotten: false,
        },
        context: serde_json::Value::Null,
        steps,
        history: Vec::new(),
        questions: Vec::new(),
        children: Vec::new(),
    }
}

fn record<'a>(job: &'a mut JobView, verb: &str, instance: &str) -> &'a mut StepRecord {
    let prefix = format!("{verb}/{instance}@");
    job.steps
        .iter_mut()
        .find(|record| record.step.name.starts_with(&prefix))
        .unwrap()
}

#[test]
fn a_build_without_waiting_takes_as_long_as_its_critical_path() {
    let plan = planned(SHOP, &observed(3));
    let report = Report::new(&job(&plan, JobState::Succeeded), None);
    assert_eq!(
        (report.wall_ms, report.critical_ms),
        (plan.expected_ms, plan.expected_ms)
    );
    let names: Vec<&String> = report.critical_path.iter().map(|part| &part.step).collect();
    assert_eq!(names, plan.critical_path.iter().collect::<Vec<_>>());
    assert_eq!(report.ratio, 1.0);
    let apps: Vec<(&str, usize)> = report
        .apps
        .iter()
        .map(|a| (a.app.as_str(), a.instances))
        .collect();
    assert_eq!(apps, [("postgres", 1), ("web", 2), ("catalog", 2)]);
}

#[test]
fn a_report_survives_json_and_fits_one_html_page() {
    let plan = planned(SHOP, &observed(3));
    let mut view = job(&plan, JobState::Failed);
    view.summary.cause = "<script>alert(1)</script>".to_owned();
    let report = Report::new(&view, Some(plan.topology.clone()));
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
    let html = report.html();
    assert!(!html.contains("<script>alert"), "text is escaped");
    assert!(
        !html.contains("http://")
            || html.matches("http://").count() == html.matches("http://www.w3.org").count()
    );
    for part in [
        "id=\"gantt\"",
        "Critical path",
        "Operations",
        "Topology",
        "catalog ×2",
    ] {
        assert!(html.contains(part), "{part}");
    }
    assert!(report.text().contains("wall time"));
}

#[test]
fn topologies_are_drawn_in_three_languages() {
    let topology = graph::topology(&desired(SHOP));
    assert!(topology.dot().contains("\"catalog\" -> \"postgres\";"));
    assert!(
        topology
            .dot()
            .contains("\"web\" -> \"catalog\" [style=dashed];")
    );
    assert!(topology.mermaid().contains("  web -.-> catalog\n"));
    assert!(topology.mermaid().contains("  postgres[(\"postgres\")]\n"));
    let svg = topology.svg();
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    assert_eq!(svg.matches("<rect").count(), 3);
    assert_eq!(svg, graph::topology(&desired(SHOP)).svg());
}

#[test]
fn what_waits_is_explained_by_what_it_waits_for_and_why() {
    let plan = planned(SHOP, &observed(3));
    let mut view = job(&plan, JobState::Running);
    for step in &mut view.steps {
        let later = ["start", "ready", "verify", "serve"].contains(&step.step.verb.as_str());
        if later {
            step.state = StepState::Waiting;
        }
    }
    record(&mut view, "start", "postgres-1").state = StepState::Succeeded;
    let ready = record(&mut view, "ready", "postgres-1");
    ready.state = StepState::Running;
    ready.started_at = Some(at(3_723_000));
    let id: InstanceId = "shop/postgres-1".parse().unwrap();
    let seen = InstanceStatus {
        id: id.clone(),
        phase: Phase::Starting,
        since: at(0),
        spec_digest: None,
        pid: Some(1),
        restarts: 0,
        flapping: false,
        last_exit: None,
        last_error: "connection refused".to_owned(),
    };
    let statuses = BTreeMap::from([(id, seen)]);
    let all = explain(
        &name("shop"),
        Some(&view),
        &BTreeMap::new(),
        &statuses,
        &hosts(3),
    );
    let of = |instance: &str| {
        all.iter()
            .find(|e| e.instance.as_str() == instance)
            .unwrap()
    };
    assert_eq!(of("postgres-1").cause, "it is starting since 01:02:03");
    assert_eq!(
        of("catalog-1").cause,
        "waits for postgres-1 (starting since 01:02:03) because connection refused"
    );
    assert_eq!(
        of("catalog-1").help,
        "see why postgres-1 is not ready: wright site explain shop postgres-1"
    );
    let tree = status(
        &name("shop"),
        Some(&view),
        &BTreeMap::new(),
        &statuses,
        &hosts(3),
    );
    assert_eq!((tree.state.as_str(), tree.apps.len()), ("building", 3));
}

#[test]
fn a_step_that_failed_names_its_error() {
    let plan = planned(SHOP, &observed(3));
    let mut view = job(&plan, JobState::Running);
    let start = record(&mut view, "start", "web-1");
    start.state = StepState::Failed;
    start.error = Some(StepError {
        message: "bin/web: not found".to_owned(),
        retry: false,
        evidence: vec![],
    });
    let all = explain(
        &name("shop"),
        Some(&view),
        &BTreeMap::new(),
        &BTreeMap::new(),
        &hosts(3),
    );
    let web = all.iter().find(|e| e.instance.as_str() == "web-1").unwrap();
    assert_eq!(
        (web.cause.as_str(), web.last_error.as_str()),
        ("start failed for good", "bin/web: not found")
    );
}

#[test]
fn a_site_whose_instances_are_ready_is_healthy_and_needs_no_explanation() {
    let built = built(SHOP, 3);
    let seen = |id: &InstanceId| InstanceStatus {
        id: id.clone(),
        phase: Phase::Ready,
        since: at(0),
        spec_digest: None,
        pid: Some(1),
        restarts: 0,
        flapping: false,
        last_exit: None,
        last_error: String::new(),
    };
    let statuses: BTreeMap<InstanceId, InstanceStatus> = built
        .records
        .values()
        .map(|r| (r.spec.id.clone(), seen(&r.spec.id)))
        .collect();
    let tree = status(&name("shop"), None, &built.records, &statuses, &built.hosts);
    assert_eq!(tree.state, "healthy");
    assert_eq!(
        tree.apps
            .iter()
            .map(|app| (app.want, app.ready))
            .collect::<Vec<_>>(),
        [(2, 2), (1, 1), (2, 2)]
    );
    assert_eq!(
        explain(&name("shop"), None, &built.records, &statuses, &built.hosts),
        []
    );
}
