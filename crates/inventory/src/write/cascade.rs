//! What goes with a resource that is deleted.

use std::collections::{BTreeMap, VecDeque};

use wright_store::{Guard, MAX_OPERATIONS};

use super::{
    Refused,
    batch::Batch,
    draft::{Draft, Pen},
    plan::Meaning,
};
use crate::{Inventory, Referrer, keys::referred_key, kind::OnDelete, record::Record};

/// The most referrers of one resource that are looked for; more do not go into one commit anyhow.
const MOST: usize = 10_000;
/// How many of them a refusal names.
const NAMED: usize = 20;

/// Adds to a batch what refers to what it deletes: to be deleted too, or without the reference.
pub(super) async fn follow(
    inventory: &Inventory,
    batch: &mut Batch,
    pen: &Pen<'_>,
) -> Result<(), Refused> {
    let deleted = |draft: &Draft| draft.after.is_none();
    let mut gone: VecDeque<usize> = (0..batch.drafts.len())
        .filter(|&index| deleted(&batch.drafts[index]))
        .collect();
    if gone.is_empty() {
        return Ok(());
    }
    let kinds = inventory.all_kinds().await?;
    let mut places: BTreeMap<(String, String), usize> = batch
        .drafts
        .iter()
        .enumerate()
        .map(|(index, draft)| ((draft.kind.name().to_owned(), draft.name.clone()), index))
        .collect();
    while let Some(index) = gone.pop_front() {
        let (to, name) = (
            batch.drafts[index].kind.name().to_owned(),
            batch.drafts[index].name.clone(),
        );
        let touched = referred_key(&to, &name);
        let entry = inventory
            .store
            .get(touched.as_bytes())
            .await
            .map_err(Refused::store)?;
        let Some(entry) = entry else {
            // Nobody ever referred to it.
            batch
                .seen
                .push((Guard::Absent(touched.into()), Meaning::Quiet));
            continue;
        };
        batch.seen.push((
            Guard::Modified(touched.into(), entry.modified),
            Meaning::Quiet,
        ));
        let now = inventory.store.revision().await.map_err(Refused::store)?;
        let referrers = inventory
            .referrers
            .referrers(&kinds, &to, &name, now, MOST)
            .await?;
        let mut held: Vec<Referrer> = Vec::new();
        for referrer in referrers {
            let Some(kind) = kinds.iter().find(|kind| kind.name() == referrer.kind) else {
                continue;
            };
            let relation = kind
                .relations()
                .find(|relation| relation.field == referrer.field);
            let rule = relation.map_or(OnDelete::Restrict, |relation| relation.on_delete);
            let place = (referrer.kind.clone(), referrer.name.clone());
            if let Some(&known) = places.get(&place) {
                // What people wrote themselves in this transaction is theirs to get right.
                let draft = &mut batch.drafts[known];
                if draft.follows && rule == OnDelete::Clear {
                    pen.cleared(draft, &referrer.field, &name)?;
                } else if draft.follows && rule == OnDelete::Cascade && draft.after.take().is_some()
                {
                    gone.push_back(known);
                }
                if draft.follows {
                    continue;
                }
                if draft.refers(&to, &name) {
                    return Err(draft.no_target(&referrer.field, &to, &name));
                }
                continue;
            }
            if rule == OnDelete::Restrict {
                held.push(referrer);
                continue;
            }
            let parts = inventory
                .parts(&referrer.kind, &referrer.name, kind.is_platform(), false)
                .await;
            let (own, platform) = parts.map_err(Refused::store)?;
            let Some(own) = own else {
                continue;
            };
            let before = Record::read(&own)?;
            let mut draft = Draft {
                kind: kind.clone(),
                name: referrer.name.clone(),
                after: (rule == OnDelete::Clear).then(|| before.clone()),
                before: Some(before),
                platform: platform.as_ref().map(Record::read).transpose()?,
                discovered: inventory.discovered(&referrer.kind, &referrer.name).await?,
                expected: None,
                creates: false,
                follows: true,
            };
            if rule == OnDelete::Clear {
                pen.cleared(&mut draft, &referrer.field, &name)?;
            } else {
                gone.push_back(batch.drafts.len());
            }
            places.insert(place, batch.drafts.len());
            batch.drafts.push(draft);
        }
        if !held.is_empty() {
            let count = held.len();
            held.truncate(NAMED);
            return Err(Refused::Referenced {
                kind: to,
                name,
                referrers: held,
                count,
            });
        }
        if batch.drafts.len() * 2 > MAX_OPERATIONS {
            return Err(Refused::TooMany {
                resources: batch.drafts.len(),
                parts: batch.drafts.len() * 4,
                limit: MAX_OPERATIONS,
            });
        }
    }
    Ok(())
}
