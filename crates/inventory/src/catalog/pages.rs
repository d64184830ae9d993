//! What is left of answers that are read page by page.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use uuid::Uuid;
use wright_query::{Revision, RowNumber, Sight};

/// How long the rest of an answer is kept.
const KEPT: Duration = Duration::from_secs(300);
/// How many rests are kept, and how many rows they have together.
const MOST: usize = 64;
const MOST_ROWS: usize = 4 << 20;

/// The rest of an answer.
#[derive(Debug, Clone)]
pub(super) struct Rest {
    pub kind: String,
    /// What they were found in.
    pub sight: Option<Arc<Sight>>,
    pub rows: Vec<RowNumber>,
    pub select: Vec<String>,
    pub revision: Revision,
    pub total: u64,
    pub limit: usize,
    /// Which load of the index the rows are of.
    pub load: u64,
}

#[derive(Debug, Default)]
pub(super) struct Pages {
    kept: Vec<(String, Instant, Rest)>,
}

impl Pages {
    /// Keeps a rest under a new cursor. The oldest go where there is no room.
    pub fn keep(&mut self, rest: Rest) -> String {
        self.kept.retain(|(_, since, _)| since.elapsed() < KEPT);
        let rows = |kept: &[(String, Instant, Rest)]| {
            kept.iter().map(|(.., rest)| rest.rows.len()).sum::<usize>()
        };
        while !self.kept.is_empty()
            && (self.kept.len() >= MOST || rows(&self.kept) + rest.rows.len() > MOST_ROWS)
        {
            self.kept.remove(0);
        }
        let cursor = Uuid::now_v7().simple().to_string();
        self.kept.push((cursor.clone(), Instant::now(), rest));
        cursor
    }

    /// The rest under a cursor. It stays: who did not get the answer asks again.
    pub fn get(&self, cursor: &str) -> Option<&Rest> {
        let found = self.kept.iter().find(|(own, ..)| own == cursor);
        found.map(|(.., rest)| rest)
    }

    /// The oldest revision of all rests.
    pub fn oldest(&self) -> Option<Revision> {
        let live = self
            .kept
            .iter()
            .filter(|(_, since, _)| since.elapsed() < KEPT);
        live.map(|(.., rest)| rest.revision).min()
    }
}
