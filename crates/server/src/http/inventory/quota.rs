//! How much teams may own, held against what a write would make of it.

use std::collections::{BTreeMap, BTreeSet};

use wright_access::Quota;
use wright_inventory::{Action, Resource, Write, Written};

use crate::http::{Rooms, answer::Refusal};

/// The quotas that speak of the kinds that are written.
pub(super) fn concerning(rooms: &Rooms, writes: &[Write]) -> Vec<Quota> {
    let kinds: BTreeSet<&str> = writes.iter().map(|write| write.kind.as_str()).collect();
    let quotas = kinds.into_iter().map(|kind| rooms.rights.quotas(kind));
    quotas.flatten().collect()
}

fn is_of(resource: &Resource, team: &str) -> bool {
    resource.body.get("team").and_then(|own| own.as_str()) == Some(team)
}

/// Refuses what would give a team more than it may own.
pub(super) async fn check(rooms: &Rooms, quotas: &[Quota], told: &Written) -> Result<(), Refusal> {
    for quota in quotas {
        let (kind, team) = (quota.kind.as_str(), quota.team.as_str());
        let own = rooms
            .inventory
            .resources(kind, None, 0, None)
            .await?
            .resources;
        let own: BTreeSet<&str> = own
            .iter()
            .filter(|resource| is_of(resource, team))
            .map(|resource| resource.name.as_str())
            .collect();
        let written = told
            .outcomes
            .iter()
            .filter(|told| told.resource.kind == kind);
        let after: BTreeMap<&str, bool> = written
            .map(|told| {
                let stays = told.action != Action::Deleted && is_of(&told.resource, team);
                (told.resource.name.as_str(), stays)
            })
            .collect();
        let gone = after
            .iter()
            .filter(|(name, stays)| !**stays && own.contains(*name));
        let new = after
            .iter()
            .filter(|(name, stays)| **stays && !own.contains(*name));
        let before = own.len() as u64;
        let after = before - gone.count() as u64 + new.count() as u64;
        quota.allows(before, after).map_err(|exceeded| {
            Refusal::new(
                403,
                "quota",
                "more than the team may own",
                exceeded.to_string(),
            )
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::http::gates::tests::bed::Bed;

    #[tokio::test]
    async fn a_team_owns_no_more_than_its_quota_however_many_write_at_once() {
        let bed = Bed::start().await;
        let token = bed.token(&["administrator"]).await;
        for (kind, body) in [
            ("team", json!({ "name": "web", "body": {} })),
            (
                "quota",
                json!({ "name": "q", "body": { "team": "web", "kind": "service", "limit": 3 } }),
            ),
        ] {
            let path = format!("/resources/{kind}");
            let made = bed.ask(&token, "POST", &path, body).await;
            assert_eq!(made.status, 201, "{made:?}");
        }
        let make = async |number: usize| {
            let body = json!({ "name": format!("s{number}"), "body": { "team": "web" } });
            bed.ask(&token, "POST", "/resources/service", body).await
        };
        let answers = futures::future::join_all((0..6).map(make)).await;
        let made = answers.iter().filter(|answer| answer.status == 201);
        assert_eq!(made.count(), 3, "{answers:?}");
        let refused = answers.iter().find(|answer| answer.status == 403).unwrap();
        assert!(refused.text.contains("has 3 of the 3"), "{refused:?}");

        let all = bed.get(&token, "/resources/service").await.json();
        let one = all[0]["name"].as_str().unwrap();
        let path = format!("/resources/service/{one}");
        assert_eq!(
            bed.ask(&token, "DELETE", &path, Value::Null).await.status,
            200
        );
        assert_eq!(make(7).await.status, 201);
        let nobodys = json!({ "name": "free", "body": {} });
        let free = bed.ask(&token, "POST", "/resources/service", nobodys).await;
        assert_eq!(free.status, 201, "{free:?}");
        bed.stop().await;
    }
}
