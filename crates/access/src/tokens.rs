use std::collections::BTreeSet;

use jiff::Timestamp;
use rand::RngExt as _;
use serde::{Deserialize, Serialize};
use wright_model::Digest;
use wright_store::{Entry, Guard, Operation, Range, SharedStore, StoreError};

use crate::{ADMINISTRATOR, Identity, Scope};

/// Hexadecimal digits of a token's digest by which people name it.
const ID_DIGITS: usize = 16;
/// The most names in each part of a token's scope.
const MAX_SCOPE: usize = 100;
/// A token's use is written down again after this long, seconds.
const USE_NOTED: i64 = 300;

/// What a token is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TokenSort {
    /// A program's.
    #[default]
    Program,
    /// A person's, from when he logged in.
    Session,
}

/// What is kept of a token, under its BLAKE3 digest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct TokenRecord {
    /// The first digits of its digest: by this people name it.
    pub id: String,
    /// What it is called.
    pub name: String,
    /// What it is for.
    #[serde(default)]
    pub sort: TokenSort,
    /// Whose rights it has; none: only those of its roles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The user's groups when it was made, as the identity provider told them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub groups: BTreeSet<String>,
    /// Its roles; of a user's token: only these of his.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub roles: BTreeSet<String>,
    /// Only these kinds.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub kinds: BTreeSet<String>,
    /// Only what these teams own.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub teams: BTreeSet<String>,
    /// When it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub created_at: Option<Timestamp>,
    /// By whom.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub created_by: String,
    /// From when on it is worth nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// When it was last used, within five minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used: Option<Timestamp>,
}

/// A token that is to be made.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct NewToken {
    /// What it is called.
    pub name: String,
    /// Whose rights it has; none: only those of its roles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Its roles; of a user's token: only these of his.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub roles: BTreeSet<String>,
    /// Only these kinds; none: all.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub kinds: BTreeSet<String>,
    /// Only what these teams own; none: everything.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub teams: BTreeSet<String>,
    /// From when on it is worth nothing; none: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// A token that was just made: the only time that it is seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Issued {
    /// The token.
    pub token: String,
    /// What is kept of it.
    #[serde(flatten)]
    pub record: TokenRecord,
}

/// Why a token was not made or found.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is kept of it cannot be read.
    #[error("the record of token {id} cannot be read: {source}")]
    Unreadable {
        /// Which.
        id: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The name cannot be one.
    #[error("{0:?} cannot be a token's name: 1 to 63 of letters, digits and -._@ were expected")]
    BadName(String),
    /// Too many roles, kinds or teams.
    #[error("a token has at most {MAX_SCOPE} roles, kinds and teams each")]
    TooWide,
    /// It would be worth nothing from the beginning.
    #[error("the token would have expired already: {0}")]
    Expired(Timestamp),
}

/// The tokens of an installation.
#[derive(Debug, Clone)]
pub struct Tokens {
    store: SharedStore,
}

fn key(digest: &Digest) -> String {
    format!("token/{digest}")
}

impl Tokens {
    /// Those in this store.
    pub fn new(store: SharedStore) -> Self {
        Tokens { store }
    }

    /// Makes a token of 256 random bits.
    ///
    /// # Errors
    /// Where what is wanted cannot be, or the store fails.
    pub async fn issue(
        &self,
        new: NewToken,
        sort: TokenSort,
        groups: BTreeSet<String>,
        by: &str,
    ) -> Result<Issued, TokenError> {
        let now = Timestamp::now();
        check(&new, now)?;
        let bits: [u8; 32] = rand::rng().random();
        let token = format!("wright_{}", Digest::from_bytes(bits));
        let digest = Digest::of(token.as_bytes());
        let record = TokenRecord {
            id: id_of(&digest.to_string()),
            name: new.name,
            sort,
            user: new.user,
            groups,
            roles: new.roles,
            kinds: new.kinds,
            teams: new.teams,
            created_at: Some(now),
            created_by: by.to_owned(),
            expires_at: new.expires_at,
            last_used: None,
        };
        let put = Operation::put(key(&digest), written(&record)?);
        self.store.commit(Vec::new(), vec![put]).await?;
        Ok(Issued { token, record })
    }

    /// What is kept of a token, if it is worth something now.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn find(
        &self,
        token: &str,
        now: Timestamp,
    ) -> Result<Option<TokenRecord>, TokenError> {
        let digest = Digest::of(token.as_bytes());
        let Some(entry) = self.store.get(key(&digest).as_bytes()).await? else {
            return Ok(None);
        };
        let record = read(&entry)?;
        Ok(Some(record).filter(|record| record.expires_at.is_none_or(|end| now < end)))
    }

    /// Writes down that a token was used, unless that was done a short while ago.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn note_use(&self, token: &str, now: Timestamp) -> Result<(), TokenError> {
        let key = key(&Digest::of(token.as_bytes()));
        let Some(entry) = self.store.get(key.as_bytes()).await? else {
            return Ok(());
        };
        let mut record = read(&entry)?;
        if !due(&record, now) {
            return Ok(());
        }
        record.last_used = Some(now);
        // Whoever withdraws it meanwhile goes first.
        let unchanged = Guard::Modified(entry.key, entry.modified);
        let put = Operation::put(key, written(&record)?);
        match self.store.commit(vec![unchanged], vec![put]).await {
            Err(error) if !error.is_refused() => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Whether the use of a token ought to be written down.
    pub fn use_is_due(record: &TokenRecord, now: Timestamp) -> bool {
        due(record, now)
    }

    /// All of them, by name.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn list(&self) -> Result<Vec<TokenRecord>, TokenError> {
        let page = self.store.range(Range::prefix("token/"), 0, None).await?;
        let records: Result<Vec<_>, _> = page.entries.iter().map(read).collect();
        let mut records = records?;
        records.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
        Ok(records)
    }

    /// Forgets those that have expired.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn forget_expired(&self, now: Timestamp) -> Result<(), TokenError> {
        self.revoke(|token| token.expires_at.is_some_and(|end| end <= now))
            .await?;
        Ok(())
    }

    /// Withdraws those that `which` says; they are worth nothing from now on.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn revoke(
        &self,
        which: impl Fn(&TokenRecord) -> bool,
    ) -> Result<Vec<TokenRecord>, TokenError> {
        let page = self.store.range(Range::prefix("token/"), 0, None).await?;
        let mut gone = Vec::new();
        for entry in page.entries {
            let record = read(&entry)?;
            if which(&record) {
                let delete = Operation::Delete(entry.key);
                self.store.commit(Vec::new(), vec![delete]).await?;
                gone.push(record);
            }
        }
        Ok(gone)
    }
}

impl TokenRecord {
    /// Whose request it is that comes with this token.
    pub fn identity(&self) -> Identity {
        let scope = Scope {
            kinds: self.kinds.clone(),
            teams: self.teams.clone(),
            roles: BTreeSet::new(),
        };
        match &self.user {
            Some(user) => Identity {
                name: user.clone(),
                user: Some(user.clone()),
                groups: self.groups.clone(),
                roles: Vec::new(),
                scope: Scope {
                    roles: self.roles.clone(),
                    ..scope
                },
            },
            None => Identity {
                name: self.name.clone(),
                roles: self.roles.iter().cloned().collect(),
                scope,
                ..Identity::default()
            },
        }
    }

    /// By what a request came, for the audit.
    pub fn through(&self) -> String {
        match self.sort {
            TokenSort::Program => format!("token {} ({})", self.name, self.id),
            TokenSort::Session => format!("session {}", self.id),
        }
    }
}

fn check(new: &NewToken, now: Timestamp) -> Result<(), TokenError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._@".contains(c);
    if !(1..=63).contains(&new.name.len()) || !new.name.chars().all(allowed) {
        return Err(TokenError::BadName(new.name.clone()));
    }
    let parts = [&new.roles, &new.kinds, &new.teams];
    if parts.iter().any(|part| part.len() > MAX_SCOPE) {
        return Err(TokenError::TooWide);
    }
    match new.expires_at.filter(|end| *end <= now) {
        Some(end) => Err(TokenError::Expired(end)),
        None => Ok(()),
    }
}

fn due(record: &TokenRecord, now: Timestamp) -> bool {
    let since = |used: Timestamp| now.duration_since(used).as_secs();
    record.last_used.is_none_or(|used| since(used) >= USE_NOTED)
}

fn id_of(digest: &str) -> String {
    digest.chars().take(ID_DIGITS).collect()
}

fn written(record: &TokenRecord) -> Result<Vec<u8>, TokenError> {
    serde_json::to_vec(record).map_err(|source| TokenError::Unreadable {
        id: record.id.clone(),
        source,
    })
}

fn read(entry: &Entry) -> Result<TokenRecord, TokenError> {
    /// What was kept before tokens had scopes: whose it was, with every right.
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Kept {
        Record(Box<TokenRecord>),
        Name(String),
    }
    let key = String::from_utf8_lossy(&entry.key);
    let id = id_of(key.trim_start_matches("token/"));
    match serde_json::from_slice(&entry.value) {
        Ok(Kept::Record(record)) => Ok(*record),
        Ok(Kept::Name(name)) => Ok(TokenRecord {
            id,
            name,
            sort: TokenSort::Program,
            user: None,
            groups: BTreeSet::new(),
            roles: BTreeSet::from([ADMINISTRATOR.to_owned()]),
            kinds: BTreeSet::new(),
            teams: BTreeSet::new(),
            created_at: None,
            created_by: String::new(),
            expires_at: None,
            last_used: None,
        }),
        Err(source) => Err(TokenError::Unreadable { id, source }),
    }
}
