//! The resources of a kind: all of them, or those that are asked for, page by page.

use axum::{
    Extension, Json,
    extract::{Path, Query, State},
    response::{IntoResponse as _, Response},
};
use http::{HeaderValue, header::LINK};
use serde::Deserialize;
use serde_json::{Map, Value};
use wright_inventory::{InventoryError, Resource, catalog};
use wright_model::Name;
use wright_store::StoreError;

use super::known;
use crate::{
    http::{Shared, answer::Refusal, listed},
    rights::Known,
};

/// How many resources there are on all pages.
const TOTAL: &str = "x-total-count";

/// Which resources, and what of them.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Which {
    filter: Option<String>,
    #[serde(default)]
    label: String,
    group: Option<String>,
    #[serde(default)]
    sort: String,
    #[serde(default)]
    select: String,
    limit: Option<usize>,
    cursor: Option<String>,
}

impl Which {
    /// Whether all are meant, in one answer.
    fn is_all(&self) -> bool {
        let texts = [&self.label, &self.sort];
        let named = [&self.filter, &self.group, &self.cursor];
        self.limit.is_none()
            && texts.iter().all(|text| text.is_empty())
            && named.iter().all(|named| named.is_none())
    }

    /// As a query. What comes with a cursor was said when its first page was asked for.
    fn query(&self, kind: &Name) -> Result<catalog::Query, Refusal> {
        let labels: Result<_, _> = listed(&self.label).iter().map(|it| labelled(it)).collect();
        Ok(catalog::Query {
            kind: Some(kind.to_string()),
            filter: self.filter.clone(),
            among: labels?,
            group: self.group.clone(),
            sort: listed(&self.sort),
            limit: self.limit.unwrap_or_default(),
            cursor: self.cursor.clone(),
            ..catalog::Query::default()
        })
    }
}

/// `team=web` as a condition.
fn labelled(text: &str) -> Result<String, Refusal> {
    let Some((key, value)) = text.split_once('=') else {
        let detail = format!("{text:?} is no label: KEY=VALUE was expected");
        return Err(Refusal::new(400, "label", "no label", detail));
    };
    let [key, value] = [key, value].map(|text| Value::String(text.to_owned()));
    Ok(format!(
        "{key} in self.labels && self.labels[{key}] == {value}"
    ))
}

/// Resources of a kind: all, or those that a filter, labels or a group name, page by page.
///
/// All pages are of one revision, values included. The address of the next page is in the header `Link`
/// (RFC 8288), `rel="next"`; how many there are on all pages is in `X-Total-Count`.
#[utoipa::path(get, path = "/resources/{kind}", params(
    ("kind" = String, Path),
    ("filter" = Option<String>, Query, description = "CEL, as in queries."),
    ("label" = Option<String>, Query, description = "Labels that they have: `KEY=VALUE`, with commas between."),
    ("group" = Option<String>, Query, description = "Only members of this group."),
    ("sort" = Option<String>, Query, description = "Fields to order by, with commas between; `-` before one that goes downwards."),
    ("select" = Option<String>, Query, description = "Fields of the body to answer with, with commas between; all where there is none."),
    ("limit" = Option<usize>, Query, description = "How many on a page: 100, at most 10,000."),
    ("cursor" = Option<String>, Query, description = "The next page, as `Link` names it."),
), responses(
    (status = 200, description = "The resources.", body = Vec<Resource>),
    (status = 400, description = "A parameter is not what it should be.", body = serde_json::Value),
    (status = 404, description = "No such kind or group.", body = serde_json::Value),
    (status = 410, description = "The rest is no longer kept.", body = serde_json::Value),
    (status = 422, description = "The filter was not understood, or is too expensive.", body = serde_json::Value),
    (status = 503, description = "Not everything is in memory yet.", body = serde_json::Value),
))]
pub async fn list(
    State(rooms): Shared,
    Extension(caller): Extension<Known>,
    Path(kind): Path<Name>,
    Query(which): Query<Which>,
) -> Result<Response, Refusal> {
    let select = listed(&which.select);
    if which.is_all() {
        let all = rooms.inventory.resources(kind.as_str(), None, 0, None);
        let all = all.await?.resources;
        if all.is_empty() {
            known(&rooms, &kind).await?;
        }
        return Ok(Json(picked(all, &select)).into_response());
    }
    known(&rooms, &kind).await?;
    let page = rooms.ask(&caller, which.query(&kind)?).await?;
    let names: Vec<String> = page.rows.into_iter().map(|row| row.name).collect();
    let read = rooms
        .inventory
        .resources_at(kind.as_str(), &names, page.revision);
    let read = read.await.map_err(|error| match error {
        InventoryError::Store(error @ StoreError::Compacted { .. }) => {
            Refusal::new(410, "expired", "no longer kept", error.to_string())
        }
        error => error.into(),
    })?;
    let mut response = Json(picked(read, &select)).into_response();
    let headers = response.headers_mut();
    headers.insert(TOTAL, page.total.into());
    if let Some(cursor) = page.cursor {
        let select = select.join(",");
        let select = match select.is_empty() {
            true => String::new(),
            false => format!("&select={select}"),
        };
        let next = format!("</api/v1/resources/{kind}?cursor={cursor}{select}>; rel=\"next\"");
        if let Ok(next) = HeaderValue::from_str(&next) {
            headers.insert(LINK, next);
        }
    }
    Ok(response)
}

/// Leaves of each body the named fields; all where none is named.
fn picked(mut resources: Vec<Resource>, select: &[String]) -> Vec<Resource> {
    if !select.is_empty() {
        for resource in &mut resources {
            let mut left = Value::Object(Map::new());
            for path in select {
                pick(&resource.body, path, &mut left);
            }
            resource.body = left;
        }
    }
    resources
}

fn pick(from: &Value, path: &str, into: &mut Value) {
    let (first, rest) = match path.split_once('.') {
        Some((first, rest)) => (first, Some(rest)),
        None => (path, None),
    };
    let (Some(value), Value::Object(into)) = (from.get(first), into) else {
        return;
    };
    match rest {
        None => {
            into.insert(first.to_owned(), value.clone());
        }
        Some(rest) if value.is_object() => {
            let inner = into
                .entry(first)
                .or_insert_with(|| Value::Object(Map::new()));
            pick(value, rest, inner);
        }
        Some(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_named_fields_are_picked_wherever_they_are() {
        let body = json!({ "model": "x", "cpu": { "arch": "x86", "cores": 4 }, "rack": "r1" });
        let mut left = json!({});
        for path in ["cpu.arch", "rack", "rack.room", "gone.at", "cpu.gone"] {
            pick(&body, path, &mut left);
        }
        assert_eq!(left, json!({ "cpu": { "arch": "x86" }, "rack": "r1" }));
    }

    #[test]
    fn a_label_is_a_condition_whatever_is_in_it() {
        assert_eq!(
            labelled("a.b=x\"y").unwrap(),
            r#""a.b" in self.labels && self.labels["a.b"] == "x\"y""#
        );
        assert!(labelled("team").is_err());
    }
}
