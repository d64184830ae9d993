//! One plan at a time, over all servers.

use std::time::Duration;

use tokio::{
    runtime::Handle,
    sync::{Mutex, MutexGuard, watch},
    time::{sleep, timeout},
};
use wright_store::{Guard, Operation, Range, SharedStore, StoreError};

use super::Term;

/// Whose turn it is to plan.
const PLANNING: &str = "planning";
/// How long a server that plans is waited for before it is looked at again.
const LOOK: Duration = Duration::from_secs(5);
/// How long this server may take to become a member again.
const JOIN: Duration = Duration::from_secs(5);
/// The wait before a term that ends is over.
const AGAIN: Duration = Duration::from_millis(200);

/// The turn to plan: from observation to job, so that no two plans take the same port. It is on its
/// holder's lease, so that nobody waits for a server that died.
pub struct Planning {
    here: Mutex<()>,
    store: SharedStore,
    term: watch::Receiver<Option<Term>>,
}

/// That nobody else plans. Dropping it lets the next one.
pub struct Turn<'a> {
    store: &'a SharedStore,
    /// Where it is given back from: a drop cannot wait.
    runtime: Handle,
    value: String,
    _here: MutexGuard<'a, ()>,
}

impl Planning {
    /// For a server that is a member in these terms.
    pub fn new(store: SharedStore, term: watch::Receiver<Option<Term>>) -> Self {
        Planning {
            here: Mutex::new(()),
            store,
            term,
        }
    }

    /// Waits for its turn.
    ///
    /// # Errors
    /// Where the store fails, or this server is no member and does not become one.
    pub async fn lock(&self) -> Result<Turn<'_>, StoreError> {
        let here = self.here.lock().await;
        let mut terms = self.term.clone();
        loop {
            let term = self.term(&mut terms).await?;
            if let Some(value) = self.take(&term).await? {
                return Ok(Turn {
                    store: &self.store,
                    runtime: Handle::current(),
                    value,
                    _here: here,
                });
            }
        }
    }

    async fn term(&self, terms: &mut watch::Receiver<Option<Term>>) -> Result<Term, StoreError> {
        let member = timeout(JOIN, terms.wait_for(Option::is_some)).await;
        let Ok(member) = member else {
            return Err(StoreError::Engine(format!(
                "this server has been no member for {JOIN:?}; its log says why"
            )));
        };
        let term = member.ok().and_then(|term| term.clone());
        term.ok_or(StoreError::Closed)
    }

    /// Takes the turn if it is free; otherwise waits until that may have changed.
    async fn take(&self, term: &Term) -> Result<Option<String>, StoreError> {
        let revision = self.store.revision().await?;
        let free = match self.store.get(PLANNING.as_bytes()).await? {
            None => Guard::Absent(PLANNING.into()),
            // What this server had is given back.
            Some(entry) if entry.value.starts_with(format!("{}/", term.id).as_bytes()) => {
                Guard::Modified(PLANNING.into(), entry.modified)
            }
            Some(_) => {
                let mut changes = self.store.watch(Range::key(PLANNING), revision).await?;
                let _ = timeout(LOOK, changes.next()).await;
                return Ok(None);
            }
        };
        let value = format!("{}/{}", term.id, uuid::Uuid::now_v7());
        let put = Operation::Put {
            key: PLANNING.into(),
            value: value.clone().into(),
            lease: Some(term.lease),
        };
        match self.store.commit(vec![free], vec![put]).await {
            Ok(_) => Ok(Some(value)),
            Err(error) if error.is_refused() => Ok(None),
            Err(StoreError::NoLease(_)) => {
                // The term is about to be over.
                sleep(AGAIN).await;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let (store, value) = (self.store.clone(), std::mem::take(&mut self.value));
        self.runtime.spawn(async move {
            let own = Guard::Value(PLANNING.into(), value.into());
            let release = vec![Operation::Delete(PLANNING.into())];
            match store.commit(vec![own], release).await {
                Err(error) if !error.is_refused() => {
                    tracing::warn!(%error, "the turn to plan is kept until this server takes it again");
                }
                _ => {}
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::*;

    async fn planning(store: &SharedStore, id: &str) -> (Planning, Term) {
        let term = Term {
            id: id.to_owned(),
            lease: store.lease_grant(3_600).await.unwrap(),
            over: CancellationToken::new(),
        };
        let (_, terms) = watch::channel(Some(term.clone()));
        (Planning::new(store.clone(), terms), term)
    }

    async fn store(dir: &tempfile::TempDir) -> SharedStore {
        wright_store::open(&format!("file:{}", dir.path().display()))
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn servers_take_turns() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir).await;
        let (one, _) = planning(&store, "one").await;
        let (other, _) = planning(&store, "other").await;
        let turn = one.lock().await.unwrap();
        let mut waiting = Box::pin(other.lock());
        assert!(futures::poll!(&mut waiting).is_pending());
        drop(turn);
        drop(waiting.await.unwrap());
        drop(one.lock().await.unwrap());
    }

    #[tokio::test]
    async fn who_is_no_member_is_told_so() {
        let dir = tempfile::tempdir().unwrap();
        let (_terms, none) = watch::channel(None);
        let planning = Planning::new(store(&dir).await, none);
        tokio::time::pause();
        let refused = planning.lock().await.err().unwrap().to_string();
        assert!(refused.contains("no member"), "{refused}");
    }

    #[tokio::test]
    async fn the_turn_of_a_server_that_died_is_free() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir).await;
        let (one, term) = planning(&store, "one").await;
        let (other, _) = planning(&store, "other").await;
        let _held = one.lock().await.unwrap();
        store.lease_revoke(term.lease).await.unwrap();
        other.lock().await.unwrap();
    }
}
