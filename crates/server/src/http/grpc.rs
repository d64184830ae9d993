//! Watching resources over gRPC: the same as server-sent events, for programs.

use std::{pin::Pin, sync::Arc};

use futures::{Stream, stream};
use http::header::AUTHORIZATION;
use serde_json::Value;
use tonic::{Request, Response, Status};
use wright_inventory::feed::{FeedError, News, Position, Told, Watcher, What as Happened};
use wright_protocol::watch::{
    Bookmark, Change, Expired, WatchEvent, WatchRequest, What,
    watch_event::Event,
    watch_server::{Watch, WatchServer},
};

use super::{
    Rooms,
    answer::Refusal,
    feed::{self, Wish},
    gates::Eyes,
};
use crate::rights::Known;

/// Where the service's methods are.
pub const PATH: &str = "/wright.watch.v1.Watch/{method}";

/// The service.
pub fn service(rooms: Arc<Rooms>) -> WatchServer<Feed> {
    WatchServer::new(Feed { rooms })
}

/// Tells changes.
pub struct Feed {
    rooms: Arc<Rooms>,
}

impl From<Refusal> for Status {
    fn from(Refusal(problem): Refusal) -> Self {
        let detail = problem.detail;
        match problem.status {
            401 => Status::unauthenticated(detail),
            403 => Status::permission_denied(detail),
            404 => Status::not_found(detail),
            410 => Status::out_of_range(detail),
            400..500 => Status::invalid_argument(detail),
            503 => Status::unavailable(detail),
            _ => Status::internal(detail),
        }
    }
}

impl Feed {
    /// Who shows his token with a request.
    async fn know<T>(&self, request: &Request<T>) -> Result<Known, Status> {
        let shown = request.metadata().get(AUTHORIZATION.as_str());
        let token = shown.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let token = token.ok_or_else(|| {
            Status::unauthenticated("send the metadata `authorization: Bearer TOKEN`")
        })?;
        let known = self.rooms.rights.know(token).await;
        let known = known.map_err(|error| Status::internal(error.to_string()))?;
        known.ok_or_else(|| {
            Status::unauthenticated("this token is not known here, has expired or was withdrawn")
        })
    }
}

#[tonic::async_trait]
impl Watch for Feed {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchEvent, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let known = self.know(&request).await?;
        let WatchRequest {
            kinds,
            filter,
            group,
            from,
        } = request.into_inner();
        let from = Some(from).filter(|from| !from.is_empty());
        let from = from.map(|from| from.parse::<Position>()).transpose();
        let wish = Wish {
            kinds,
            filter,
            group: Some(group).filter(|group| !group.is_empty()),
            from: from.map_err(Refusal::from)?,
        };
        let watcher = feed::subscribe(&self.rooms, &known, wish).await?;
        let eyes = Eyes::of(&self.rooms.rights, &known);
        Ok(Response::new(Box::pin(events(watcher, eyes))))
    }
}

fn events(watcher: Watcher, eyes: Eyes) -> impl Stream<Item = Result<WatchEvent, Status>> + Send {
    stream::unfold(Some((watcher, eyes)), async |state| {
        let (mut watcher, eyes) = state?;
        let (position, event) = loop {
            match watcher.next().await {
                Ok(News::Change(told)) => {
                    let position = told.change.position.clone();
                    match change(&told, &eyes).transpose() {
                        Some(event) => break (position, event),
                        // Whom it does not concern is not told its name.
                        None if position.tells_a_name() => {}
                        None => break (position, Ok(Event::Bookmark(Bookmark {}))),
                    }
                }
                Ok(News::Bookmark(position)) => break (position, Ok(Event::Bookmark(Bookmark {}))),
                Err(FeedError::Closed) => return None,
                Err(error) if error.is_gap() => {
                    let detail = error.to_string();
                    let event = Event::Expired(Expired { detail });
                    return Some((Ok(event_at(watcher.position(), event)), None));
                }
                Err(error) => return Some((Err(Status::unavailable(error.to_string())), None)),
            }
        };
        let event = event.map(|event| event_at(&position, event));
        Some((event, Some((watcher, eyes))))
    })
}

fn event_at(position: &Position, event: Event) -> WatchEvent {
    WatchEvent {
        position: position.to_string(),
        event: Some(event),
    }
}

/// A change as its reader sees it, if he does.
fn change(told: &Told, eyes: &Eyes) -> Result<Option<Event>, Status> {
    let unreadable = |error: serde_json::Error| Status::internal(error.to_string());
    let shown = serde_json::from_slice(&told.json()).map_err(unreadable)?;
    let Some(shown) = eyes.change(shown) else {
        return Ok(None);
    };
    let side = |side: &str| match shown.get(side) {
        None | Some(Value::Null) => Vec::new(),
        Some(state) => state.to_string().into_bytes(),
    };
    let fields = shown.get("fields").and_then(Value::as_array);
    let fields = fields.into_iter().flatten().filter_map(Value::as_str);
    let what = shown.get("what").and_then(Value::as_str);
    Ok(Some(Event::Change(Change {
        revision: told.change.position.revision(),
        kind: told.change.kind.clone(),
        name: told.change.name.clone(),
        what: what.map_or(What::Unspecified, said).into(),
        fields: fields.map(str::to_owned).collect(),
        before: side("before"),
        after: side("after"),
    })))
}

fn said(word: &str) -> What {
    let all = [
        (Happened::Created, What::Created),
        (Happened::Changed, What::Changed),
        (Happened::Removed, What::Removed),
        (Happened::Entered, What::Entered),
        (Happened::Left, What::Left),
    ];
    let found = all.into_iter().find(|(what, _)| what.as_str() == word);
    found.map_or(What::Unspecified, |(_, what)| what)
}
