//! Whether the caller may write what he would write: decided on what each resource is and on what it
//! would be, before anything is written.

use serde_json::Value;
use wright_access::{Act, Decision, allows};
use wright_inventory::{
    Action, Author, Change, InventoryError, Outcome, Refused, Resource, Write, Written,
};
use wright_store::StoreError;

use super::{quota, refused::discreet};
use crate::{
    http::{Rooms, answer::Refusal, gates},
    rights::Known,
    webhooks::KIND as WEBHOOK,
};

/// How often a write is decided on anew because somebody else wrote between.
const ATTEMPTS: usize = 100;

/// Why nothing was written.
enum Stopped {
    Refused(Refused),
    Gate(Refusal),
}

impl From<Refusal> for Stopped {
    fn from(refusal: Refusal) -> Self {
        Stopped::Gate(refusal)
    }
}

impl From<InventoryError> for Stopped {
    fn from(error: InventoryError) -> Self {
        Stopped::Gate(error.into())
    }
}

/// Writes, where the caller may.
pub(super) async fn write(
    rooms: &Rooms,
    known: &Known,
    writes: Vec<Write>,
    author: &Author,
    dry: bool,
) -> Result<Written, Refusal> {
    let written = attempt(rooms, known, writes, author, dry).await;
    written.map_err(|stopped| match stopped {
        Stopped::Refused(refused) => refused.into(),
        Stopped::Gate(refusal) => refusal,
    })
}

/// The same for who is told of it as of any other write.
pub async fn write_held(
    rooms: &Rooms,
    known: &Known,
    writes: Vec<Write>,
    author: &Author,
    dry: bool,
) -> Result<Written, Refused> {
    let written = attempt(rooms, known, writes, author, dry).await;
    written.map_err(|stopped| match stopped {
        Stopped::Refused(refused) => refused,
        Stopped::Gate(Refusal(problem)) if problem.status < 500 => {
            Refused::NotAllowed(problem.detail)
        }
        Stopped::Gate(Refusal(problem)) => {
            Refused::Inventory(StoreError::Engine(problem.detail).into())
        }
    })
}

async fn attempt(
    rooms: &Rooms,
    known: &Known,
    writes: Vec<Write>,
    author: &Author,
    dry: bool,
) -> Result<Written, Stopped> {
    let inventory = &rooms.inventory;
    let refusal = |refused| {
        Stopped::Refused(match known.caller.reads_everything() {
            true => refused,
            false => discreet(refused),
        })
    };
    let may_all = |kind: &str| known.caller.may_all(Act::Write, kind);
    let quotas = quota::concerning(rooms, &writes);
    let _turn = match quotas.is_empty() {
        true => None,
        false => Some(rooms.rights.turn_to_count().await),
    };
    let tells = |kind: &str| kind == WEBHOOK && !known.caller.reads_everything();
    let simple = |write: &Write| {
        may_all(&write.kind) && !tells(&write.kind) && write.change != Change::Delete
    };
    if quotas.is_empty() && writes.iter().all(simple) {
        let done = match dry {
            true => inventory.preview(&writes, author).await,
            false => inventory.write(&writes, author).await,
        };
        return done.map_err(refusal);
    }
    // Another wrote between, and the caller has not said what he expects: it is decided on anew.
    let raced = |refused: &Refused| {
        let Refused::Conflict { kind, name, .. } = refused else {
            return false;
        };
        let mut own = writes.iter().filter(|one| one.expected.is_none());
        own.any(|write| write.kind == *kind && write.name == *name)
    };
    for _ in 0..ATTEMPTS {
        let mut pinned = writes.clone();
        for write in &mut pinned {
            let before = inventory.resource(&write.kind, &write.name).await?;
            if before.is_some() {
                // Who may not know of it, or not write it, learns no more of it.
                let (rights, kind) = (&rooms.rights, &write.kind);
                gates::require(rights, known, Act::Write, kind, &write.name).await?;
            }
            let read = before.map_or(0, |before| before.revision);
            write.expected = write.expected.or(Some(read));
        }
        let told = match inventory.preview(&pinned, author).await {
            Err(refused) if raced(&refused) => continue,
            told => told.map_err(refusal)?,
        };
        for outcome in &told.outcomes {
            if !may_all(&outcome.resource.kind) {
                decide(rooms, known, outcome).await?;
            }
            if tells(&outcome.resource.kind) {
                own_rights(known, outcome)?;
            }
        }
        quota::check(rooms, &quotas, &told).await?;
        if dry {
            return Ok(told);
        }
        match inventory.write(&pinned, author).await {
            Err(refused) if raced(&refused) => {}
            done => return done.map_err(refusal),
        }
    }
    Err(refusal(Refused::Busy))
}

/// Whether a webhook tells its writer no more than he may read: it has his rights, and he says so.
fn own_rights(known: &Known, outcome: &Outcome) -> Result<(), Refusal> {
    let user = outcome.resource.body.get("user").and_then(Value::as_str);
    let is_gone = outcome.action == Action::Deleted;
    if is_gone || (user.is_some() && user == known.caller.user()) {
        return Ok(());
    }
    let detail = match known.caller.user() {
        Some(user) => format!(
            "who may not read everything has a webhook with his own rights: write `user: {user}`"
        ),
        None => "a webhook without a user takes the right to read everything".to_owned(),
    };
    Err(Refusal::forbidden(detail))
}

/// Whether the caller may do this to one resource: all fields that differ are his to write, of what it
/// is and of what it would be.
async fn decide(rooms: &Rooms, known: &Known, outcome: &Outcome) -> Result<(), Refusal> {
    if outcome.action == Action::Unchanged {
        return Ok(());
    }
    let is = &outcome.resource;
    let was = rooms.inventory.resource(&is.kind, &is.name).await?;
    let is = (outcome.action != Action::Deleted).then_some(is);
    for side in [was.as_ref(), is].into_iter().flatten() {
        let subject = rooms.rights.of_resource(side.clone());
        let target = subject.target();
        let what = format!("{} {}", side.kind, side.name);
        if allows(&known.caller, Act::Write, &target) != Decision::Allowed {
            let detail = format!("to write {what} is not among your rights; see `wright whoami`");
            return Err(Refusal::forbidden(detail));
        }
        let fields = known.caller.fields(Act::Write, &target);
        let body = |side: Option<&Resource>| side.map(|side| side.body.clone());
        let trespass = fields
            .trespass(body(was.as_ref()).as_ref(), body(is).as_ref())
            .or_else(|| {
                let labels = |side: Option<&Resource>| {
                    side.map(|side| side.labels.clone()).unwrap_or_default()
                };
                let (old, new) = (labels(was.as_ref()), labels(is));
                let mut keys = old
                    .keys()
                    .chain(new.keys())
                    .filter(|key| old.get(*key) != new.get(*key));
                let other = keys.find(|key| !fields.cover(&format!("labels.{key}")));
                other.map(|key| format!("labels.{key}"))
            });
        if let Some(field) = trespass {
            let detail =
                format!("to write {field} of {what} is not among your rights; see `wright whoami`");
            return Err(Refusal::forbidden(detail));
        }
    }
    Ok(())
}
