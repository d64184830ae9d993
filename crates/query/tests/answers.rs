//! Order, groups, words, costs and refusals.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};
use wright_query::{
    Document, Filter, Index, Inherited, Query, QueryError, Rank, Schema, Shown, Sight, Sort,
};

fn put(index: &mut Index, kind: &str, name: &str, body: &Json) {
    let labels = BTreeMap::new();
    let revision = index.revision() + 1;
    assert!(index.put(
        &Document {
            kind,
            name,
            labels: &labels,
            body
        },
        revision
    ));
}

fn hosts() -> Index {
    let mut index = Index::default();
    index.declare(Schema::new("rack", [("room", Sort::Text)]));
    index.declare(Schema::new(
        "host",
        [
            ("model", Sort::Text),
            ("units", Sort::Integer),
            ("seen", Sort::Time),
            ("note", Sort::Text),
            ("rack", Sort::reference("rack", "hosts")),
            ("password", Sort::Hidden),
        ],
    ));
    put(&mut index, "rack", "r1", &json!({ "room": "b2" }));
    put(&mut index, "rack", "r2", &json!({}));
    let at = "2026-03-01T00:00:00Z";
    for (name, body) in [
        (
            "web-1",
            json!({ "model": "small", "units": 1, "rack": "r1", "seen": at }),
        ),
        (
            "web-2",
            json!({ "model": "large", "units": 4, "rack": "r1" }),
        ),
        (
            "db-1",
            json!({ "model": "large", "rack": "r2", "note": "a legacy web front" }),
        ),
        ("webster", json!({ "units": 2, "password": "hunter2" })),
    ] {
        put(&mut index, "host", name, &body);
    }
    index
}

fn hosts_where(query: Query) -> Query {
    Query {
        kind: Some("host".to_owned()),
        ..query
    }
}

fn names(index: &Index, query: Query) -> Vec<String> {
    let query = hosts_where(query);
    let found = index.find(&query).unwrap();
    let page = index.page("host", &found.rows, &query.select).unwrap();
    page.into_iter().map(|row| row.name).collect()
}

fn strings(all: &[&str]) -> Vec<String> {
    all.iter().map(ToString::to_string).collect()
}

fn help(index: &Index, filter: &str) -> (u32, String, String) {
    let error = Filter::compile(filter, "host", index).unwrap_err();
    (error.column, error.message, error.help)
}

#[test]
fn rows_are_ordered_by_fields_then_names_and_those_without_come_last() {
    let index = hosts();
    let by = |sort: &[&str]| {
        names(
            &index,
            Query {
                sort: strings(sort),
                ..Query::default()
            },
        )
    };
    assert_eq!(by(&[]), ["db-1", "web-1", "web-2", "webster"]);
    assert_eq!(by(&["units"]), ["web-1", "webster", "web-2", "db-1"]);
    assert_eq!(by(&["-units"]), ["web-2", "webster", "web-1", "db-1"]);
    assert_eq!(
        by(&["-rack.room", "-name"]),
        ["web-2", "web-1", "webster", "db-1"]
    );
    let first = Query {
        limit: 2,
        sort: strings(&["units"]),
        ..Query::default()
    };
    let found = index.find(&hosts_where(first)).unwrap();
    assert_eq!(
        (found.total, found.rows.len()),
        (4, 4),
        "the others are behind the first"
    );
}

#[test]
fn groups_are_counted_over_one_kind_or_all_and_through_references() {
    let index = hosts();
    let groups = |kind: Option<&str>, by: &[&str]| {
        let query = Query {
            kind: kind.map(str::to_owned),
            group_by: strings(by),
            ..Query::default()
        };
        let groups = index.find(&query).unwrap().groups;
        groups
            .into_iter()
            .map(|group| (json!(group.values), group.count))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        groups(Some("host"), &["rack.room", "model"]),
        [
            (json!(["b2", "large"]), 1),
            (json!(["b2", "small"]), 1),
            (json!([null, "large"]), 1),
            (json!([null, null]), 1),
        ]
    );
    assert_eq!(
        groups(None, &["kind"]),
        [(json!(["host"]), 4), (json!(["rack"]), 2)]
    );
    assert_eq!(
        groups(None, &["room"]),
        [(json!(["b2"]), 1), (json!([null]), 1)]
    );
}

#[test]
fn a_whole_word_is_found_behind_many_beginnings() {
    let mut index = hosts();
    for number in 0..300 {
        let note = json!({ "note": format!("backup {number}") });
        put(&mut index, "host", &format!("h{number:03}"), &note);
    }
    put(&mut index, "host", "last", &json!({ "note": "plan b" }));
    put(&mut index, "rack", "other", &json!({ "room": "b-2" }));
    let hits = index.search("b", &[], 5);
    let ranks: Vec<_> = hits.iter().map(|hit| (&*hit.name, hit.rank)).collect();
    assert_eq!(ranks[..2], [("last", Rank::Words), ("other", Rank::Words)]);
    assert_eq!(hits.len(), 5);
}

#[test]
fn names_are_found_before_words_and_words_before_beginnings() {
    let index = hosts();
    let ranks: Vec<_> = index
        .search("web", &[], 20)
        .into_iter()
        .map(|hit| (hit.name, hit.rank))
        .collect();
    let expected = [
        ("web-1", Rank::Prefix),
        ("web-2", Rank::Prefix),
        ("webster", Rank::Prefix),
        ("db-1", Rank::Words),
    ];
    assert_eq!(ranks, expected.map(|(name, rank)| (name.to_owned(), rank)));
    assert_eq!(index.search("WEB-2", &[], 20)[0].rank, Rank::Name);
    let both = index.search("legacy fro", &[], 20);
    assert_eq!(
        (both[0].name.as_str(), both[0].rank, both.len()),
        ("db-1", Rank::Beginnings, 1)
    );
    assert_eq!(index.search("hunter2", &[], 20), []);
    let text = Some("large web".to_owned());
    assert_eq!(
        names(
            &index,
            Query {
                text,
                ..Query::default()
            }
        ),
        ["db-1", "web-2"]
    );
}

#[test]
fn what_is_wrong_is_said_with_its_column_and_what_was_meant() {
    let index = hosts();
    for (filter, column, says, helps) in [
        (
            "host.model == 'x' && host.unit > 1",
            27,
            "host has no field unit",
            "did you mean units?",
        ),
        (
            "host.rack.rom == 'b2'",
            11,
            "rack has no field rom",
            "did you mean room?",
        ),
        ("host.units == 'four'", 15, "units holds a whole number", ""),
        ("host.seen > 'yesterday'", 13, "seen holds a time", ""),
        (
            "model == 'large'",
            1,
            "model is not known",
            "a field is written host.model",
        ),
        (
            "host.model",
            5,
            "model is no condition",
            "compare it with something",
        ),
        ("host.password == 'x'", 6, "password is secret", ""),
        (
            "host.model.upper() == 'X'",
            1,
            "no function upper",
            "there are size",
        ),
        ("host.labels == 1", 6, "labels is a map", "name a label"),
        ("host.model == ", 15, "", ""),
    ] {
        let (at, message, help) = help(&index, filter);
        assert!(message.contains(says), "{filter}: {message}");
        assert!(help.contains(helps), "{filter}: {help}");
        assert_eq!(at, column, "{filter}: {message}");
    }
}

#[test]
fn a_query_over_its_bound_is_refused_with_what_costs_most() {
    let mut index = hosts();
    for number in 0..5000 {
        put(
            &mut index,
            "host",
            &format!("h{number}"),
            &json!({ "note": format!("n {number}"), "model": "m" }),
        );
    }
    let filter = Some("host.note.matches('1.*2.*3') && host.model == 'm'".to_owned());
    let query = hosts_where(Query {
        filter,
        explain: true,
        ..Query::default()
    });
    match index.find_within(&query, 10_000) {
        Err(QueryError::TooExpensive { advice, steps, .. }) => {
            assert!(advice.contains("matches"), "{advice}");
            assert_eq!(steps.len(), 2);
        }
        other => panic!("{other:?}"),
    }
    let found = index.find(&query).unwrap();
    assert_eq!(found.steps.last().unwrap().rows, found.total);
}

#[test]
fn the_rarest_condition_is_asked_first() {
    let mut index = hosts();
    for number in 0..2000 {
        let body = json!({ "model": "m", "units": number % 7, "note": format!("n{number}") });
        put(&mut index, "host", &format!("h{number}"), &body);
    }
    let filter = Some("host.units > 1 && host.model == 'm' && host.note == 'n11'".to_owned());
    let found = index
        .find(&hosts_where(Query {
            filter,
            explain: true,
            ..Query::default()
        }))
        .unwrap();
    assert_eq!(
        (found.steps[0].operation.as_str(), found.steps[0].rows),
        ("lookup", 1)
    );
    assert_eq!(found.steps[0].condition, "note == \"n11\"");
    assert!(
        found.steps[1..]
            .iter()
            .all(|step| step.operation == "each row"),
        "{:?}",
        found.steps
    );
}

#[test]
fn an_open_kind_without_documents_may_have_any_field() {
    let mut index = Index::default();
    let mut schema = Schema::new("instance", [("traffic", Sort::Text)]);
    schema.open = true;
    index.declare(schema);
    let filter = Filter::compile(r#"instance.spec.app == "web""#, "instance", &index).unwrap();
    let labels = BTreeMap::new();
    let matches = |app: &str| {
        let body = json!({ "spec": { "app": app } });
        let document = Document {
            kind: "instance",
            name: "i1",
            labels: &labels,
            body: &body,
        };
        filter.matches(&document, &index)
    };
    assert!(matches("web") && !matches("db"));
}

#[test]
fn a_field_that_is_inherited_is_the_documents_own_where_it_has_one() {
    let mut index = Index::default();
    let inherits = |kind: &str, own: bool| {
        let from = Inherited {
            path: "zone".to_owned(),
            from: "rack".to_owned(),
        };
        let fields = [("rack", Sort::reference("rack", "hosts"))];
        let zone = own.then_some(("zone", Sort::Text));
        Schema {
            inherited: vec![from],
            ..Schema::new(kind, fields.into_iter().chain(zone))
        }
    };
    index.declare(Schema::new("rack", [("zone", Sort::Text)]));
    index.declare(inherits("host", true));
    index.declare(inherits("guest", false));
    put(&mut index, "rack", "r1", &json!({ "zone": "a" }));
    put(&mut index, "rack", "r2", &json!({}));
    for (kind, name, body) in [
        ("host", "above", json!({ "rack": "r1" })),
        ("host", "own", json!({ "rack": "r1", "zone": "b" })),
        ("host", "neither", json!({ "rack": "r2" })),
        ("host", "nowhere", json!({})),
        ("guest", "guest", json!({ "rack": "r1" })),
    ] {
        put(&mut index, kind, name, &body);
    }
    let found = |kind: &str, filter: &str| {
        let query = Query {
            kind: Some(kind.to_owned()),
            filter: Some(filter.to_owned()),
            ..Query::default()
        };
        let found = index.find(&query).unwrap();
        let rows = index.page(kind, &found.rows, &[]).unwrap();
        rows.into_iter().map(|row| row.name).collect::<Vec<_>>()
    };
    assert_eq!(found("host", "host.zone == 'a'"), ["above"]);
    assert_eq!(found("host", "host.zone in ['a', 'b']"), ["above", "own"]);
    assert_eq!(found("host", "host.zone != 'a'"), ["own"]);
    assert_eq!(found("host", "has(host.zone)"), ["above", "own"]);
    assert_eq!(found("host", "!has(host.zone)"), ["neither", "nowhere"]);
    assert_eq!(found("guest", "guest.zone.contains('a')"), ["guest"]);
    // Who asks must be allowed to see where it comes from.
    let mut sight = Sight::default();
    sight.show("host", Shown::All);
    let seen = index.seen(Some(&sight));
    let query = Query {
        kind: Some("host".to_owned()),
        ..Query::default()
    };
    let sorted = Query {
        sort: vec!["-zone".to_owned()],
        ..query.clone()
    };
    let filtered = Query {
        filter: Some("host.zone == 'a'".to_owned()),
        ..query.clone()
    };
    for query in [sorted, filtered] {
        let refused = seen.find(&query).unwrap_err().to_string();
        assert!(
            refused.contains("zone of rack is not yours to read"),
            "{refused}"
        );
    }
    assert_eq!(seen.find(&query).unwrap().total, 4);
}
