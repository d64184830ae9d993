//! Redis, through one connection that comes back by itself.

use crate::config::{self, ConfigError};
use crate::failure::Failure;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use std::time::Duration;

/// A Redis server.
#[derive(Clone)]
pub struct Kv {
    manager: ConnectionManager,
}

impl Kv {
    /// A server by its section; connects at the first use.
    ///
    /// # Errors
    /// When the URL is not one.
    pub fn open(section: &config::Redis) -> Result<Self, ConfigError> {
        let wrong = |error: redis::RedisError| ConfigError::Value {
            field: "redis.url",
            detail: error.to_string(),
        };
        let settings = ConnectionManagerConfig::new()
            .set_number_of_retries(3)
            .set_max_delay(Duration::from_millis(200))
            .set_connection_timeout(Some(Duration::from_millis(800)))
            .set_response_timeout(Some(Duration::from_millis(800)));
        let client = redis::Client::open(section.url.as_str()).map_err(wrong)?;
        let manager = ConnectionManager::new_lazy_with_config(client, settings).map_err(wrong)?;
        Ok(Self { manager })
    }

    /// The connection; clones share it.
    #[must_use]
    pub fn connection(&self) -> ConnectionManager {
        self.manager.clone()
    }

    /// Whether the server answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), Failure> {
        let mut connection = self.connection();
        let () = redis::cmd("PING").query_async(&mut connection).await?;
        Ok(())
    }

    /// Runs a command once more if the connection broke under it. For commands that may run twice.
    ///
    /// # Errors
    /// When Redis refuses the command, or is away.
    pub async fn repeat<T: redis::FromRedisValue>(
        &self,
        command: &redis::Cmd,
    ) -> Result<T, Failure> {
        match command.query_async(&mut self.connection()).await {
            Err(error) if error.is_io_error() => {
                Ok(command.query_async(&mut self.connection()).await?)
            }
            answer => Ok(answer?),
        }
    }
}
