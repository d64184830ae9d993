//! PostgreSQL: a small pool, and schemas that several instances may create at once.

use crate::config::ConfigError;
use crate::failure::Failure;
use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime};
use std::time::Duration;
use tokio_postgres::NoTls;

/// Connections each pool may open. Two dozen instances fit PostgreSQL's default of 100.
const CONNECTIONS: usize = 4;
/// How long to wait for a connection.
const WAIT: Duration = Duration::from_millis(1500);

/// A PostgreSQL server. Connections are made when needed and replaced when they broke.
#[derive(Clone)]
pub struct Database {
    pool: Pool,
}

impl Database {
    /// A database by its connection string; connects at the first use.
    ///
    /// # Errors
    /// When the connection string is not one.
    pub fn open(field: &'static str, url: &str) -> Result<Self, ConfigError> {
        let wrong = |detail: String| ConfigError::Value { field, detail };
        let mut config: tokio_postgres::Config = url
            .parse()
            .map_err(|error: tokio_postgres::Error| wrong(crate::failure::chain(&error)))?;
        config
            .connect_timeout(WAIT)
            .options("-c statement_timeout=4000");
        let manager = Manager::from_config(
            config,
            NoTls,
            ManagerConfig {
                recycling_method: RecyclingMethod::Fast,
            },
        );
        let pool = Pool::builder(manager)
            .max_size(CONNECTIONS)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(WAIT))
            .create_timeout(Some(WAIT))
            .build()
            .map_err(|error| wrong(error.to_string()))?;
        Ok(Self { pool })
    }

    /// A connection.
    ///
    /// # Errors
    /// When none is to be had in time.
    pub async fn client(&self) -> Result<Object, Failure> {
        Ok(self.pool.get().await?)
    }

    /// Whether the server answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), Failure> {
        self.client().await?.simple_query("SELECT 1").await?;
        Ok(())
    }

    /// Creates `schema` and runs `statements` (which must be repeatable) in one transaction. Of
    /// several instances that start at once, one does it and the others wait for it.
    ///
    /// # Errors
    /// When PostgreSQL refuses a statement.
    pub async fn prepare(&self, schema: &str, statements: &str) -> Result<(), Failure> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await?;
        transaction
            .execute(
                "SELECT pg_advisory_xact_lock(hashtext($1))",
                &[&format!("schema {schema}")],
            )
            .await?;
        transaction
            .batch_execute(&format!(
                "CREATE SCHEMA IF NOT EXISTS \"{schema}\";\n{statements}"
            ))
            .await?;
        transaction.commit().await?;
        Ok(())
    }
}
