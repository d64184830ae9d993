//! The crate `cel` interprets each expression on each document by itself: index and predicate must
//! say the same.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet, HashMap};

use cel::{Context, Program, Value as Cel, objects::Key};
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use wright_query::{Document, Filter, Index, Query, Schema, Seen, Shown, Sight, Sort, Way};

/// JSON as CEL sees it; whole numbers are signed, as in every document that a person wrote.
fn cel(json: &Json) -> Cel {
    match json {
        Json::Null => Cel::Null,
        Json::Bool(value) => Cel::Bool(*value),
        Json::Number(number) => match number.as_i64() {
            Some(value) => Cel::Int(value),
            None => Cel::Float(number.as_f64().unwrap()),
        },
        Json::String(text) => Cel::String(text.clone().into()),
        Json::Array(elements) => Cel::List(elements.iter().map(cel).collect::<Vec<_>>().into()),
        Json::Object(map) => {
            let entry = |(key, value): (&String, &Json)| (Key::from(key.clone()), cel(value));
            Cel::Map(map.iter().map(entry).collect::<HashMap<_, _>>().into())
        }
    }
}

/// The document with what it refers to inside, and those that refer to it as a list.
fn whole(documents: &Documents, kind: &str, name: &str) -> Json {
    let mut whole = documents.0[kind][name].clone();
    whole["name"] = name.into();
    match kind {
        "host" => {
            if let Some(rack) = whole.get("rack").and_then(Json::as_str).map(str::to_owned)
                && documents.0["rack"].contains_key(&rack)
            {
                whole["rack"] = whole_rack(documents, &rack);
            }
        }
        _ => {
            let hosts = &documents.0["host"];
            let refers = hosts.iter().filter(|(_, host)| host["rack"] == *name);
            whole["hosts"] = refers.map(|(_, host)| host.clone()).collect();
        }
    }
    whole
}

fn whole_rack(documents: &Documents, name: &str) -> Json {
    let mut rack = documents.0["rack"][name].clone();
    rack["name"] = name.into();
    rack
}

#[derive(Debug, Clone)]
struct Documents(BTreeMap<&'static str, BTreeMap<String, Json>>);

impl Documents {
    fn each(&self, mut each: impl FnMut(&'static str, &str, &Json)) {
        for (kind, documents) in &self.0 {
            documents
                .iter()
                .for_each(|(name, body)| each(kind, name, body));
        }
    }
}

fn schemas() -> [Schema; 2] {
    let mut host = Schema::new("host", [("rack", Sort::reference("rack", "hosts"))]);
    let mut rack = Schema::new("rack", []);
    (host.open, rack.open) = (true, true);
    [host, rack]
}

fn indexed(documents: &Documents) -> Index {
    let mut index = Index::default();
    schemas()
        .into_iter()
        .for_each(|schema| index.declare(schema));
    // Every field is known, whether or not a document has it.
    let all = json!({ "model": "x", "cores": 1, "load": 0.5, "up": true, "tags": ["a"], "any": 1,
        "disks": [{ "size": 1 }], "cpu": { "arch": "x" }, "rack": "none", "room": "x", "units": 1 });
    let labels = BTreeMap::new();
    for kind in ["host", "rack"] {
        let document = Document {
            kind,
            name: "known",
            labels: &labels,
            body: &all,
        };
        assert!(index.put(&document, 1));
        assert!(index.remove(kind, "known", 2));
    }
    let mut revision = 2;
    documents.each(|kind, name, body| {
        revision += 1;
        assert!(index.put(
            &Document {
                kind,
                name,
                labels: &labels,
                body
            },
            revision
        ));
    });
    index
}

/// The fields of hosts and of racks.
const FIELDS: [(&str, &[&str]); 2] = [
    (
        "host",
        &[
            "model", "cores", "load", "up", "tags", "any", "disks", "cpu.arch", "rack",
        ],
    ),
    ("rack", &["room", "units"]),
];

/// Kinds whose fields are all declared.
fn declared(documents: &Documents) -> Index {
    let mut index = Index::default();
    for (kind, fields) in FIELDS {
        let sort = |field: &str| match field {
            "rack" => Sort::reference("rack", "hosts"),
            _ => Sort::Any,
        };
        index.declare(Schema::new(kind, fields.iter().map(|f| (*f, sort(f)))));
    }
    let labels = BTreeMap::new();
    documents.each(|kind, name, body| {
        assert!(index.put(
            &Document {
                kind,
                name,
                labels: &labels,
                body
            },
            1
        ));
    });
    index
}

/// One way to see something of hosts and racks: of those with a number below a bound, some fields.
#[derive(Debug, Clone)]
struct Glimpse {
    kind: &'static str,
    below: Option<i64>,
    fields: Vec<&'static str>,
    except: Vec<&'static str>,
}

impl Glimpse {
    fn number(&self) -> &'static str {
        match self.kind {
            "host" => "cores",
            _ => "units",
        }
    }

    fn way(&self) -> Way {
        let condition = |below: i64| vec![format!("self.{} < {below}", self.number())];
        let owned = |fields: &[&str]| fields.iter().map(ToString::to_string).collect();
        Way {
            conditions: self.below.map(condition).into_iter().collect(),
            fields: owned(&self.fields),
            except: owned(&self.except),
        }
    }

    fn shows(&self, kind: &str, body: &Json) -> bool {
        let number = body.get(self.number()).and_then(Json::as_i64);
        kind == self.kind
            && self
                .below
                .is_none_or(|below| number.is_some_and(|n| n < below))
    }

    /// Whether it shows a field at the top.
    fn shows_field(&self, field: &str) -> bool {
        let names = |fields: &[&str]| fields.iter().any(|f| f.split('.').next() == Some(field));
        (self.fields.is_empty() || names(&self.fields)) && !names(&self.except)
    }
}

fn glimpses() -> impl Strategy<Value = Vec<Glimpse>> {
    let glimpse = prop::sample::select(FIELDS.to_vec()).prop_flat_map(|(kind, fields)| {
        let some = |most| prop::collection::vec(prop::sample::select(fields), 0..=most);
        let below = prop::option::of(0i64..6);
        (below, some(4), some(1)).prop_map(move |(below, fields, except)| Glimpse {
            kind,
            below,
            fields,
            except,
        })
    });
    prop::collection::vec(glimpse, 0..5)
}

/// The documents without what no glimpse shows.
fn cut(documents: &Documents, glimpses: &[Glimpse]) -> Documents {
    let mut left = Documents(BTreeMap::from([
        ("host", BTreeMap::new()),
        ("rack", BTreeMap::new()),
    ]));
    documents.each(|kind, name, body| {
        let by: Vec<&Glimpse> = glimpses.iter().filter(|it| it.shows(kind, body)).collect();
        if by.is_empty() {
            return;
        }
        let mut body = body.clone();
        let fields = body.as_object_mut().unwrap();
        fields.retain(|field, _| by.iter().any(|glimpse| glimpse.shows_field(field)));
        left.0.get_mut(kind).unwrap().insert(name.to_owned(), body);
    });
    left
}

fn value() -> impl Strategy<Value = Json> {
    prop_oneof![
        3 => (0i64..4).prop_map(Json::from),
        1 => (0i64..8).prop_map(|half| json!(half as f64 / 2.0)),
        2 => text().prop_map(Json::from),
        1 => any::<bool>().prop_map(Json::from),
        1 => Just(Json::Null),
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["compute", "comp", "storage", "x86", "b2", "", "Ä"])
        .prop_map(str::to_owned)
}

fn list<S: Strategy<Value = Json>>(of: S) -> impl Strategy<Value = Json> {
    prop::collection::vec(of, 0..4).prop_map(Json::from)
}

fn host() -> impl Strategy<Value = Json> {
    let maybe = |of: BoxedStrategy<Json>| prop::option::weighted(0.8, of);
    let fields = (
        maybe(text().prop_map(Json::from).boxed()),
        maybe((0i64..6).prop_map(Json::from).boxed()),
        maybe((0i64..8).prop_map(|half| json!(half as f64 / 2.0)).boxed()),
        maybe(any::<bool>().prop_map(Json::from).boxed()),
        maybe(list(text().prop_map(Json::from)).boxed()),
        maybe(value().boxed()),
        maybe(list((0i64..4).prop_map(|size| json!({ "size": size }))).boxed()),
        maybe(text().prop_map(Json::from).boxed()),
        maybe(
            prop::sample::select(vec!["r0", "r1", "r2"])
                .prop_map(Json::from)
                .boxed(),
        ),
    );
    fields.prop_map(|(model, cores, load, up, tags, any, disks, arch, rack)| {
        let fields = [
            ("model", model),
            ("cores", cores),
            ("load", load),
            ("up", up),
            ("tags", tags),
            ("any", any),
            ("disks", disks),
            ("rack", rack),
        ];
        let some = fields
            .into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), value?)));
        let mut body: serde_json::Map<String, Json> = some.collect();
        body.insert(
            "cpu".to_owned(),
            json!({ "arch": arch.unwrap_or(Json::Null) }),
        );
        Json::Object(body)
    })
}

fn documents() -> impl Strategy<Value = Documents> {
    let rack = (text(), 0i64..6).prop_map(|(room, units)| json!({ "room": room, "units": units }));
    let named = |letter: &'static str, bodies: Vec<Json>| {
        let name = move |(at, body): (usize, Json)| (format!("{letter}{at}"), body);
        bodies
            .into_iter()
            .enumerate()
            .map(name)
            .collect::<BTreeMap<_, _>>()
    };
    (
        prop::collection::vec(host(), 0..30),
        prop::collection::vec(rack, 0..3),
    )
        .prop_map(move |(hosts, racks)| {
            Documents(BTreeMap::from([
                ("host", named("h", hosts)),
                ("rack", named("r", racks)),
            ]))
        })
}

/// A constant as it is written.
fn literal() -> impl Strategy<Value = String> {
    prop_oneof![
        number(),
        text().prop_map(|text| format!("{text:?}")),
        any::<bool>().prop_map(|value| value.to_string()),
        Just("null".to_owned()),
    ]
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => (0i64..6).prop_map(|n| n.to_string()),
        1 => (0i64..8).prop_map(|half| format!("{:.1}", half as f64 / 2.0)),
    ]
}

fn comparison() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["==", "!=", "<", "<=", ">", ">="])
}

fn leaf() -> impl Strategy<Value = String> {
    let field = || {
        prop::sample::select(vec![
            "model",
            "cores",
            "load",
            "up",
            "any",
            "cpu.arch",
            "rack.room",
            "rack.units",
        ])
    };
    let textual = || prop::sample::select(vec!["model", "any", "cpu.arch", "rack.room", "name"]);
    let numeric = || prop::sample::select(vec!["cores", "load", "rack.units"]);
    prop_oneof![
        6 => (numeric(), comparison(), number()).prop_map(|(f, c, l)| format!("host.{f} {c} {l}")),
        4 => (textual(), comparison(), text()).prop_map(|(f, c, l)| format!("host.{f} {c} {l:?}")),
        2 => (field(), comparison(), literal()).prop_map(|(f, c, l)| format!("host.{f} {c} {l}")),
        1 => (literal(), comparison(), field()).prop_map(|(l, c, f)| format!("{l} {c} host.{f}")),
        1 => (field(), comparison(), field()).prop_map(|(f, c, g)| format!("host.{f} {c} host.{g}")),
        2 => (field(), prop::collection::vec(literal(), 0..4))
            .prop_map(|(f, l)| format!("host.{f} in [{}]", l.join(", "))),
        1 => literal().prop_map(|l| format!("{l} in host.tags")),
        2 => (textual(), prop::sample::select(vec!["startsWith", "endsWith", "contains"]), text())
            .prop_map(|(f, test, text)| format!("host.{f}.{test}({text:?})")),
        1 => Just("host.model.matches('^comp.*e?$')".to_owned()),
        1 => field().prop_filter("racks are expanded", |f| !f.contains('.'))
            .prop_map(|f| format!("has(host.{f})")),
        1 => (prop::sample::select(vec!["tags", "model", "disks"]), comparison(), 0..4)
            .prop_map(|(f, c, n)| format!("size(host.{f}) {c} {n}")),
        1 => (prop::sample::select(vec!["exists", "all", "exists_one"]), literal())
            .prop_map(|(each, l)| format!("host.tags.{each}(t, t == {l})")),
        1 => (comparison(), 0..4).prop_map(|(c, n)| format!("host.disks.exists(d, d.size {c} {n})")),
        1 => (comparison(), 0..3)
            .prop_map(|(c, n)| format!("size(host.disks.filter(d, d.size > 1)) {c} {n}")),
        1 => (numeric(), numeric(), comparison(), 0..6)
            .prop_map(|(a, b, c, n)| format!("host.{a} + host.{b} {c} {n}")),
        1 => Just("host.up".to_owned()),
        1 => (0..3, literal()).prop_map(|(at, l)| format!("host.tags[{at}] == {l}")),
        1 => literal().prop_map(|l| format!("(host.up ? host.model : host.cpu.arch) == {l}")),
    ]
}

fn expression() -> impl Strategy<Value = String> {
    leaf().prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} && {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} || {b})")),
            inner.prop_map(|a| format!("!({a})")),
        ]
    })
}

/// The names of the resources for which CEL's own interpreter says that it is true.
fn expected(documents: &Documents, kind: &str, text: &str) -> BTreeSet<String> {
    let program = Program::compile(text).unwrap();
    let names = documents.0[kind].keys().filter(|name| {
        let mut context = Context::default();
        context.add_variable_from_value(kind, cel(&whole(documents, kind, name)));
        program.execute(&context) == Ok(Cel::Bool(true))
    });
    names.cloned().collect()
}

fn found(index: &Index, kind: &str, text: &str) -> BTreeSet<String> {
    let query = Query {
        kind: Some(kind.to_owned()),
        filter: Some(text.to_owned()),
        ..Query::default()
    };
    let found = index.find(&query).unwrap();
    let page = index.page(kind, &found.rows, &[]).unwrap();
    page.into_iter().map(|row| row.name).collect()
}

fn matched(index: &Index, documents: &Documents, kind: &str, text: &str) -> BTreeSet<String> {
    let filter = Filter::compile(text, kind, index).unwrap();
    let labels = BTreeMap::new();
    let names = documents.0[kind].iter().filter(|(name, body)| {
        let document = Document {
            kind,
            name,
            labels: &labels,
            body,
        };
        let matches = filter.matches(&document, index);
        if matches {
            for equality in filter.equalities() {
                let at = match equality.path.split_first().unwrap() {
                    (first, _) if first == "name" => Some(json!(name)),
                    (_, keys) => keys
                        .iter()
                        .try_fold((*body).clone(), |at, key| at.get(key).cloned()),
                };
                let (is, wanted) = (at.as_ref(), &equality.value);
                let same = match (is.and_then(Json::as_f64), wanted.as_f64()) {
                    (Some(is), Some(wanted)) => is == wanted,
                    _ => is == Some(wanted),
                };
                assert!(same, "{text}: {is:?}");
            }
        }
        matches
    });
    names.map(|(name, _)| name.clone()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn index_predicate_and_interpreter_agree(
        documents in documents(),
        texts in prop::collection::vec(expression(), 4),
    ) {
        let index = indexed(&documents);
        for text in texts {
            let expected = expected(&documents, "host", &text);
            prop_assert_eq!(&found(&index, "host", &text), &expected, "the index: {}", &text);
            let matched = matched(&index, &documents, "host", &text);
            prop_assert_eq!(&matched, &expected, "the predicate: {}", &text);
        }
    }

    #[test]
    fn those_that_refer_are_a_list(
        documents in documents(),
        comparison in comparison(),
        number in 0..5,
        each in prop::sample::select(vec!["exists", "all", "exists_one"]),
    ) {
        let index = indexed(&documents);
        for text in [
            format!("size(rack.hosts) {comparison} {number}"),
            format!("rack.hosts.{each}(h, h.cores {comparison} {number})"),
            format!("!rack.hosts.{each}(h, h.model == 'compute') && rack.units > 1"),
            format!("rack.hosts.exists(h, h.cores {comparison} rack.units)"),
        ] {
            let expected = expected(&documents, "rack", &text);
            prop_assert_eq!(&found(&index, "rack", &text), &expected, "the index: {}", &text);
            prop_assert_eq!(&matched(&index, &documents, "rack", &text), &expected, "{}", &text);
        }
    }

    /// What was written over and removed leaves no trace.
    #[test]
    fn an_index_is_its_last_documents(
        before in documents(),
        after in documents(),
        text in expression(),
    ) {
        let mut index = indexed(&before);
        let labels = BTreeMap::new();
        before.each(|kind, name, _| {
            if !after.0[kind].contains_key(name) {
                assert!(index.remove(kind, name, 1000));
            }
        });
        after.each(|kind, name, body| {
            assert!(index.put(&Document { kind, name, labels: &labels, body }, 1001));
        });
        let fresh = indexed(&after);
        prop_assert_eq!(found(&index, "host", &text), found(&fresh, "host", &text), "{}", text);
        let by = |index: &Index| {
            let query = Query {
                kind: Some("host".to_owned()),
                group_by: vec!["model".to_owned(), "any".to_owned(), "rack.room".to_owned()],
                ..Query::default()
            };
            index.find(&query).unwrap().groups
        };
        prop_assert_eq!(by(&index), by(&fresh));
        for word in ["comp", "b2", "h1", "r0"] {
            prop_assert_eq!(index.search(word, &[], 1000), fresh.search(word, &[], 1000));
        }
    }

    #[test]
    fn what_is_not_in_sight_changes_no_answer(
        documents in documents(),
        glimpses in glimpses(),
        texts in prop::collection::vec(expression(), 6),
        number in 0..4,
    ) {
        let index = declared(&documents);
        let mut sight = Sight::default();
        for (kind, _) in FIELDS {
            let ways = glimpses.iter().filter(|it| it.kind == kind).map(Glimpse::way);
            sight.show(kind, Shown::Ways(ways.collect()));
        }
        let seen = index.seen(Some(&sight));
        let cut = declared(&cut(&documents, &glimpses));
        let whole = cut.seen(None);
        let asked = |index: &Seen<'_>, query: &Query| -> Option<Json> {
            let found = index.find(query).ok()?;
            let groups: Vec<Json> = found.groups.iter().map(|group| json!([group.values, group.count])).collect();
            let kind = query.kind.as_deref()?;
            let select = &query.select;
            let rows = index.page(kind, &index.in_order(kind, &found.rows, &query.sort).ok()?, select).ok()?;
            let rows: Vec<Json> = rows.into_iter().map(|row| json!([row.name, row.values])).collect();
            Some(json!([found.total, groups, rows]))
        };
        let host = |text: &String| Query {
            kind: Some("host".to_owned()),
            filter: Some(text.clone()),
            ..Query::default()
        };
        let of = |kind: &str| Query { kind: Some(kind.to_owned()), ..Query::default() };
        let named = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let mut queries: Vec<Query> = texts.iter().map(host).collect();
        queries.push(host(&"!has(host.model) || host.rack.name == 'r1'".to_owned()));
        queries.push(Query { select: named(&["cores", "rack.room"]), sort: named(&["-load", "rack.units"]), ..of("host") });
        queries.push(Query { select: named(&["cpu"]), text: Some("comp".to_owned()), ..of("host") });
        queries.push(Query { group_by: named(&["model", "rack.room"]), ..of("host") });
        queries.push(Query { group_by: named(&["cores"]), ..of("host") });
        queries.push(Query { filter: Some(format!("size(rack.hosts) < {number}")), ..of("rack") });
        queries.push(Query { filter: Some(format!("!rack.hosts.exists(h, h.cores < {number})")), ..of("rack") });
        for query in queries {
            // Refused is what may be seen of no resource.
            if let Some(answer) = asked(&seen, &query) {
                prop_assert_eq!(Some(answer), asked(&whole, &query), "{:?}", query);
            }
        }
        for word in ["comp", "b2", "h1", "r0", "x86"] {
            prop_assert_eq!(seen.search(word, &[], 1000), whole.search(word, &[], 1000));
        }
    }
}
