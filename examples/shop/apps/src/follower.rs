//! Handles the events of another app: each once, in order, none lost.
//!
//! An announcement over NATS reaches one instance of the group, which then reads on from the position its
//! app has reached. The position is kept in the app's own schema and moves in the transaction that
//! handles the event, so it does not matter whether an announcement was lost, came twice, or the instance
//! died in between.

use crate::bus::Bus;
use crate::database::Database;
use crate::failure::Failure;
use crate::nouns::Event;
use crate::services::Services;
use futures::StreamExt;
use futures::stream::select_all;
use std::time::Duration;
use tokio_postgres::Transaction;

/// How often to look without an announcement.
const LOOK: Duration = Duration::from_secs(3);
/// How many events are handled in one transaction.
const BATCH: usize = 50;

/// What an app does with an event.
pub trait Handle: Send + Sync + 'static {
    /// Handles one event within the transaction that remembers it as handled.
    fn handle(
        &self,
        transaction: &Transaction<'_>,
        event: &Event,
    ) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// Follows the events of one source.
pub struct Follower<H> {
    /// The app's database.
    pub database: Database,
    /// Where events are announced.
    pub bus: Bus,
    /// Where the source is found.
    pub services: Services,
    /// The app's schema, also the name of its group.
    pub schema: &'static str,
    /// The service whose events these are.
    pub source: &'static str,
    /// What is done with them.
    pub handler: H,
}

/// The statements that make the table of positions in `schema`.
#[must_use]
pub fn statements(schema: &str) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS \"{schema}\".followed (
            source text PRIMARY KEY,
            position bigint NOT NULL
         );"
    )
}

impl<H: Handle> Follower<H> {
    /// Follows for ever. `subjects` are those whose announcement is a reason to look.
    pub async fn run(self, subjects: &'static [&'static str]) {
        let mut announcements = Vec::new();
        for subject in subjects {
            match self.bus.subscribe(subject, Some(self.schema)).await {
                Ok(subscriber) => announcements.push(subscriber),
                Err(error) => tracing::error!(%error, subject, "not subscribed"),
            }
        }
        let mut announcements = select_all(announcements);
        loop {
            match self.catch_up().await {
                Ok(count) if count == BATCH => continue,
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, source = self.source, "events wait"),
            }
            let _ = tokio::time::timeout(LOOK, announcements.next()).await;
        }
    }

    async fn catch_up(&self) -> Result<usize, Failure> {
        let schema = self.schema;
        let mut client = self.database.client().await?;
        let transaction = client.transaction().await?;
        let begin =
            format!("INSERT INTO \"{schema}\".followed VALUES ($1, 0) ON CONFLICT DO NOTHING");
        transaction.execute(&begin, &[&self.source]).await?;
        let select =
            format!("SELECT position FROM \"{schema}\".followed WHERE source = $1 FOR UPDATE");
        let position: i64 = transaction
            .query_one(&select, &[&self.source])
            .await?
            .get(0);
        let path = format!("/events?after={position}&limit={BATCH}");
        let events: Vec<Event> = self.services.get(self.source, path).await?;
        let Some(last) = events.last() else {
            return Ok(0);
        };
        for event in &events {
            self.handler.handle(&transaction, event).await?;
        }
        let update = format!("UPDATE \"{schema}\".followed SET position = $2 WHERE source = $1");
        transaction
            .execute(&update, &[&self.source, &last.position])
            .await?;
        transaction.commit().await?;
        tracing::info!(
            source = self.source,
            position = last.position,
            count = events.len(),
            "events handled"
        );
        Ok(events.len())
    }
}
