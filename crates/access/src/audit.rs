use std::{collections::VecDeque, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;
use wright_store::{Operation, Range, SharedStore, StoreError};

use crate::Act;

/// How many records are read at once.
const PAGE: usize = 1000;
/// How far back the first look for the newest records goes, in milliseconds; each further look goes
/// back [`FARTHER`] times as far.
const LOOK_BACK: u64 = 15 * 60 * 1000;
const FARTHER: u64 = 8;

/// What became of what somebody tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was done.
    Done,
    /// It was not his to do, or what he sent was wrong: nothing was done.
    Refused,
    /// It was begun, or should have been, and failed.
    Failed,
}

impl Outcome {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Done => "done",
            Outcome::Refused => "refused",
            Outcome::Failed => "failed",
        }
    }
}

/// A word that is no [`Outcome`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no outcome: done, refused or failed was expected")]
pub struct NoOutcome(String);

impl FromStr for Outcome {
    type Err = NoOutcome;

    fn from_str(word: &str) -> Result<Self, NoOutcome> {
        let all = [Outcome::Done, Outcome::Refused, Outcome::Failed];
        let found = all.into_iter().find(|outcome| outcome.as_str() == word);
        found.ok_or_else(|| NoOutcome(word.to_owned()))
    }
}

/// Somebody did or tried something, or read a secret.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct AuditRecord {
    /// Time-ordered (UUID version 7).
    #[schema(value_type = String, format = "uuid")]
    pub id: Uuid,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Who; empty where nobody could be made out.
    pub actor: String,
    /// By which token or session.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub through: String,
    /// From which address.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub from: String,
    /// What sort of thing he did.
    pub act: Act,
    /// The request: method and path.
    pub request: String,
    /// To what: the kind.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// To what: the name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// What became of it.
    pub outcome: Outcome,
    /// The answer's HTTP status.
    pub status: u16,
    /// Why it was refused or failed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

/// Which records are wanted.
#[derive(Debug, Clone, Default)]
pub struct AuditQuery {
    /// From then on.
    pub since: Option<Timestamp>,
    /// Until then.
    pub until: Option<Timestamp>,
    /// By this one.
    pub actor: Option<String>,
    /// To this kind.
    pub kind: Option<String>,
    /// To this name.
    pub name: Option<String>,
    /// This act.
    pub act: Option<Act>,
    /// With this outcome.
    pub outcome: Option<Outcome>,
    /// At most so many: the newest.
    pub limit: usize,
}

impl AuditQuery {
    fn takes(&self, record: &AuditRecord) -> bool {
        let is = |wanted: &Option<String>, found: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == found)
        };
        is(&self.actor, &record.actor)
            && is(&self.kind, &record.kind)
            && is(&self.name, &record.name)
            && self.act.is_none_or(|act| act == record.act)
            && self.outcome.is_none_or(|outcome| outcome == record.outcome)
            && self.since.is_none_or(|since| record.at >= since)
            && self.until.is_none_or(|until| record.at < until)
    }
}

/// Who did what, in the store under `a/{uuid v7}`.
#[derive(Debug, Clone)]
pub struct Audit {
    store: SharedStore,
}

impl Audit {
    /// That in this store.
    pub fn new(store: SharedStore) -> Self {
        Audit { store }
    }

    /// Writes a record.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn record(&self, record: &AuditRecord) -> Result<(), StoreError> {
        let value =
            serde_json::to_vec(record).map_err(|error| StoreError::Engine(error.to_string()))?;
        let put = Operation::put(format!("a/{}", record.id), value);
        self.store.commit(Vec::new(), vec![put]).await?;
        Ok(())
    }

    /// The newest records that a query takes, the oldest of them first.
    ///
    /// # Errors
    /// Where the store fails, or a record cannot be read.
    pub async fn find(&self, query: &AuditQuery) -> Result<Vec<AuditRecord>, StoreError> {
        let first = query.since.map_or(0, milliseconds);
        let end = query.until.map(milliseconds);
        let mut found: VecDeque<AuditRecord> = VecDeque::new();
        let mut until = end;
        let mut from = end.unwrap_or_else(|| milliseconds(Timestamp::now()));
        let mut back = LOOK_BACK;
        while found.len() < query.limit {
            from = from.saturating_sub(back).max(first);
            let wanted = query.limit - found.len();
            let mut part = self.part(query, from, until, wanted).await?;
            part.append(&mut found);
            found = part;
            if from == first {
                break;
            }
            (until, back) = (Some(from), back.saturating_mul(FARTHER));
        }
        Ok(found.into())
    }

    /// The newest `wanted` between two moments.
    async fn part(
        &self,
        query: &AuditQuery,
        from: u64,
        until: Option<u64>,
        wanted: usize,
    ) -> Result<VecDeque<AuditRecord>, StoreError> {
        let mut found = VecDeque::new();
        let mut range = between(from, until);
        loop {
            let page = self.store.range(range.clone(), PAGE, None).await?;
            for entry in &page.entries {
                let record: AuditRecord = serde_json::from_slice(&entry.value)
                    .map_err(|error| StoreError::Engine(format!("an audit record: {error}")))?;
                if query.takes(&record) {
                    found.push_back(record);
                }
                if found.len() > wanted {
                    found.pop_front();
                }
            }
            match page.entries.last().filter(|_| page.more) {
                Some(last) => range = range.after(&last.key),
                None => return Ok(found),
            }
        }
    }

    /// Forgets what is older.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn forget(&self, before: Timestamp) -> Result<(), StoreError> {
        let old = between(0, Some(milliseconds(before)));
        if self
            .store
            .range(old.clone(), 1, None)
            .await?
            .entries
            .is_empty()
        {
            return Ok(());
        }
        let delete = Operation::DeleteRange(old);
        self.store.commit(Vec::new(), vec![delete]).await?;
        Ok(())
    }
}

fn milliseconds(at: Timestamp) -> u64 {
    u64::try_from(at.as_millisecond()).unwrap_or(0)
}

/// A UUID of version 7 begins with its milliseconds after 1970, in 48 bits (RFC 9562, 5.7).
fn between(from: u64, until: Option<u64>) -> Range {
    let key = |at: u64| format!("a/{:08x}-{:04x}", at >> 16, at & 0xffff);
    let all = Range::prefix("a/");
    Range {
        start: if from == 0 {
            all.start
        } else {
            key(from).into()
        },
        end: until.map_or(all.end, |until| Some(key(until).into())),
    }
}
