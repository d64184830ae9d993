use std::collections::VecDeque;

use jiff::Timestamp;
use uuid::Uuid;
use wright_store::{Entry, Operation, Range};

use crate::{Event, EventWatch, Inventory, InventoryError, event};

/// How far back the first look for the newest events goes, in milliseconds; each further look goes
/// back [`FARTHER`] times as far.
const LOOK_BACK: u64 = 15 * 60 * 1000;
const FARTHER: u64 = 8;

/// Events.
impl Inventory {
    /// Records an event.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn record(&self, event: &Event) -> Result<(), InventoryError> {
        let operations = vec![event.operation()?];
        self.store.commit(Vec::new(), operations).await?;
        Ok(())
    }

    /// At most `limit` events (0: all of them), oldest first, after the one with an id. Events that are
    /// recorded at once may be committed in another order than that of their ids: to miss none, watch.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn events(
        &self,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<Event>, InventoryError> {
        let range = after.map_or_else(event::range, event::range_after);
        if limit == 0 {
            return read(&self.read_all(range).await?);
        }
        read(&self.store.range(range, limit, None).await?.entries)
    }

    /// The newest events, the oldest of them first.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn newest_events(&self, limit: usize) -> Result<Vec<Event>, InventoryError> {
        let now = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0);
        let mut back = LOOK_BACK;
        loop {
            let since = now.saturating_sub(back);
            let entries = self.read_all(event::range_since(since)).await?;
            if entries.len() >= limit || since == 0 {
                return read(&entries[entries.len().saturating_sub(limit)..]);
            }
            back = back.saturating_mul(FARTHER);
        }
    }

    /// Events from now on.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn watch_events(&self) -> Result<EventWatch, InventoryError> {
        let now = self.store.revision().await?;
        let watch = self.store.watch(event::range(), now).await?;
        Ok(EventWatch::new(watch))
    }

    /// Forgets all but the newest `keep` events.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn trim_events(&self, keep: usize) -> Result<(), InventoryError> {
        // The newest ones and the one before them, which is the last to go.
        let mut newest = VecDeque::new();
        let note = |entry: Entry| {
            newest.push_back(entry.key);
            if newest.len() > keep.saturating_add(1) {
                newest.pop_front();
            }
        };
        self.read(event::range(), note).await?;
        let Some(last) = newest.pop_front().filter(|_| newest.len() == keep) else {
            return Ok(());
        };
        let end = [&last[..], b"\0"].concat().into();
        let start = event::range().start;
        let gone = Range {
            start,
            end: Some(end),
        };
        let operations = vec![Operation::DeleteRange(gone)];
        self.store.commit(Vec::new(), operations).await?;
        Ok(())
    }
}

fn read(entries: &[Entry]) -> Result<Vec<Event>, InventoryError> {
    entries
        .iter()
        .map(|entry| Event::read(&entry.value))
        .collect()
}
