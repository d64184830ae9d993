//! Leaves out of an answer what its caller may not see. Only for callers who may not read everything:
//! all others get the handler's answer untouched.

use std::{collections::HashMap, sync::Arc};

use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use http::header::CONTENT_LENGTH;
use serde_json::Value;
use wright_access::{Act, Caller};
use wright_inventory::InventoryError;

use super::{Answer, Shape, pass::Asked, stream};
use crate::{
    http::answer::Refusal,
    records::kind,
    rights::{Known, Rights, Subject, owned_path},
};

/// The largest answer that is looked through, bytes.
const MAX_ANSWER: usize = 256 << 20;

/// How much of an item is to be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Seen {
    /// It does not exist for the caller.
    Nothing,
    /// Without some of its fields.
    Part,
    /// All of it.
    Whole,
}

/// Whose eyes an answer is for.
pub struct Eyes {
    rights: Arc<Rights>,
    caller: Arc<Caller>,
    /// What the path names.
    kind: String,
    name: String,
}

/// Takes out of a response what the caller may not see.
pub(super) async fn reveal(
    rights: &Arc<Rights>,
    known: &Known,
    asked: &Asked,
    response: Response,
) -> Response {
    if !response.status().is_success() {
        return response;
    }
    let eyes = Eyes {
        kind: asked.param("kind").to_owned(),
        name: asked.param("name").to_owned(),
        ..Eyes::of(rights, known)
    };
    let shown = match asked.endpoint.answer {
        Answer::Open => return response,
        Answer::Stream(shape) => return stream::reveal(eyes, shape, response),
        answer => eyes.show_all(answer, response).await,
    };
    shown.unwrap_or_else(|error| error.into_response())
}

impl Eyes {
    /// A caller's.
    pub fn of(rights: &Arc<Rights>, known: &Known) -> Self {
        Eyes {
            rights: rights.clone(),
            caller: known.caller.clone(),
            kind: String::new(),
            name: String::new(),
        }
    }

    /// Those of a user as he is now.
    pub fn of_user(rights: &Arc<Rights>, user: &str) -> Self {
        Eyes {
            rights: rights.clone(),
            caller: Arc::new(rights.as_user(user)),
            kind: String::new(),
            name: String::new(),
        }
    }

    /// What they see of a change of a resource; `None`: nothing.
    pub fn change(&self, mut change: Value) -> Option<Value> {
        if self.caller.reads_everything() {
            return Some(change);
        }
        let text = |key: &str| {
            let found = change.get(key).and_then(Value::as_str);
            found.unwrap_or_default().to_owned()
        };
        let (kind, name) = (text("kind"), text("name"));
        let seen = self.show_change(&kind, &name, &mut change);
        (seen > Seen::Nothing).then_some(change)
    }

    async fn show_all(&self, answer: Answer, response: Response) -> Result<Response, Refusal> {
        let (mut parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, MAX_ANSWER).await;
        let body = body.map_err(Refusal::internal)?;
        if body.is_empty() {
            return Ok(Response::from_parts(parts, Body::empty()));
        }
        let mut value: Value = serde_json::from_slice(&body).map_err(Refusal::internal)?;
        let hidden = || Refusal::not_found(format!("{} {}", self.kind, self.name));
        match answer {
            Answer::Item(shape) => {
                let seen = self.show(shape, &mut value, None).await;
                if seen.map_err(Refusal::internal)? == Seen::Nothing {
                    return Err(hidden());
                }
            }
            Answer::List(shape) => self.show_list(shape, &mut value).await?,
            Answer::Within(field, shape) => {
                if let Some(list) = value.get_mut(field) {
                    self.show_list(shape, list).await?;
                }
            }
            Answer::Open | Answer::Stream(_) => {}
        }
        // Nothing left of what was named is nothing there.
        if !self.name.is_empty() && value.as_array().is_some_and(Vec::is_empty) {
            return Err(hidden());
        }
        parts.headers.remove(CONTENT_LENGTH);
        let body = serde_json::to_vec(&value).map_err(Refusal::internal)?;
        Ok(Response::from_parts(parts, Body::from(body)))
    }

    async fn show_list(&self, shape: Shape, list: &mut Value) -> Result<(), Refusal> {
        let Value::Array(items) = list else {
            return Ok(());
        };
        let known = self.all_of(shape).await.map_err(Refusal::internal)?;
        let mut shown = Vec::with_capacity(items.len());
        for mut item in std::mem::take(items) {
            let seen = self.show(shape, &mut item, known.as_ref()).await;
            if seen.map_err(Refusal::internal)? > Seen::Nothing {
                shown.push(item);
            }
        }
        *items = shown;
        Ok(())
    }

    /// All of the kind that a list of this shape is of, where its items do not tell enough.
    async fn all_of(
        &self,
        shape: Shape,
    ) -> Result<Option<HashMap<String, Subject>>, InventoryError> {
        let kind = match shape {
            Shape::Host => kind::HOST,
            Shape::Package => kind::PACKAGE,
            Shape::Instance => kind::INSTANCE,
            Shape::Site => kind::SITE,
            _ => return Ok(None),
        };
        Ok(Some(self.rights.subjects(kind).await?))
    }

    /// How much of an item is to be seen; takes out of it what is not.
    pub(super) async fn show(
        &self,
        shape: Shape,
        item: &mut Value,
        known: Option<&HashMap<String, Subject>>,
    ) -> Result<Seen, InventoryError> {
        let text = |pointer: &str| {
            let found = item.pointer(pointer).and_then(Value::as_str);
            found.unwrap_or_default().to_owned()
        };
        match shape {
            Shape::Resource => {
                let subject = self.rights.of_value(&text("/kind"), &text("/name"), item);
                Ok(self.cut_state(&subject, item))
            }
            Shape::Outcome => {
                let Some(resource) = item.get_mut("resource") else {
                    return Ok(Seen::Nothing);
                };
                let [kind, name] = ["kind", "name"].map(|part| {
                    let found = resource.get(part).and_then(Value::as_str);
                    found.unwrap_or_default().to_owned()
                });
                let subject = self.rights.of_value(&kind, &name, resource);
                Ok(self.cut_state(&subject, resource))
            }
            Shape::Past if item.get("body").is_none_or(Value::is_null) => Ok(Seen::Whole),
            Shape::Past => {
                let subject = self.rights.of_value(&self.kind, &self.name, item);
                Ok(self.cut_state(&subject, item))
            }
            Shape::Change => {
                let (kind, name) = (text("/kind"), text("/name"));
                Ok(self.show_change(&kind, &name, item))
            }
            Shape::Job => {
                let subject = self
                    .rights
                    .of_job(&text("/id"), &text("/subject"), item.clone());
                Ok(self.cut(&subject, Some(item)))
            }
            Shape::Event => self.show_event(&text("/subject")).await,
            Shape::Host => {
                let subject = self.known(kind::HOST, &text("/name"), known).await?;
                Ok(self.cut(&subject, Some(item)))
            }
            Shape::Site => {
                let subject = self.known(kind::SITE, &text("/site"), known).await?;
                Ok(self.cut(&subject, Some(item)))
            }
            Shape::Package => {
                let name = format!("{}@{}", text("/name"), text("/version"));
                let subject = self.known(kind::PACKAGE, &name, known).await?;
                Ok(self.cut(&subject, Some(item)))
            }
            Shape::Instance => {
                let name = text("/record/spec/id").replacen('/', ".", 1);
                let subject = self.known(kind::INSTANCE, &name, known).await?;
                let seen = self.cut(&subject, item.pointer_mut("/record"));
                // What its agent says is for whom nothing of the record is hidden.
                if let Some(status) = item.get_mut("status").filter(|_| seen != Seen::Whole) {
                    *status = Value::Null;
                }
                Ok(seen)
            }
        }
    }

    async fn known(
        &self,
        kind: &str,
        name: &str,
        known: Option<&HashMap<String, Subject>>,
    ) -> Result<Subject, InventoryError> {
        match known {
            Some(known) => Ok(known.get(name).cloned().unwrap_or_default()),
            None => self.rights.subject(kind, name).await,
        }
    }

    /// Takes out of a body what the caller may not see of the subject.
    fn cut(&self, subject: &Subject, body: Option<&mut Value>) -> Seen {
        let fields = self.caller.fields(Act::Read, &subject.target());
        if fields.is_none() {
            return Seen::Nothing;
        }
        if fields.is_all() {
            return Seen::Whole;
        }
        if let Some(body) = body {
            fields.prune(body);
        }
        Seen::Part
    }

    /// Takes out of a resource, as it is or was, what the caller may not see. Its labels count as
    /// fields below `labels`.
    fn cut_state(&self, subject: &Subject, state: &mut Value) -> Seen {
        let seen = self.cut(subject, state.get_mut("body"));
        if seen == Seen::Part {
            let fields = self.caller.fields(Act::Read, &subject.target());
            if let Some(Value::Object(labels)) = state.get_mut("labels") {
                labels.retain(|label, _| fields.cover(&format!("labels.{label}")));
            }
            // Who owns a field tells that it is there.
            if let Some(Value::Object(owners)) = state.get_mut("owners") {
                owners.retain(|field, _| fields.cover(&owned_path(field)));
            }
        }
        seen
    }

    /// A change is seen as far as what was or what is may be seen.
    fn show_change(&self, kind: &str, name: &str, item: &mut Value) -> Seen {
        let mut most = Seen::Nothing;
        for (side, then) in [("before", "entered"), ("after", "left")] {
            let Some(state) = item.get_mut(side).filter(|state| !state.is_null()) else {
                continue;
            };
            let subject = self.rights.of_value(kind, name, state);
            let seen = self.cut_state(&subject, state);
            most = most.max(seen);
            if seen == Seen::Nothing {
                *state = Value::Null;
                item["what"] = then.into();
            }
            if seen < Seen::Whole {
                let fields = self.caller.fields(Act::Read, &subject.target());
                if let Some(Value::Array(changed)) = item.get_mut("fields") {
                    let seen = |path: &Value| {
                        let path = path.as_str().unwrap_or_default();
                        fields.cover(path.strip_prefix("body.").unwrap_or(path))
                    };
                    changed.retain(|path| most > Seen::Nothing && seen(path));
                }
            }
        }
        // A change of nothing that he sees is none to him; what enters and leaves may do so unchanged.
        let is_change = item.get("what").and_then(Value::as_str) == Some("changed");
        let unseen = item
            .get("fields")
            .and_then(Value::as_array)
            .is_some_and(Vec::is_empty);
        let both = ["before", "after"]
            .iter()
            .all(|side| item.get(side).is_some_and(|v| !v.is_null()));
        if is_change && unseen && both {
            Seen::Nothing
        } else {
            most
        }
    }

    /// What happened to something is told to whom nothing of it is hidden.
    async fn show_event(&self, subject: &str) -> Result<Seen, InventoryError> {
        let (kind, name) = subject.split_once('/').unwrap_or((subject, ""));
        // An instance is recorded as `SITE.NAME` and spoken of as `SITE/NAME`.
        let name = match kind {
            kind::INSTANCE => name.replacen('/', ".", 1),
            _ => name.to_owned(),
        };
        if self.caller.may_all(Act::Read, kind) {
            return Ok(Seen::Whole);
        }
        let subject = self.rights.subject(kind, &name).await?;
        let fields = self.caller.fields(Act::Read, &subject.target());
        Ok(if fields.is_all() {
            Seen::Whole
        } else {
            Seen::Nothing
        })
    }
}
