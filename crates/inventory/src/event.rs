use std::collections::VecDeque;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wright_store::{Operation, Range, StoreError, Watch};

use crate::{InventoryError, error::shape};

/// Something that happened: who did what to what, when and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Time-ordered (UUID version 7).
    pub id: Uuid,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// What sort of thing happened, such as `host-dead`.
    pub kind: String,
    /// To what, such as `host/h3`.
    pub subject: String,
    /// One line.
    pub message: String,
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
        }
    }

    /// The store operation that records it.
    ///
    /// # Errors
    /// Where it cannot be written as JSON.
    pub fn operation(&self) -> Result<Operation, InventoryError> {
        let value = serde_json::to_vec(self).map_err(shape(format!("event {}", self.id)))?;
        Ok(Operation::put(format!("e/{}", self.id), value))
    }

    pub(crate) fn read(value: &[u8]) -> Result<Self, InventoryError> {
        serde_json::from_slice(value).map_err(shape("an event"))
    }
}

pub(crate) fn range() -> Range {
    Range::prefix("e/")
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
