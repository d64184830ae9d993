use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

fn kind(definition: &str) -> Kind {
    let definition: Definition = serde_saphyr::from_str(definition).unwrap();
    Kind::compile("thing", None, Some(&definition), 1).unwrap()
}

fn refused(definition: &str) -> String {
    let definition: Definition = serde_saphyr::from_str(definition).unwrap();
    let wrong = Kind::compile("thing", None, Some(&definition), 1).unwrap_err();
    wrong.iter().map(|v| format!("{v} {}\n", v.help)).collect()
}

fn validated(kind: &Kind, body: Value) -> Value {
    Value::Object(kind.validate(body, None).unwrap())
}

fn violations(kind: &Kind, body: Value) -> Vec<Violation> {
    kind.validate(body, None).unwrap_err()
}

#[test]
fn each_type_takes_its_values_and_writes_them_in_one_way() {
    for (field, given, kept) in [
        ("type: text", json!("x"), json!("x")),
        ("type: integer", json!(7.0), json!(7)),
        ("type: float", json!(1), json!(1.0)),
        ("type: boolean", json!(true), json!(true)),
        (
            "type: enumeration\n    values: [a, b]",
            json!("b"),
            json!("b"),
        ),
        (
            "type: time",
            json!("2026-03-01T14:00:00+02:00"),
            json!("2026-03-01T12:00:00Z"),
        ),
        ("type: date", json!("2026-03-01"), json!("2026-03-01")),
        ("type: duration", json!("120s"), json!("2m")),
        ("type: bytes", json!("2048MiB"), json!("2GiB")),
        (
            "type: address",
            json!("2001:DB8::0:1"),
            json!("2001:db8::1"),
        ),
        ("type: prefix", json!("10.0.0.0/8"), json!("10.0.0.0/8")),
        (
            "type: mac",
            json!("AA-BB-CC-DD-EE-FF"),
            json!("aa:bb:cc:dd:ee:ff"),
        ),
        (
            "type: url",
            json!("HTTP://X.org/A"),
            json!("http://x.org/A"),
        ),
        ("type: email", json!("a@X.org"), json!("a@x.org")),
        (
            "type: json",
            json!({"any": [1, null]}),
            json!({"any": [1, null]}),
        ),
        (
            "type: list\n    of: { type: mac }",
            json!(["AABBCCDDEEFF"]),
            json!(["aa:bb:cc:dd:ee:ff"]),
        ),
        (
            "type: map\n    of: { type: integer }",
            json!({"a": 1}),
            json!({"a": 1}),
        ),
        (
            "type: object\n    fields: { m: { type: date } }",
            json!({"m": "2026-03-01"}),
            json!({"m": "2026-03-01"}),
        ),
        ("type: user", json!("anna"), json!("anna")),
        ("type: reference\n    to: host", json!("h1"), json!("h1")),
        (
            "type: reference\n    to: host\n    many: true",
            json!(["h1", "h2", "h1"]),
            json!(["h1", "h2"]),
        ),
    ] {
        let kind = kind(&format!("fields:\n  f:\n    {field}\n"));
        assert_eq!(
            validated(&kind, json!({ "f": given })),
            json!({ "f": kept }),
            "{field}"
        );
        assert_eq!(
            validated(&kind, json!({ "f": null })),
            json!({}),
            "{field}: null is nothing"
        );
        let wrong = violations(&kind, json!({ "f": { "f": { "f": [] } }, "g": 1 }));
        assert!(
            wrong
                .iter()
                .any(|violation| violation.code == "unknown-field")
        );
    }
}

#[test]
fn a_violation_names_the_field_what_was_found_and_what_was_expected() {
    let kind = kind(
        "fields:
  units: { type: integer, minimum: 1, maximum: 100 }
  state: { type: enumeration, values: [active, retired] }
  links: { type: list, of: { type: object, fields: { mac: { type: mac, required: true } } } }
  name: { type: text, required: true, max-length: 3 }",
    );
    let body = json!({ "units": 0, "state": "activ", "links": [{ "mac": "aa" }, {}], "nmae": "x" });
    let wrong = violations(&kind, body);
    let told: Vec<String> = wrong.iter().map(|v| format!("{v} | {}", v.help)).collect();
    assert_eq!(
        told,
        [
            "units: 0 was found, a whole number from 1 to 100 was expected | ",
            "state: \"activ\" was found, one of active, retired was expected | did you mean active?",
            "links[0].mac: \"aa\" was found, a MAC address, such as aa:bb:cc:dd:ee:ff was expected | ",
            "links[1].mac: nothing was found, a MAC address, such as aa:bb:cc:dd:ee:ff was expected | ",
            "name: nothing was found, a text of at most 3 characters was expected | ",
            "nmae: \"nmae\" was found, a declared field was expected | did you mean name?",
        ]
    );
}

#[test]
fn defaults_fill_in_and_computed_fields_follow() {
    let kind = kind(
        "fields:
  units: { type: integer, default: 42 }
  used: { type: integer }
  free: { type: integer, computed: self.units - self.used }",
    );
    assert_eq!(
        validated(&kind, json!({})),
        json!({ "units": 42 }),
        "what it needs is missing"
    );
    let body = json!({ "used": 40, "free": 9 });
    assert_eq!(
        validated(&kind, body),
        json!({ "units": 42, "used": 40, "free": 2 })
    );
}

#[test]
fn a_computed_field_never_sees_a_secret() {
    let kind = kind(
        "fields:
  password: { type: text, secret: true }
  copy: { type: text, computed: self.password }",
    );
    assert_eq!(
        validated(&kind, json!({ "password": "x" })),
        json!({ "password": "x" })
    );
}

#[test]
fn a_secret_of_the_wrong_form_is_not_quoted() {
    let kind = kind("fields: { password: { type: text, secret: true, min-length: 12 } }");
    let wrong = violations(&kind, json!({ "password": "hunter2" }));
    assert!(!format!("{wrong:?}").contains("hunter2"));
}

#[test]
fn an_immutable_field_is_set_once() {
    let kind = kind("fields: { serial: { type: text, immutable: true }, note: { type: text } }");
    let before: Map<String, Value> = [("serial".to_owned(), json!("s1"))].into_iter().collect();
    let change = |body| kind.validate(body, Some(&before));
    assert!(change(json!({ "serial": "s1", "note": "x" })).is_ok());
    assert_eq!(
        change(json!({ "serial": "s2" })).unwrap_err()[0].code,
        "immutable"
    );
    assert_eq!(change(json!({})).unwrap_err()[0].code, "immutable");
    assert!(
        kind.validate(json!({ "serial": "s2" }), Some(&Map::new()))
            .is_ok()
    );
}

#[test]
fn a_kind_that_makes_no_sense_is_refused_with_all_that_is_wrong() {
    let told = refused(
        "display: [nmae]
parent: title
unique: [[name, secret], []]
fields:
  name: { type: text, minimum: 1 }
  title: { type: text }
  secret: { type: text, secret: true, default: x }
  rack: { type: reference }
  size: { type: integer, minimum: 5, maximum: 1 }
  9lives: { type: text }
  e: { type: enumeration }
  p: { type: text, pattern: '(' }
  c: { type: text, computed: 'self.' }
  d: { type: integer, default: many }
  k: { type: text, platform: true }",
    );
    for wanted in [
        "display[0]: \"nmae\"",
        "did you mean name?",
        "parent: title was found, a reference",
        "unique[1]: nothing",
        "fields.name.minimum",
        "fields.secret.default",
        "fields.rack.to",
        "fields.size.minimum",
        "fields.9lives",
        "fields.e.values",
        "fields.p.pattern",
        "fields.c.computed",
        "fields.d.default",
        "fields.k.platform",
    ] {
        assert!(told.contains(wanted), "{wanted} is not in:\n{told}");
    }
}

#[test]
fn what_is_added_to_a_shipped_kind_adds_and_never_changes() {
    let added: Definition = serde_saphyr::from_str(
        "fields: { colour: { type: text }, units: { type: text } }\nunique: [[colour]]",
    )
    .unwrap();
    let wrong = Kind::compile("rack", shipped("rack"), Some(&added), 3).unwrap_err();
    assert_eq!(wrong.len(), 1, "{wrong:?}");
    assert_eq!(wrong[0].field, "fields.units");
    let mut added = added;
    added.fields.shift_remove("units");
    let kind = Kind::compile("rack", shipped("rack"), Some(&added), 3).unwrap();
    let body = json!({ "room": "b2", "colour": "red" });
    assert_eq!(validated(&kind, body)["units"], 42);
    assert_eq!(kind.unique().len(), 3);
}

#[test]
fn fields_of_the_platform_may_be_sent_along_but_not_changed() {
    let kind = Kind::compile("host", shipped("host"), None, 0).unwrap();
    let platform: Map<String, Value> = [
        ("state".to_owned(), json!("ready")),
        ("extra".to_owned(), json!(1)),
    ]
    .into_iter()
    .collect();
    let own = kind.own_part(
        json!({ "state": "ready", "extra": 1, "serial": "s" }),
        &platform,
    );
    assert_eq!(validated(&kind, own), json!({ "serial": "s" }));
    let own = kind.own_part(json!({ "state": "dead" }), &platform);
    assert_eq!(violations(&kind, own)[0].code, "platform-field");
}

#[test]
fn the_json_schema_says_what_is_required_and_closed() {
    let schema = Kind::compile("rack", shipped("rack"), None, 0)
        .unwrap()
        .json_schema();
    assert_eq!(schema["required"], json!(["room"]));
    assert_eq!(schema["additionalProperties"], json!(false));
    assert_eq!(schema["properties"]["units"]["maximum"], json!(100));
    assert_eq!(schema["properties"]["room"]["x-wright-reference"], "room");
}

proptest! {
    #[test]
    fn a_body_that_was_validated_is_valid_and_stays_as_it_is(
        units in any::<i64>(),
        // Exact in few decimal digits, which serde_json reads back without rounding.
        share in (-1_000_000_i32..1_000_000).prop_map(|n| f64::from(n) / 64.0),
        seconds in 0_u64..31_000_000,
        address in any::<std::net::IpAddr>(),
        mac in "[0-9A-F]{12}",
        text in "\\PC{0,20}",
        names in proptest::collection::vec("[a-z]{1,3}", 0..5),
    ) {
        let kind = kind(
            "fields:
  units: { type: integer }
  share: { type: float }
  span: { type: duration }
  address: { type: address }
  mac: { type: mac }
  text: { type: text }
  hosts: { type: reference, to: host, many: true }",
        );
        let body = json!({
            "units": units, "share": share, "span": format!("{seconds}s"), "address": address,
            "mac": mac, "text": text, "hosts": names,
        });
        let once = kind.validate(body, None).unwrap();
        // What was written is read back from JSON.
        let read: Map<String, Value> = serde_json::from_str(&serde_json::to_string(&once).unwrap()).unwrap();
        let twice = kind.validate(Value::Object(read), None).unwrap();
        prop_assert_eq!(once, twice);
    }
}
