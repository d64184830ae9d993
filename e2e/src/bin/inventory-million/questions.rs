//! What is asked, and how it is answered.

use std::{sync::Arc, time::Instant};

use serde_json::json;
use wright_inventory::catalog::{Catalog, Group, Query, Row};

use crate::{
    Result,
    documents::{body, mixed, name, targets},
    report,
};

/// How often each question is asked.
const TIMES: u64 = 200;

fn percentile(times: &mut [f64], of: usize) -> f64 {
    times.sort_unstable_by(f64::total_cmp);
    let last = times.len().saturating_sub(1);
    times
        .get((times.len() * of / 100).min(last))
        .copied()
        .unwrap_or(0.0)
}

async fn ask(what: &str, catalog: &Arc<Catalog>, mut query: impl FnMut(u64) -> Query) -> Result {
    let (mut times, mut total) = (Vec::new(), 0);
    for round in 0..TIMES {
        let query = query(round);
        let start = Instant::now();
        let answer = catalog.answer(query, None).await?;
        times.push(start.elapsed().as_secs_f64() * 1000.0);
        total += answer.total;
    }
    report(&format!("{what}: p50"), percentile(&mut times, 50), "ms");
    report(&format!("{what}: p99"), percentile(&mut times, 99), "ms");
    report(
        &format!("{what}: rows"),
        total as f64 / TIMES as f64,
        "rows",
    );
    Ok(())
}

fn hop(model: &str, site: u64) -> Query {
    of(
        "machine",
        format!(
            r#"machine.model == "{model}" && machine.cores >= 16 && machine.status == "active" && machine.cabinet.site == "site-{site}""#
        ),
    )
}

fn hops(hall: &str) -> Query {
    of(
        "machine",
        format!(
            r#"machine.model == "compute" && machine.cores >= 16 && machine.cabinet.hall.name == "{hall}" && size(machine.programs) < 4"#
        ),
    )
}

fn by_serial(number: u64, each: u64) -> Query {
    let one = body("machine", number, each);
    of("machine", format!("machine.serial == {}", one["serial"]))
}

fn groups() -> Query {
    Query {
        group_by: vec!["status".to_owned(), "environment".to_owned()],
        ..Query::default()
    }
}

fn of(kind: &str, filter: String) -> Query {
    Query {
        kind: Some(kind.to_owned()),
        filter: Some(filter),
        select: vec!["serial".to_owned(), "cabinet.hall.name".to_owned()],
        limit: 100,
        ..Query::default()
    }
}

/// What questions that anybody can be asked are answered: how many there are, and what comes first.
pub async fn answers(catalog: &Arc<Catalog>, each: u64) -> Result {
    let said = |question: &str, of: String, total: u64, first: Vec<String>| {
        println!(
            "{}",
            json!({ "question": question, "of": of, "total": total, "first": first })
        );
    };
    for site in 0..12 {
        let answer = catalog.answer(hop("compute", site), None).await?;
        said("hop", site.to_string(), answer.total, names(answer.rows));
    }
    for hall in 0..targets("hall", each).min(12) {
        let answer = catalog.answer(hops(&name("hall", hall)), None).await?;
        said("hops", hall.to_string(), answer.total, names(answer.rows));
    }
    for number in (0..each).step_by(usize::try_from(each / 8 + 1)?) {
        let answer = catalog.answer(by_serial(number, each), None).await?;
        said(
            "serial",
            number.to_string(),
            answer.total,
            names(answer.rows),
        );
    }
    let answer = catalog.answer(groups(), None).await?;
    let group = |group: Group| {
        let values = group
            .values
            .iter()
            .map(|value| value.as_str().unwrap_or_default());
        let values: Vec<_> = values.collect();
        format!("{}|{}", values.join("|"), group.count)
    };
    let mut first: Vec<String> = answer.groups.into_iter().map(group).collect();
    first.sort_unstable();
    said("group", String::new(), answer.total, first);
    Ok(())
}

fn names(rows: Vec<Row>) -> Vec<String> {
    rows.into_iter().map(|row| row.name).collect()
}

pub async fn measure(catalog: &Arc<Catalog>, each: u64) -> Result {
    ask(
        "three predicates and one relation hop, 100 results",
        catalog,
        |round| {
            let models = ["compute", "storage", "network", "gpu"];
            hop(models[usize::try_from(round % 4).unwrap_or(0)], round % 12)
        },
    )
    .await?;
    ask(
        "three predicates and two relation hops, 100 results",
        catalog,
        |round| {
            let hall = mixed(round) % targets("hall", each);
            hops(&name("hall", hall))
        },
    )
    .await?;
    ask("one by its serial", catalog, |round| {
        by_serial(mixed(round) % each, each)
    })
    .await?;
    ask("count grouped by two fields over all", catalog, |_| {
        groups()
    })
    .await?;
    let words = [
        "machine-00",
        "legacy core",
        "team-07 backup",
        "gpu",
        "10.0.7",
        "user0001 edge",
        "SN00",
        "c00042",
        "vendor lab",
        "b",
    ];
    let mut times = Vec::new();
    for round in 0..TIMES {
        let text = words[usize::try_from(round).unwrap_or(0) % words.len()].to_owned();
        let start = Instant::now();
        catalog.search(text, Vec::new(), 20, None).await?;
        times.push(start.elapsed().as_secs_f64() * 1000.0);
    }
    report(
        "full-text search, first 20: p50",
        percentile(&mut times, 50),
        "ms",
    );
    report(
        "full-text search, first 20: p99",
        percentile(&mut times, 99),
        "ms",
    );
    Ok(())
}
