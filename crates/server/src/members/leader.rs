//! What one server at a time does: whoever has the key `leader`.

use wright_store::{Guard, Operation, Range, SharedStore, StoreError};

use super::Term;
use crate::PAUSE;

/// Who does what only one server does.
const LEADER: &str = "leader";

/// That this server does what only one does.
#[derive(Debug, Clone)]
pub struct Leadership {
    /// True of the store as long as it does: for commits that a server which has lost its place must
    /// not make any more.
    pub guard: Guard,
}

/// Has `work` done whenever this server leads, until the term is over, which ends the work.
pub async fn lead<F>(store: &SharedStore, term: &Term, work: impl Fn(Leadership) -> F)
where
    F: Future<Output = ()>,
{
    let led = async {
        loop {
            match win(store, term).await {
                Ok(leadership) => {
                    tracing::info!("this server leads");
                    work(leadership).await;
                    return;
                }
                Err(error) => {
                    tracing::error!(%error, "no leader could be found; trying again");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    };
    term.over.run_until_cancelled(led).await;
}

/// Waits until nobody leads, and is the first then.
async fn win(store: &SharedStore, term: &Term) -> Result<Leadership, StoreError> {
    let own = format!("{}/{}", term.id, term.lease.0);
    loop {
        let revision = store.revision().await?;
        let free = match store.get(LEADER.as_bytes()).await? {
            None => Guard::Absent(LEADER.into()),
            // An earlier term of this server, which is over.
            Some(entry) if is_of(&entry.value, &term.id) => {
                Guard::Modified(LEADER.into(), entry.modified)
            }
            Some(_) => {
                let mut changes = store.watch(Range::key(LEADER), revision).await?;
                match changes.next().await {
                    None => return Err(StoreError::Closed),
                    Some(Err(StoreError::Compacted { .. })) => {}
                    Some(changes) => drop(changes?),
                }
                continue;
            }
        };
        let put = Operation::Put {
            key: LEADER.into(),
            value: own.clone().into(),
            lease: Some(term.lease),
        };
        match store.commit(vec![free], vec![put]).await {
            Ok(_) => {
                let guard = Guard::Value(LEADER.into(), own.into());
                return Ok(Leadership { guard });
            }
            Err(error) if error.is_refused() => {}
            Err(error) => return Err(error),
        }
    }
}

fn is_of(value: &[u8], id: &str) -> bool {
    String::from_utf8_lossy(value)
        .rsplit_once('/')
        .is_some_and(|(owner, _)| owner == id)
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;
    use wright_store::LeaseId;

    use super::*;

    async fn store(dir: &tempfile::TempDir) -> SharedStore {
        wright_store::open(&format!("file:{}", dir.path().display()))
            .await
            .unwrap()
    }

    async fn term(store: &SharedStore, id: &str) -> Term {
        Term {
            id: id.to_owned(),
            lease: store.lease_grant(3_600).await.unwrap(),
            over: CancellationToken::new(),
        }
    }

    #[tokio::test]
    async fn one_leads_until_its_lease_ends_and_then_its_guard_is_false() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir).await;
        let (one, other) = (term(&store, "one").await, term(&store, "other").await);
        let first = win(&store, &one).await.unwrap();
        let waiting = {
            let (store, other) = (store.clone(), other.clone());
            tokio::spawn(async move { win(&store, &other).await })
        };
        let write = || vec![Operation::put("fact", "1")];
        let guard = vec![first.guard.clone()];
        store.commit(guard.clone(), write()).await.unwrap();
        store.lease_revoke(one.lease).await.unwrap();
        waiting.await.unwrap().unwrap();
        assert!(store.commit(guard, write()).await.unwrap_err().is_refused());
    }

    #[tokio::test]
    async fn a_server_that_is_started_again_leads_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir).await;
        let before = win(&store, &term(&store, "one").await).await.unwrap();
        let again = win(&store, &term(&store, "one").await).await.unwrap();
        assert_ne!(before.guard, again.guard);
        assert!(is_of(b"one/7", "one") && !is_of(b"one/7", "on"));
        assert_ne!(LeaseId(1), LeaseId(2));
    }
}
