//! The way of one webhook's letters.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::time::{self, Instant};
use wright_inventory::feed::{FeedError, Hub, News, Position, Subscription, Told};
use wright_store::{Guard, StoreError};

use super::{Courier, DeadLetter, Failing, Hook, Letter, Pace, Post, Records};
use crate::{http::gates::Eyes, rights::Rights};

/// How far a webhook that nothing concerns may come without that being noted, commits: so far less
/// than is kept that it can go on from there.
const UNNOTED: u64 = 1000;

/// Why deliveries of a webhook stop.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stopped {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Feed(#[from] FeedError),
}

/// Delivers one webhook's letters.
pub(super) struct Delivery {
    pub hub: Hub,
    pub rights: Arc<Rights>,
    pub records: Records,
    pub leads: Guard,
    pub pace: Pace,
    pub hook: Hook,
    pub courier: Courier,
    /// What it watches, from wherever it has come to.
    pub wanted: Subscription,
}

impl Delivery {
    /// Delivers until the store or the feed fails, or this server leads no longer.
    pub async fn run(&self) -> Result<(), Stopped> {
        let known = self.records.post(&self.hook.name).await?;
        let mut position = known.map_or_else(|| self.hook.since.clone(), |post| post.position);
        loop {
            match self.follow(&mut position).await {
                Err(Stopped::Feed(error)) if error.is_gap() => {
                    let head = Position::after(self.hub.head());
                    let gap = Letter::gap(&self.hook.name, &position, &error);
                    self.settle(gap, &position, &head).await?;
                    position = head;
                    self.note(&position).await?;
                }
                other => return other,
            }
        }
    }

    /// Delivers what the feed tells from a position on.
    async fn follow(&self, position: &mut Position) -> Result<(), Stopped> {
        let mut watcher = self
            .hub
            .watch(Subscription {
                from: Some(position.clone()),
                ..self.wanted.clone()
            })
            .await?;
        let mut noted = position.clone();
        let mut due = Instant::now();
        loop {
            let news = tokio::select! {
                // A feed that always has something must not keep it from being noted.
                biased;
                () = time::sleep_until(due), if noted != *position => None,
                news = watcher.next() => Some(news?),
            };
            match news {
                Some(News::Change(told)) => {
                    let after = told.change.position.clone();
                    let buried = match self.letter(&told) {
                        Some(letter) => self.settle(letter, position, &after).await?,
                        None => false,
                    };
                    if noted == *position {
                        due = Instant::now() + self.pace.unnoted;
                    }
                    *position = after;
                    if buried {
                        noted = position.clone();
                    }
                }
                Some(News::Bookmark(reached)) => {
                    if reached.revision() > noted.revision() + UNNOTED {
                        *position = reached;
                    }
                }
                None => {
                    self.note(position).await?;
                    noted = position.clone();
                }
            }
        }
    }

    /// What is posted of a change; nothing where its reader sees nothing of it.
    fn letter(&self, told: &Told) -> Option<Letter> {
        let name = &self.hook.name;
        let Some(user) = &self.hook.user else {
            return Some(Letter::of(name, told));
        };
        let change = serde_json::from_slice(&told.json()).ok()?;
        let seen = Eyes::of_user(&self.rights, user).change(change)?;
        Some(Letter::seen(name, told, &seen))
    }

    async fn note(&self, position: &Position) -> Result<(), StoreError> {
        let post = Post {
            position: position.clone(),
            failing: None,
        };
        self.records.note(&self.leads, &self.hook.name, &post).await
    }

    /// Posts a letter until it arrives or is given up: whether it was. Its webhook stands at
    /// `before` meanwhile and at `after` then.
    async fn settle(
        &self,
        letter: Letter,
        before: &Position,
        after: &Position,
    ) -> Result<bool, StoreError> {
        let since = Timestamp::now();
        let mut attempts = 0;
        loop {
            attempts += 1;
            let Err(error) = self.courier.post(&letter).await else {
                if attempts > 1 {
                    self.note(after).await?;
                }
                return Ok(false);
            };
            let (name, error) = (&self.hook.name, error.to_string());
            tracing::info!(
                webhook = name,
                id = letter.id,
                attempts,
                error,
                "not delivered"
            );
            if attempts >= self.hook.attempts {
                let dead = DeadLetter {
                    letter,
                    attempts,
                    error,
                    at: Timestamp::now(),
                };
                let post = Post {
                    position: after.clone(),
                    failing: None,
                };
                self.records.bury(&self.leads, name, &dead, &post).await?;
                return Ok(true);
            }
            let wait = self.pace.again.after(attempts);
            let failing = Failing {
                id: letter.id.clone(),
                attempts,
                error,
                since,
                next: Timestamp::now() + wait,
            };
            let post = Post {
                position: before.clone(),
                failing: Some(failing),
            };
            self.records.note(&self.leads, name, &post).await?;
            time::sleep(wait).await;
        }
    }
}
