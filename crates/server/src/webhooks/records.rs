//! What the store knows of webhooks beside their resources.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use wright_inventory::{Resource, feed::Position};
use wright_store::{Guard, Operation, Range, SharedStore, StoreError};

use super::{Letter, Secret};

/// The kind of the resources that are webhooks.
pub const KIND: &str = "webhook";
/// Where it is asked that one goes back.
pub const REPLAYS: &str = "webhook-replay/";
/// How often a letter is tried where the webhook does not say.
const ATTEMPTS: u32 = 10;

/// A webhook, ready to be used.
#[derive(Debug, Clone)]
pub struct Hook {
    /// Its resource's name.
    pub name: String,
    /// Where it is posted to.
    pub url: String,
    /// Of which kinds; none: of all.
    pub kinds: Vec<String>,
    /// What of them, CEL; of one kind.
    pub filter: String,
    /// Who may read what is posted; none: everything is.
    pub user: Option<String>,
    /// What it is signed with; without one, it is not.
    pub secret: Option<Secret>,
    /// Certificates that its receiver's is proven by, beside those of the machine: PEM.
    pub ca: String,
    /// Whether it is wanted now.
    pub active: bool,
    /// How often a letter is tried before it is dead.
    pub attempts: u32,
    /// Where it begins.
    pub since: Position,
}

/// A webhook's fields.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    url: String,
    #[serde(default)]
    kinds: Vec<String>,
    #[serde(default)]
    filter: String,
    #[serde(default)]
    user: Option<String>,
    #[serde(default)]
    secret: Option<String>,
    #[serde(default)]
    ca: String,
    #[serde(default = "yes")]
    active: bool,
    #[serde(default)]
    attempts: Option<u32>,
}

fn yes() -> bool {
    true
}

impl Hook {
    /// Of a resource whose secrets are in clear.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(resource: Resource) -> Result<Self, String> {
        let (name, since) = (resource.name.clone(), Position::after(resource.created));
        let body: Body = resource.body_as().map_err(|error| error.to_string())?;
        let secret = body.secret.as_deref().filter(|secret| !secret.is_empty());
        let secret = secret.map(Secret::read).transpose();
        Ok(Hook {
            name,
            url: body.url,
            kinds: body.kinds,
            filter: body.filter,
            user: body.user,
            secret: secret.map_err(|error| error.to_string())?,
            ca: body.ca,
            active: body.active,
            attempts: body.attempts.unwrap_or(ATTEMPTS).max(1),
            since,
        })
    }
}

/// How far a webhook has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Post {
    /// Everything up to here was delivered or is dead.
    pub position: Position,
    /// What its receiver does not take now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing: Option<Failing>,
}

/// A letter that did not arrive yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failing {
    /// Which.
    pub id: String,
    /// How often it was tried.
    pub attempts: u32,
    /// Why the last attempt failed.
    pub error: String,
    /// When it was first tried.
    pub since: Timestamp,
    /// When it is tried again.
    pub next: Timestamp,
}

/// A letter that was given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The letter.
    #[serde(flatten)]
    pub letter: Letter,
    /// How often it was tried.
    pub attempts: u32,
    /// Why the last attempt failed.
    pub error: String,
    /// When that was.
    pub at: Timestamp,
}

/// That a webhook shall go back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replayed {
    /// To here.
    pub from: Position,
}

/// Reads and writes it.
#[derive(Debug, Clone)]
pub struct Records {
    store: SharedStore,
}

fn post_key(name: &str) -> String {
    format!("webhook/{name}/post")
}

fn dead_prefix(name: &str) -> String {
    format!("webhook/{name}/dead/")
}

fn dead_key(name: &str, id: &str) -> String {
    format!("{}{id}", dead_prefix(name))
}

/// As JSON: of values that can always be written so.
fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

impl Records {
    /// In this store.
    pub fn new(store: SharedStore) -> Self {
        Records { store }
    }

    /// How far a webhook has come; `None` before its first letter.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn post(&self, name: &str) -> Result<Option<Post>, StoreError> {
        let entry = self.store.get(post_key(name).as_bytes()).await?;
        Ok(entry.and_then(|entry| serde_json::from_slice(&entry.value).ok()))
    }

    /// Notes how far a webhook has come, if this server still leads.
    ///
    /// # Errors
    /// Where it does not, or the store fails.
    pub async fn note(&self, leads: &Guard, name: &str, post: &Post) -> Result<(), StoreError> {
        let put = Operation::put(post_key(name), json(post));
        self.store.commit(vec![leads.clone()], vec![put]).await?;
        Ok(())
    }

    /// Gives a letter up and goes on after it.
    ///
    /// # Errors
    /// As [`Records::note`].
    pub async fn bury(
        &self,
        leads: &Guard,
        name: &str,
        dead: &DeadLetter,
        post: &Post,
    ) -> Result<(), StoreError> {
        let puts = vec![
            Operation::put(dead_key(name, &dead.letter.id), json(dead)),
            Operation::put(post_key(name), json(post)),
        ];
        self.store.commit(vec![leads.clone()], puts).await?;
        Ok(())
    }

    /// The letters of a webhook that were given up, in the order of their keys.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn dead(&self, name: &str, limit: usize) -> Result<Vec<DeadLetter>, StoreError> {
        let page = self
            .store
            .range(Range::prefix(dead_prefix(name)), limit, None);
        let entries = page.await?.entries;
        let read = entries
            .iter()
            .map(|entry| serde_json::from_slice(&entry.value));
        Ok(read.filter_map(Result::ok).collect())
    }

    /// One of them.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn dead_letter(
        &self,
        name: &str,
        id: &str,
    ) -> Result<Option<DeadLetter>, StoreError> {
        let entry = self.store.get(dead_key(name, id).as_bytes()).await?;
        Ok(entry.and_then(|entry| serde_json::from_slice(&entry.value).ok()))
    }

    /// A dead letter has arrived after all.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn raise(&self, name: &str, id: &str) -> Result<(), StoreError> {
        let gone = vec![Operation::Delete(dead_key(name, id).into())];
        self.store.commit(Vec::new(), gone).await?;
        Ok(())
    }

    /// Asks the leading server to have a webhook go back.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn ask_replay(&self, name: &str, from: Position) -> Result<(), StoreError> {
        let put = Operation::put(format!("{REPLAYS}{name}"), json(&Replayed { from }));
        self.store.commit(Vec::new(), vec![put]).await?;
        Ok(())
    }

    /// Has a webhook go back as it was asked to, if it was.
    ///
    /// # Errors
    /// Where this server does not lead, or the store fails.
    pub async fn replay(&self, leads: &Guard, name: &str) -> Result<bool, StoreError> {
        let key = format!("{REPLAYS}{name}");
        let Some(entry) = self.store.get(key.as_bytes()).await? else {
            return Ok(false);
        };
        let mut operations = vec![Operation::Delete(key.clone().into())];
        if let Ok(Replayed { from }) = serde_json::from_slice(&entry.value) {
            let post = Post {
                position: from,
                failing: None,
            };
            operations.push(Operation::put(post_key(name), json(&post)));
        }
        let unchanged = Guard::Modified(key.into(), entry.modified);
        let guards = vec![leads.clone(), unchanged];
        self.store.commit(guards, operations).await?;
        Ok(true)
    }

    /// Forgets all of a webhook that is gone.
    ///
    /// # Errors
    /// Where this server does not lead, or the store fails.
    pub async fn forget(&self, leads: &Guard, name: &str) -> Result<(), StoreError> {
        let all = Operation::DeleteRange(Range::prefix(format!("webhook/{name}/")));
        self.store.commit(vec![leads.clone()], vec![all]).await?;
        Ok(())
    }
}
