use std::collections::VecDeque;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;
use wright_store::{Operation, Range, StoreError, Watch};

use crate::{InventoryError, error::shape};

/// Something that happened: who did what to what, when and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Event {
    /// Time-ordered (UUID version 7).
    #[schema(value_type = String, format = "uuid")]
    pub id: Uuid,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// What sort of thing happened, such as `host-dead`.
    pub kind: String,
    /// To what, such as `host/h3`.
    pub subject: String,
    /// One line.
    pub message: String,
    /// What programs may want to know of it.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub data: Value,
}

impl Event {
    /// Now.
    pub fn new(actor: &str, kind: &str, subject: &str, message: &str) -> Self {
        Event {
            id: Uuid::now_v7(),
            at: Timestamp::now(),
            actor: actor.to_owned(),
            kind: kind.to_owned(),
            subject: subject.to_owned(),
            message: message.to_owned(),
            data: Value::Null,
        }
    }

    /// With what programs may want to know.
    #[must_use]
    pub fn with(self, data: Value) -> Self {
        Event { data, ..self }
    }

    /// The store operation that records it.
    ///
    /// # Errors
    /// Where it cannot be written as JSON.
    pub fn operation(&self) -> Result<Operation, InventoryError> {
        let value = serde_json::to_vec(self).map_err(shape(format!("event {}", self.id)))?;
        Ok(Operation::put(key(self.id), value))
    }

    pub(crate) fn read(value: &[u8]) -> Result<Self, InventoryError> {
        serde_json::from_slice(value).map_err(shape("an event"))
    }
}

fn key(id: Uuid) -> String {
    format!("e/{id}")
}

pub(crate) fn range() -> Range {
    Range::prefix("e/")
}

/// The events after this one.
pub(crate) fn range_after(id: Uuid) -> Range {
    Range {
        start: (key(id) + "\0").into(),
        ..range()
    }
}

/// The events since a moment, in milliseconds after 1970: a UUID of version 7 begins with them, in 48
/// bits (RFC 9562, 5.7).
pub(crate) fn range_since(milliseconds: u64) -> Range {
    Range {
        start: format!("e/{:08x}-{:04x}", milliseconds >> 16, milliseconds & 0xffff).into(),
        ..range()
    }
}

/// Events from a moment on.
#[derive(Debug)]
pub struct EventWatch {
    watch: Watch,
    waiting: VecDeque<Event>,
}

impl EventWatch {
    pub(crate) fn new(watch: Watch) -> Self {
        EventWatch {
            watch,
            waiting: VecDeque::new(),
        }
    }

    /// The next event; `None` when the store was closed.
    ///
    /// # Errors
    /// Where the watch fell behind what is kept.
    pub async fn next(&mut self) -> Option<Result<Event, InventoryError>> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some(Ok(event));
            }
            let changes: Result<_, StoreError> = self.watch.next().await?;
            match changes {
                Ok(changes) => {
                    for entry in changes.iter().filter_map(|change| change.after.as_ref()) {
                        match Event::read(&entry.value) {
                            Ok(event) => self.waiting.push_back(event),
                            Err(error) => return Some(Err(error)),
                        }
                    }
                }
                Err(error) => return Some(Err(error.into())),
            }
        }
    }
}
