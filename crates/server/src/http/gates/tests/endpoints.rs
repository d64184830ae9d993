use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::bed::Bed;
use crate::http::{
    document::DOCUMENT,
    gates::{Gate, TABLE},
};

/// Method and path of every operation of the document.
pub fn operations() -> Vec<(String, String)> {
    let paths = DOCUMENT["paths"].as_object().unwrap();
    let methods = ["get", "post", "put", "patch", "delete"];
    let of_path = |(path, item): (&String, &Value)| {
        let here = methods.iter().filter(|method| item.get(method).is_some());
        let named = |method: &&str| (method.to_uppercase(), path.clone());
        here.map(named).collect::<Vec<_>>()
    };
    paths.iter().flat_map(of_path).collect()
}

#[test]
fn every_endpoint_of_the_document_has_one_line_and_every_line_an_endpoint() {
    let documented: BTreeSet<(String, String)> = operations().into_iter().collect();
    let line =
        |endpoint: &super::super::Endpoint| (endpoint.method.to_owned(), endpoint.path.to_owned());
    let lines: BTreeSet<(String, String)> = TABLE.iter().map(line).collect();
    assert_eq!(lines.len(), TABLE.len(), "an endpoint has two lines");
    let missing: Vec<_> = documented.symmetric_difference(&lines).collect();
    assert!(
        missing.is_empty(),
        "in the document or in the table only: {missing:?}"
    );
}

#[test]
fn what_changes_something_or_tells_a_secret_is_audited() {
    for endpoint in TABLE {
        let secret = endpoint.path.contains("/secrets/");
        let asks = ["/plans", "/query"].contains(&endpoint.path);
        let reads = (endpoint.method == "GET" && !secret) || asks;
        assert_eq!(
            endpoint.audited.is_none(),
            reads,
            "{} {}",
            endpoint.method,
            endpoint.path
        );
    }
}

fn filled(path: &str) -> String {
    let parts = path
        .split('/')
        .map(|part| if part.starts_with('{') { "x" } else { part });
    parts.collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn without_a_token_and_with_a_wrong_one_no_endpoint_answers() {
    let bed = Bed::start().await;
    for (method, path) in operations() {
        let endpoint = TABLE
            .iter()
            .find(|line| line.method == method && line.path == path);
        if endpoint.unwrap().gate == Gate::Anybody {
            continue;
        }
        for token in ["", "wright_unknown"] {
            let answer = bed.ask(token, &method, &filled(&path), json!({})).await;
            assert_eq!(answer.status, 401, "{method} {path}: {answer:?}");
        }
    }
    let answer = bed.get("", "/no/such/path").await;
    assert_eq!(answer.status, 401);
    bed.stop().await;
}

#[tokio::test]
async fn a_method_that_a_path_does_not_take_is_refused_with_those_it_takes() {
    let bed = Bed::start().await;
    let token = bed.token(&["administrator"]).await;
    let response = bed.send(&token, "PATCH", "/hosts", json!({})).await;
    assert_eq!(response.status(), 405);
    assert_eq!(response.headers()["allow"], "GET,POST");
    bed.stop().await;
}

#[tokio::test]
async fn the_document_names_what_the_gate_answers() {
    let show = &DOCUMENT["paths"]["/hosts/{host}"]["get"]["responses"];
    for status in ["200", "401", "403", "404"] {
        assert!(show.get(status).is_some(), "{status}: {show}");
    }
    let problem = &show["404"]["content"]["application/problem+json"]["schema"]["$ref"];
    assert_eq!(problem, "#/components/schemas/Problem");
    assert!(DOCUMENT["components"]["schemas"]["Problem"]["properties"]["detail"].is_object());
}
