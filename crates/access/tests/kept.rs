//! What is kept in the store: tokens, passwords, the audit.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use wright_access::{
    Act, Audit, AuditQuery, AuditRecord, NewToken, Outcome, Passwords, TokenError, TokenSort,
    Tokens,
};
use wright_model::Digest;
use wright_store::{Operation, Range, SharedStore};

async fn store() -> (tempfile::TempDir, SharedStore) {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("file:{}", dir.path().display());
    let store = wright_store::open(&url).await.unwrap();
    (dir, store)
}

fn named(name: &str) -> NewToken {
    NewToken {
        name: name.to_owned(),
        ..NewToken::default()
    }
}

async fn issue(tokens: &Tokens, new: NewToken) -> Result<wright_access::Issued, TokenError> {
    tokens
        .issue(new, TokenSort::Program, BTreeSet::new(), "ada")
        .await
}

#[tokio::test]
async fn a_token_is_known_until_it_is_revoked_and_the_store_has_only_its_digest() {
    let (_dir, store) = store().await;
    let tokens = Tokens::new(store.clone());
    let issued = issue(&tokens, named("ci")).await.unwrap();
    let now = Timestamp::now();
    let found = tokens.find(&issued.token, now).await.unwrap().unwrap();
    assert_eq!(found, issued.record);
    assert!(tokens.find("wright_other", now).await.unwrap().is_none());
    let all = store.range(Range::prefix(""), 0, None).await.unwrap();
    let secret = issued.token.trim_start_matches("wright_");
    for entry in all.entries {
        assert!(!String::from_utf8_lossy(&entry.value).contains(secret));
        assert!(!String::from_utf8_lossy(&entry.key).contains(secret));
    }
    let gone = tokens
        .revoke(|token| token.id == issued.record.id)
        .await
        .unwrap();
    assert_eq!(gone.len(), 1);
    assert!(tokens.find(&issued.token, now).await.unwrap().is_none());
}

#[tokio::test]
async fn a_token_is_worth_nothing_from_its_end_on() {
    let (_dir, store) = store().await;
    let tokens = Tokens::new(store);
    let now = Timestamp::now();
    let end = now + SignedDuration::from_secs(60);
    let new = NewToken {
        expires_at: Some(end),
        ..named("short")
    };
    let issued = issue(&tokens, new).await.unwrap();
    assert!(tokens.find(&issued.token, now).await.unwrap().is_some());
    assert!(tokens.find(&issued.token, end).await.unwrap().is_none());
    tokens.forget_expired(now).await.unwrap();
    assert_eq!(tokens.list().await.unwrap().len(), 1);
    tokens.forget_expired(end).await.unwrap();
    assert!(tokens.list().await.unwrap().is_empty());
    let past = NewToken {
        expires_at: Some(now - SignedDuration::from_secs(1)),
        ..named("late")
    };
    assert!(matches!(
        issue(&tokens, past).await,
        Err(TokenError::Expired(_))
    ));
    assert!(matches!(
        issue(&tokens, named("a b")).await,
        Err(TokenError::BadName(_))
    ));
}

#[tokio::test]
async fn a_tokens_use_is_written_down_once_in_a_while() {
    let (_dir, store) = store().await;
    let tokens = Tokens::new(store.clone());
    let issued = issue(&tokens, named("ci")).await.unwrap();
    let now = Timestamp::now();
    tokens.note_use(&issued.token, now).await.unwrap();
    let revision = store.revision().await.unwrap();
    tokens
        .note_use(&issued.token, now + SignedDuration::from_secs(10))
        .await
        .unwrap();
    assert_eq!(store.revision().await.unwrap(), revision);
    let found = tokens.find(&issued.token, now).await.unwrap().unwrap();
    assert_eq!(found.last_used, Some(now));
    tokens.note_use("wright_unknown", now).await.unwrap();
}

#[tokio::test]
async fn a_token_of_before_there_were_scopes_is_an_administrators() {
    let (_dir, store) = store().await;
    let key = format!("token/{}", Digest::of(b"wright_old"));
    let put = Operation::put(key, r#""operator""#);
    store.commit(Vec::new(), vec![put]).await.unwrap();
    let tokens = Tokens::new(store);
    let found = tokens
        .find("wright_old", Timestamp::now())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.name, "operator");
    assert_eq!(found.identity().roles, ["administrator"]);
}

#[tokio::test]
async fn only_the_password_that_was_set_is_it() {
    let (_dir, store) = store().await;
    let passwords = Passwords::new(store.clone());
    assert!(passwords.set("ada", "short").await.is_err());
    passwords.set("ada", "correct horse battery").await.unwrap();
    assert!(passwords.is("ada", "correct horse battery").await.unwrap());
    assert!(!passwords.is("ada", "correct horse batterx").await.unwrap());
    assert!(
        !passwords
            .is("grace", "correct horse battery")
            .await
            .unwrap()
    );
    passwords.forget("ada").await.unwrap();
    assert!(!passwords.is("ada", "correct horse battery").await.unwrap());
}

fn record(at: Timestamp, actor: &str, outcome: Outcome) -> AuditRecord {
    let millisecond = u64::try_from(at.as_millisecond()).unwrap();
    let random: [u8; 10] = *b"0123456789";
    AuditRecord {
        id: uuid::Builder::from_unix_timestamp_millis(millisecond, &random).into_uuid(),
        at,
        actor: actor.to_owned(),
        through: String::new(),
        from: String::new(),
        act: Act::Write,
        request: "PUT /resources/rack/r1".to_owned(),
        kind: "rack".to_owned(),
        name: "r1".to_owned(),
        outcome,
        status: 200,
        why: String::new(),
    }
}

#[tokio::test]
async fn the_audit_finds_the_newest_that_match_and_forgets_by_age() {
    let (_dir, store) = store().await;
    let audit = Audit::new(store);
    let now = Timestamp::now();
    let ago = |hours: i64| now - SignedDuration::from_hours(hours);
    for hours in [900, 40, 3, 2, 1] {
        let actor = if hours == 2 { "eve" } else { "ada" };
        let outcome = if hours == 3 {
            Outcome::Refused
        } else {
            Outcome::Done
        };
        audit
            .record(&record(ago(hours), actor, outcome))
            .await
            .unwrap();
    }
    let times = async |query: AuditQuery| {
        let found = audit.find(&query).await.unwrap();
        let hours = found
            .iter()
            .map(|record| now.duration_since(record.at).as_hours());
        hours.collect::<Vec<_>>()
    };
    let all = AuditQuery {
        limit: 10,
        ..AuditQuery::default()
    };
    assert_eq!(times(all.clone()).await, [900, 40, 3, 2, 1]);
    assert_eq!(
        times(AuditQuery {
            limit: 2,
            ..all.clone()
        })
        .await,
        [2, 1]
    );
    let adas = AuditQuery {
        actor: Some("ada".to_owned()),
        limit: 3,
        ..all.clone()
    };
    assert_eq!(times(adas).await, [40, 3, 1]);
    let refused = AuditQuery {
        outcome: Some(Outcome::Refused),
        ..all.clone()
    };
    assert_eq!(times(refused).await, [3]);
    let between = AuditQuery {
        since: Some(ago(50)),
        until: Some(ago(2)),
        ..all.clone()
    };
    assert_eq!(times(between).await, [40, 3]);
    audit.forget(ago(100)).await.unwrap();
    assert_eq!(times(all).await, [40, 3, 2, 1]);
}
