//! Watching resources: server-sent events (WHATWG HTML, 9.2).

use std::{convert::Infallible, fmt, sync::Arc};

use axum::{
    Extension,
    body::Body,
    extract::{Query, State},
    response::Response,
};
use bytes::{BufMut as _, Bytes, BytesMut};
use futures::{Stream, stream};
use http::{HeaderMap, HeaderValue, header};
use serde::Deserialize;
use wright_access::{Act, Caller};
use wright_inventory::{
    Inventory, Resource,
    catalog::{Catalog, Sight},
    feed::{
        Condition, ConditionError, Equality, FeedError, Filter, News, Position, PositionError,
        Selection, Sighted, Subscription, Understood, Watcher,
    },
};

use super::{Rooms, Shared, answer::Refusal, listed};
use crate::rights::{Known, Rights};

/// What `EventSource` sends when it comes back: the id of the last event that it was given.
const LAST_EVENT_ID: &str = "last-event-id";

impl From<FeedError> for Refusal {
    fn from(error: FeedError) -> Self {
        let detail = error.to_string();
        match error {
            FeedError::Expired { .. } | FeedError::Wide { .. } => {
                Refusal::new(410, "expired", "no longer kept", detail)
            }
            FeedError::Future { .. } => Refusal::new(400, "future", "not yet", detail),
            FeedError::Store(_) => Refusal::internal(detail),
            FeedError::Unseen(_) => Refusal::new(503, "behind", "not yet in memory", detail),
            FeedError::Closed => Refusal::new(503, "closed", "the server ends", detail),
        }
    }
}

impl From<PositionError> for Refusal {
    fn from(error: PositionError) -> Self {
        Refusal::new(400, "position", "no position", error.to_string())
    }
}

/// What to watch.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    filter: String,
    group: Option<String>,
    from: Option<String>,
}

/// Every change of resources, once and in order.
///
/// Events are `change` (position, revision, kind, name, what, fields, before, after), `bookmark`
/// (nothing else concerns the watcher up to its position; one comes at once, then after some seconds
/// without a change) and `expired` (what comes next is no longer kept: list again). The id of each is
/// its position, to be sent as `Last-Event-ID`, or as `from`, to go on after it.
#[utoipa::path(get, path = "/watch", params(
    ("kind" = Option<String>, Query, description = "Kinds, with commas between; all where there is none."),
    ("filter" = Option<String>, Query, description = "CEL, as in queries, such as `host.state == \"lost\"` or `host.rack.room.name == \"b2\"`; of one kind. Events say then what entered, changed and left, also where that is because of what the filter looks at elsewhere."),
    ("group" = Option<String>, Query, description = "Members of this group, as it is now defined: events say what entered, changed and left it."),
    ("from" = Option<String>, Query, description = "Watch what comes after this revision or position; from now on where there is none."),
    ("Last-Event-ID" = Option<String>, Header, description = "The same; it goes before `from`."),
), responses(
    (status = 200, description = "Server-sent events.", content_type = "text/event-stream"),
    (status = 400, description = "No position, or one that has not happened; or no filter.", body = serde_json::Value),
    (status = 404, description = "No such group.", body = serde_json::Value),
    (status = 410, description = "What comes next is no longer kept.", body = serde_json::Value),
    (status = 422, description = "The group is of another kind.", body = serde_json::Value),
))]
pub async fn watch(
    State(rooms): Shared,
    Extension(known): Extension<Known>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let wish = Wish {
        kinds: listed(&wanted.kind),
        filter: wanted.filter,
        group: wanted.group,
        from: from(&headers, wanted.from.as_deref())?,
    };
    let watcher = subscribe(&rooms, &known, wish).await?;
    let mut response = Response::new(Body::from_stream(frames(watcher)));
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static("text/event-stream");
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}

/// What somebody wishes to be told.
#[derive(Debug, Default)]
pub struct Wish {
    /// Of these kinds; none: of all.
    pub kinds: Vec<String>,
    /// CEL on resources of one kind; empty: of all of them.
    pub filter: String,
    /// Members of a group.
    pub group: Option<String>,
    /// After this; from now on where there is none.
    pub from: Option<Position>,
}

/// Begins a watch of what a caller may read. What he may not of a change is still in it.
///
/// # Errors
/// What is wrong with the wish, or that what comes next is no longer kept.
pub async fn subscribe(rooms: &Rooms, known: &Known, wish: Wish) -> Result<Watcher, Refusal> {
    let Wish {
        mut kinds,
        filter,
        group,
        from,
    } = wish;
    let mut text = filter;
    if let Some(name) = group {
        let first = kinds.first().map(String::as_str);
        let group = rooms.group(known, &name, first).await?;
        text = match text.as_str() {
            "" => group.condition(),
            // Each ends its line: it may end with a comment.
            filter => format!("({filter}\n) && ({}\n)", group.condition()),
        };
        if kinds.is_empty() {
            kinds.push(group.kind);
        }
    }
    let named: Vec<&str> = kinds.iter().map(String::as_str).collect();
    // What enters and leaves tells of the fields that are asked for.
    let eyes = match known.caller.reads_everything() {
        true => None,
        false => Some(Reading::by(&rooms.rights, &known.caller)),
    };
    let filter = selection(&rooms.catalog, &named, &text, eyes).await?;
    let subscription = Subscription {
        filter,
        from,
        kinds: kinds.into(),
    };
    Ok(rooms.feed.watch(subscription).await?)
}

/// What somebody may read: the rest is not there for him.
pub struct Reading {
    rights: Arc<Rights>,
    reader: Reader,
}

/// Who reads.
enum Reader {
    /// A caller, with the rights that he had when he called.
    Caller(Arc<Caller>),
    /// A user, with those that he has.
    User(String),
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match &self.reader {
            Reader::Caller(caller) => caller.name(),
            Reader::User(name) => name,
        };
        write!(f, "as {name} reads")
    }
}

impl Reading {
    fn by(rights: &Arc<Rights>, caller: &Arc<Caller>) -> Self {
        Reading {
            rights: rights.clone(),
            reader: Reader::Caller(caller.clone()),
        }
    }

    /// As a user may read whenever it is asked.
    pub fn by_user(rights: &Arc<Rights>, user: &str) -> Self {
        Reading {
            rights: rights.clone(),
            reader: Reader::User(user.to_owned()),
        }
    }

    /// Whether that is all of a kind, and stays so.
    fn is_all(&self, kind: &str) -> bool {
        match &self.reader {
            Reader::Caller(caller) => caller.may_all(Act::Read, kind),
            Reader::User(_) => false,
        }
    }

    fn with<T>(&self, read: impl FnOnce(&Caller) -> T) -> T {
        match &self.reader {
            Reader::Caller(caller) => read(caller),
            Reader::User(name) => read(&self.rights.as_user(name)),
        }
    }
}

impl Sighted for Reading {
    fn sight(&self, kinds: &[&str]) -> Option<Sight> {
        self.with(|caller| self.rights.sight(caller, kinds.iter().copied()))
    }
}

/// A filter on what somebody may read of each resource.
#[derive(Debug)]
struct AsRead {
    filter: Arc<dyn Filter>,
    eyes: Arc<Reading>,
}

impl Filter for AsRead {
    fn matches(&self, resource: &Resource) -> bool {
        let eyes = &self.eyes;
        let seen = eyes.with(|caller| eyes.rights.seen(caller, resource.clone()));
        seen.is_some_and(|resource| self.filter.matches(&resource))
    }

    // Of what he sees, all fields have the values that they have.
    fn equalities(&self) -> &[Equality] {
        self.filter.equalities()
    }
}

/// What a filter on one kind selects, as somebody reads what it looks at; `None`: everything.
///
/// # Errors
/// What is wrong with it.
pub async fn selection(
    catalog: &Arc<Catalog>,
    kinds: &[&str],
    text: &str,
    eyes: Option<Reading>,
) -> Result<Option<Selection>, Refusal> {
    let kind = match kinds {
        _ if text.is_empty() => return Ok(None),
        [kind] => kind,
        _ => return Err(of_one_kind()),
    };
    let eyes = eyes.map(Arc::new);
    let sighted = eyes.clone().map(|eyes| eyes as Arc<dyn Sighted>);
    Ok(Some(
        match catalog.understand(kind, text, sighted).await? {
            Understood::Related(related) => Selection::Related(Arc::new(related)),
            Understood::Own(condition) => {
                let filter: Arc<dyn Filter> = Arc::new(condition);
                Selection::Own(match eyes.filter(|eyes| !eyes.is_all(kind)) {
                    Some(eyes) => Arc::new(AsRead { filter, eyes }),
                    None => filter,
                })
            }
        },
    ))
}

impl From<ConditionError> for Refusal {
    fn from(error: ConditionError) -> Self {
        match error {
            ConditionError::Inventory(error) => Refusal::internal(error),
            error => Refusal::new(400, "filter", "no filter", error.to_string()),
        }
    }
}

fn of_one_kind() -> Refusal {
    let detail = "a filter is on one kind: name it";
    Refusal::new(400, "filter", "no filter", detail)
}

/// The filter on resources of a kind, by what each is itself, that a text is.
///
/// # Errors
/// What is wrong with it.
pub async fn condition(
    inventory: &Inventory,
    kind: &str,
    text: &str,
) -> Result<Option<Condition>, Refusal> {
    if text.is_empty() {
        return Ok(None);
    }
    Ok(Some(inventory.condition(kind, text).await?))
}

fn from(headers: &HeaderMap, from: Option<&str>) -> Result<Option<Position>, Refusal> {
    let last = headers.get(LAST_EVENT_ID);
    let last = last.map(|last| String::from_utf8_lossy(last.as_bytes()));
    let last = last.as_deref().filter(|last| !last.is_empty());
    let told = last.or(from).map(str::parse::<Position>);
    Ok(told.transpose()?)
}

fn frames(watcher: Watcher) -> impl Stream<Item = Result<Bytes, Infallible>> {
    stream::unfold(Some(watcher), async |watcher| {
        let mut watcher = watcher?;
        match watcher.next().await {
            Ok(News::Change(told)) => {
                let position = &told.change.position;
                Some((Ok(frame("change", position, &told.json())), Some(watcher)))
            }
            Ok(News::Bookmark(position)) => {
                let text = serde_json::json!({ "position": position }).to_string();
                let frame = frame("bookmark", &position, text.as_bytes());
                Some((Ok(frame), Some(watcher)))
            }
            Err(FeedError::Closed) => None,
            Err(error) => {
                let event = if error.is_gap() { "expired" } else { "failed" };
                let text = serde_json::json!({ "detail": error.to_string() }).to_string();
                let frame = frame(event, watcher.position(), text.as_bytes());
                Some((Ok(frame), None))
            }
        }
    })
}

/// One event; its data is JSON on one line.
fn frame(event: &str, position: &Position, data: &[u8]) -> Bytes {
    let head = format!("id: {position}\nevent: {event}\ndata: ");
    let mut frame = BytesMut::with_capacity(head.len() + data.len() + 2);
    frame.put_slice(head.as_bytes());
    frame.put_slice(data);
    frame.put_slice(b"\n\n");
    frame.freeze()
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;
    use wright_inventory::{
        Inventory,
        feed::{Hub, Settings},
    };

    use super::*;

    #[tokio::test]
    async fn each_event_has_the_id_by_which_its_reader_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("file:{}", directory.path().display());
        let store = wright_store::open(&url).await.unwrap();
        let (hub, reader) = Hub::open(store.clone(), Settings::default()).await.unwrap();
        let reader = tokio::spawn(reader.run());
        let inventory = Inventory::new(store);
        let before = hub.head();
        let revision = inventory.put_as("host", "h1", "a\nb").await.unwrap();
        let subscription = Subscription {
            from: Some(Position::after(before)),
            ..Subscription::kind("host")
        };
        let watcher = hub.watch(subscription).await.unwrap();
        let mut frames = Box::pin(frames(watcher));
        let frame = loop {
            let frame = frames.next().await.unwrap().unwrap();
            let frame = String::from_utf8(frame.to_vec()).unwrap();
            if !frame.contains("event: bookmark") {
                break frame;
            }
        };
        let head = format!("id: {revision}\nevent: change\ndata: {{");
        assert!(frame.starts_with(&head), "{frame}");
        assert!(
            frame.ends_with("}\n\n") && frame.lines().count() == 4,
            "{frame}"
        );
        reader.abort();
        while let Some(rest) = frames.next().await {
            assert!(rest.unwrap().starts_with(b"id: "));
        }
    }

    #[test]
    fn the_last_event_goes_before_where_the_address_says_to_begin() {
        let mut headers = HeaderMap::new();
        assert!(from(&headers, None).unwrap().is_none());
        assert_eq!(from(&headers, Some("7")).unwrap(), Some(Position::after(7)));
        headers.insert(LAST_EVENT_ID, HeaderValue::from_static("9.2"));
        let last = from(&headers, Some("7")).unwrap().unwrap();
        assert_eq!(last.to_string(), "9.2");
        headers.insert(LAST_EVENT_ID, HeaderValue::from_static("nonsense"));
        assert!(from(&headers, None).is_err());
    }
}
