//! Reports, status and explanations of jobs.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests may

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::*;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use wright_model::{Host, InstanceId, InstanceRecord, InstanceStatus, Name, Phase};
use wright_site::{Causes, Explanation, Label, Plan, Report, Scene, Why, graph, status};
use wright_workflow::{
    JobId, JobOutline, JobState, JobSummary, JobView, StepError, StepRecord, StepState,
};

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

/// Every explanation; each must be the same where only that instance is asked about.
fn explained(
    job: Option<&JobView>,
    records: &BTreeMap<Name, InstanceRecord>,
    statuses: &BTreeMap<InstanceId, InstanceStatus>,
    hosts: &[Host],
) -> Vec<Explanation> {
    let outline = job.map(JobOutline::of);
    let hosts = hosts.iter().map(|host| (host.name.clone(), host.clone()));
    let (site, hosts) = (name("shop"), hosts.collect());
    let whole = Scene {
        site: &site,
        job: outline.as_ref(),
        records,
        hosts: &hosts,
        status: &|id| statuses.get(id).cloned(),
    };
    let all = whole.explain_all();
    let steps = outline.iter().flat_map(|outline| outline.steps());
    let planned = steps.filter_map(|step| Label::of(&step.name).what.parse().ok());
    let known: BTreeSet<Name> = records.keys().cloned().chain(planned).collect();
    for instance in known {
        let only = records.get_key_value(&instance);
        let only = only.map(|(name, record)| (name.clone(), record.clone()));
        let records = only.into_iter().collect();
        let alone = Scene {
            records: &records,
            ..whole
        };
        let host = alone.host_of(&instance);
        let told = host.and_then(|host| alone.explain(&instance, &host));
        let among = all.iter().find(|told| told.instance == instance);
        assert_eq!(told.as_ref(), among, "{instance}");
    }
    all
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
    let configured = record(&mut view, "configure", "catalog-1").ended_at;
    record(&mut view, "start", "postgres-1").state = StepState::Succeeded;
    let ready = record(&mut view, "ready", "postgres-1");
    ready.state = StepState::Running;
    ready.started_at = Some(at(3_723_000));
    let id: InstanceId = "shop/postgres-1".parse().unwrap();
    let seen = InstanceStatus {
        last_error: "connection refused".to_owned(),
        ..InstanceStatus::new(id.clone(), Phase::Starting, at(0))
    };
    let statuses = BTreeMap::from([(id, seen)]);
    let all = explained(Some(&view), &BTreeMap::new(), &statuses, &hosts(3));
    let of = |instance: &str| {
        all.iter()
            .find(|e| e.instance.as_str() == instance)
            .unwrap()
    };
    assert_eq!(of("postgres-1").why.cause, "it is starting since 01:02:03");
    assert_eq!(of("catalog-1").why.since, configured);
    assert_eq!(
        of("catalog-1").why.cause,
        format!(
            "waits for postgres-1 since {} (starting since 01:02:03) because connection refused",
            configured.unwrap().strftime("%H:%M:%S")
        )
    );
    assert_eq!(
        of("catalog-1").why.help,
        "see why postgres-1 is not ready: wright site explain shop postgres-1"
    );
    let tree = status(
        &name("shop"),
        Some(&JobOutline::of(&view)),
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
    let none = BTreeMap::new();
    let all = explained(Some(&view), &BTreeMap::new(), &none, &hosts(3));
    let web = all.iter().find(|e| e.instance.as_str() == "web-1").unwrap();
    assert_eq!(
        (web.why.cause.as_str(), web.why.last_error.as_str()),
        ("start failed for good", "bin/web: not found")
    );
}

#[test]
fn a_site_whose_instances_are_ready_is_healthy_and_needs_no_explanation() {
    let built = built(SHOP, 3);
    let seen = |id: &InstanceId| InstanceStatus::new(id.clone(), Phase::Ready, at(0));
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
    assert_eq!(explained(None, &built.records, &statuses, &built.hosts), []);
}

#[test]
fn a_site_whose_build_was_cancelled_half_way_is_incomplete() {
    let built = built(SHOP, 3);
    let plan = planned(SHOP, &observed(3));
    let mut view = job(&plan, JobState::Cancelled);
    for record in &mut view.steps {
        record.state = StepState::Succeeded;
    }
    record(&mut view, "serve", "web-2").state = StepState::Undone;
    let of = |records: &BTreeMap<Name, InstanceRecord>| {
        let job = JobOutline::of(&view);
        status(
            &name("shop"),
            Some(&job),
            records,
            &BTreeMap::new(),
            &built.hosts,
        )
        .state
    };
    let mut half = built.records.clone();
    half.remove("web-2");
    assert_eq!(of(&half), "incomplete");
    assert_eq!(
        of(&built.records),
        "degraded",
        "what was updated serves as before"
    );
}

fn state(of: u8) -> StepState {
    use StepState::*;
    let all = [
        Waiting, Running, Backoff, Succeeded, Failed, Skipped, Undoing, Undone, Stuck,
    ];
    all[usize::from(of) % all.len()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn one_instance_alone_is_explained_as_among_all_others(
        states in prop::collection::vec((0_u8..18, prop::bool::weighted(0.1)), 1..80),
        over in prop::bool::ANY,
        recorded in prop::bool::ANY,
    ) {
        let plan = planned(SHOP, &observed(3));
        let mut view = job(&plan, if over { JobState::Failed } else { JobState::Running });
        for (record, (of, dropped)) in view.steps.iter_mut().zip(states.iter().cycle()) {
            // Half of them done, so that what comes later is told of, too.
            record.state = if *of < 9 { state(*of) } else { StepState::Succeeded };
            record.dropped = *dropped;
        }
        let records = if recorded { built(SHOP, 3).records } else { BTreeMap::new() };
        let all = explained(Some(&view), &records, &BTreeMap::new(), &hosts(3));
        prop_assert!(all.iter().all(|told| !told.why.cause.is_empty()));
    }
}

#[test]
fn what_has_one_cause_is_told_once_with_the_longest_time() {
    let told = |instance: String, cause: &str, since: i64| {
        let since = at(since * 1000);
        Explanation {
            instance: name(&instance),
            why: Why {
                cause: format!(
                    "waits for {cause} since {} (down)",
                    since.strftime("%H:%M:%S")
                ),
                since: Some(since),
                ..Why::default()
            },
        }
    };
    let many = (0..5_000).map(|n| told(format!("web-{n:04}"), "db-1", 9_000 - n));
    let single = (0..30).map(|n| told(format!("x-{n}"), &format!("y-{n}"), 0));
    let causes = Causes::of(single.chain(many));
    assert_eq!((causes.instances, causes.causes.len()), (5_030, 20));
    assert_eq!((causes.more_causes, causes.more_instances), (11, 11));
    let first = &causes.causes[0];
    assert_eq!((first.instances, first.first.len()), (5_000, 5));
    assert_eq!(first.why.cause, "waits for db-1 since 01:06:41 (down)");
    assert_eq!(first.first[0], name("web-0000"));
}
