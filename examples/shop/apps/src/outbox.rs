//! Events that are not lost: written in the transaction they tell of, announced afterwards.
//!
//! An app with events keeps them in a table of its schema. The relay gives each its position (a number
//! without gaps, in the order of commit) and announces it over NATS; while NATS is away they wait.
//! `GET /events?after=N` reads them again, so that whoever missed the announcement misses nothing
//! (see [`crate::follower`]).

use crate::bus::Bus;
use crate::database::Database;
use crate::failure::Failure;
use crate::nouns::Event;
use axum::extract::{Query, State};
use axum::routing::get;
use axum::{Json, Router};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio_postgres::Transaction;

/// How often the relay looks by itself, for events whose writer died before it could call.
const LOOK: Duration = Duration::from_secs(2);
/// How many events are announced or read at once.
const BATCH: i64 = 200;

/// The events of one app.
#[derive(Clone)]
pub struct Outbox {
    database: Database,
    bus: Bus,
    schema: &'static str,
    written: Arc<Notify>,
}

#[derive(Deserialize)]
struct After {
    #[serde(default)]
    after: i64,
    #[serde(default)]
    limit: Option<i64>,
}

impl Outbox {
    /// The outbox in `schema`.
    #[must_use]
    pub fn new(database: Database, bus: Bus, schema: &'static str) -> Self {
        Self {
            database,
            bus,
            schema,
            written: Arc::default(),
        }
    }

    /// The statements that make its table.
    #[must_use]
    pub fn statements(&self) -> String {
        format!(
            "CREATE TABLE IF NOT EXISTS \"{0}\".outbox (
                id bigserial PRIMARY KEY,
                position bigint UNIQUE,
                subject text NOT NULL,
                body text NOT NULL,
                written timestamptz NOT NULL DEFAULT now(),
                announced boolean NOT NULL DEFAULT false
             );
             CREATE INDEX IF NOT EXISTS outbox_waiting ON \"{0}\".outbox (id) WHERE NOT announced;",
            self.schema
        )
    }

    /// Writes an event. Call [`Outbox::wake`] after the commit.
    ///
    /// # Errors
    /// When PostgreSQL refuses.
    pub async fn write(
        &self,
        transaction: &Transaction<'_>,
        subject: &str,
        body: &Value,
    ) -> Result<(), Failure> {
        let statement = format!(
            "INSERT INTO \"{}\".outbox (subject, body) VALUES ($1, $2)",
            self.schema
        );
        transaction
            .execute(&statement, &[&subject, &body.to_string()])
            .await?;
        Ok(())
    }

    /// Tells the relay that there is something to do.
    pub fn wake(&self) {
        self.written.notify_one();
    }

    /// Announces events as they are written; never ends.
    pub async fn relay(self) {
        loop {
            match self.announce().await {
                Ok(count) if count == usize::try_from(BATCH).unwrap_or(usize::MAX) => continue,
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "events wait in the outbox"),
            }
            let _ = tokio::time::timeout(LOOK, self.written.notified()).await;
        }
    }

    /// One instance at a time does this; the lock also makes the order of positions that of commits.
    async fn announce(&self) -> Result<usize, Failure> {
        let mut client = self.database.client().await?;
        let schema = self.schema;
        let lock = format!("outbox {schema}");
        let transaction = client.transaction().await?;
        transaction
            .execute("SELECT pg_advisory_xact_lock(hashtext($1))", &[&lock])
            .await?;
        let number = format!(
            "WITH last AS (SELECT coalesce(max(position), 0) AS position FROM \"{schema}\".outbox),
                  fresh AS (SELECT id, row_number() OVER (ORDER BY id) AS nth
                            FROM \"{schema}\".outbox WHERE position IS NULL AND NOT announced)
             UPDATE \"{schema}\".outbox o SET position = last.position + fresh.nth
             FROM fresh, last WHERE o.id = fresh.id"
        );
        transaction.execute(&number, &[]).await?;
        // Committed before it is announced: whoever hears of a position can read it.
        transaction.commit().await?;

        let transaction = client.transaction().await?;
        transaction
            .execute("SELECT pg_advisory_xact_lock(hashtext($1))", &[&lock])
            .await?;
        let select = format!(
            "SELECT position, subject, body FROM \"{schema}\".outbox
             WHERE NOT announced AND position IS NOT NULL ORDER BY position LIMIT {BATCH}"
        );
        let rows = transaction.query(&select, &[]).await?;
        let Some(last) = rows.last().map(|row| row.get::<_, i64>(0)) else {
            return Ok(0);
        };
        let mut events = Vec::with_capacity(rows.len());
        for row in &rows {
            let event = Event {
                position: row.get(0),
                subject: row.get(1),
                body: serde_json::from_str(row.get(2))?,
            };
            events.push((
                event.subject.clone(),
                Bytes::from(serde_json::to_vec(&event)?),
            ));
        }
        self.bus.publish(events).await?;
        let mark = format!(
            "UPDATE \"{schema}\".outbox SET announced = true WHERE position <= $1 AND NOT announced"
        );
        transaction.execute(&mark, &[&last]).await?;
        transaction.commit().await?;
        Ok(rows.len())
    }

    /// `GET /events?after=N`: the events after a position, oldest first.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/events", get(events))
            .with_state(self.clone())
    }
}

async fn events(
    State(outbox): State<Outbox>,
    Query(query): Query<After>,
) -> Result<Json<Vec<Event>>, Failure> {
    let select = format!(
        "SELECT position, subject, body FROM \"{}\".outbox WHERE position > $1 ORDER BY position LIMIT $2",
        outbox.schema
    );
    let limit = query.limit.unwrap_or(BATCH).clamp(1, BATCH);
    let rows = outbox
        .database
        .client()
        .await?
        .query(&select, &[&query.after, &limit])
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Event {
                position: row.get(0),
                subject: row.get(1),
                body: serde_json::from_str(row.get(2))?,
            })
        })
        .collect::<Result<_, Failure>>()
        .map(Json)
}
