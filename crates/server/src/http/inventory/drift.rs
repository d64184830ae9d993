//! What is declared against what was discovered: what differs, and what becomes of it.

use axum::{
    Extension, Json,
    extract::{Path, Query, State},
};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use wright_access::{Act, Decision, allows};
use wright_inventory::{
    Change, Past, Resource, Write,
    catalog::{self, CatalogError},
    kind::{DRIFT, Drift, Kind, TOLERATED},
};
use wright_model::{InstanceId, Name};

use super::{known as known_kind, rights, write::author};
use crate::{
    api::{DriftView, Resolution, Resolve, Resolved},
    control::Stray,
    http::{Rooms, Shared, answer::Refusal, gates},
    records::{instance_id, instance_name, kind},
    rights::Known,
};

/// The most resources whose drift is shown at once.
const MOST: usize = 1000;
/// What the field of an instance begins with.
const INSTANCES: &str = "instances.";
/// What is declared, and was discovered, of an instance that is only one of both.
const RECORDED: &str = "recorded";
const THERE: &str = "there";
const MISSING: &str = "not there";

/// Whose drift is wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Of {
    /// Of one kind.
    kind: Option<Name>,
    /// Of one resource of it.
    name: Option<String>,
    /// Also what may differ, and what nobody declared.
    #[serde(default)]
    all: bool,
}

/// What is declared and was discovered otherwise: field by field, both values, since when.
#[utoipa::path(get, path = "/drift", params(
    ("kind" = Option<String>, Query, description = "Of one kind."),
    ("name" = Option<String>, Query, description = "Of one resource of that kind."),
    ("all" = Option<bool>, Query, description = "Also what is tolerated, and what nobody declared."),
), responses(
    (status = 200, description = "kind, name, field, declared, discovered, tolerated and since of each; of at most 1,000 resources of a kind.", body = Vec<DriftView>),
    (status = 400, description = "A parameter is not what it should be.", body = serde_json::Value),
    (status = 404, description = "No such kind or resource.", body = serde_json::Value),
    (status = 503, description = "Not everything is in memory yet.", body = serde_json::Value),
))]
pub async fn drift(
    State(rooms): Shared,
    Extension(known): Extension<Known>,
    Query(of): Query<Of>,
) -> Result<Json<Vec<DriftView>>, Refusal> {
    let mut kinds = rooms.inventory.all_kinds().await?;
    match &of.kind {
        Some(kind) => {
            known_kind(&rooms, kind).await?;
            kinds.retain(|one| one.name() == kind.as_str());
        }
        None if of.name.is_some() => {
            let detail = "the kind of the resource was expected, too";
            return Err(Refusal::new(400, "parameters", "no such resource", detail));
        }
        None => {}
    }
    kinds.retain(|kind| kind.is_comparable());
    let mut found = Vec::new();
    for kind in &kinds {
        let names = match &of.name {
            Some(name) => vec![name.clone()],
            None => drifting(&rooms, kind, of.all).await?,
        };
        for name in names {
            found.extend(of_one(&rooms, &known, kind, &name, &of).await?);
        }
        if kind.name() == kind::HOST {
            let host = match &of.name {
                Some(name) => Some(name.parse::<Name>().map_err(Refusal::not_found)?),
                None => None,
            };
            found.extend(strays(&rooms, &known, host.as_ref()).await?);
        }
    }
    Ok(Json(found))
}

/// The names of resources that drift.
async fn drifting(rooms: &Rooms, kind: &Kind, all: bool) -> Result<Vec<String>, CatalogError> {
    let query = catalog::Query {
        kind: Some(kind.name().to_owned()),
        filter: (!all).then(|| format!("size(self.{DRIFT}) > 0")),
        limit: MOST,
        ..catalog::Query::default()
    };
    // What of each is shown is decided below.
    let answer = rooms.catalog.answer(query, None);
    Ok(answer.await?.rows.into_iter().map(|row| row.name).collect())
}

/// What a resource drifts in, as far as the caller may see the field and what was discovered of it;
/// `None` where he may not read the resource.
fn seen(rooms: &Rooms, known: &Known, kind: &Kind, resource: &Resource) -> Option<Vec<Drift>> {
    let subject = rooms.rights.of_resource(resource.clone());
    let target = subject.target();
    if allows(&known.caller, Act::Read, &target) != Decision::Allowed {
        return None;
    }
    let fields = known.caller.fields(Act::Read, &target);
    if !fields.cover("facts") || !fields.cover(TOLERATED) {
        return Some(Vec::new());
    }
    let mut drift = compared(kind, &resource.body);
    drift.retain(|one| fields.cover(&one.field));
    Some(drift)
}

async fn of_one(
    rooms: &Rooms,
    known: &Known,
    kind: &Kind,
    name: &str,
    of: &Of,
) -> Result<Vec<DriftView>, Refusal> {
    let resource = rooms.inventory.resource(kind.name(), name).await?;
    let seen = resource.and_then(|resource| seen(rooms, known, kind, &resource));
    let Some(mut drift) = seen else {
        // Who named none has found one that is gone by now, or hidden.
        return match of.name {
            Some(_) => Err(Refusal::not_found(format!("{} {name}", kind.name()))),
            None => Ok(Vec::new()),
        };
    };
    drift.retain(|one| of.all || one.is_open());
    if drift.is_empty() {
        return Ok(Vec::new());
    }
    let past = rooms.inventory.history(kind.name(), name).await?;
    let view = |drift: Drift| DriftView {
        kind: kind.name().to_owned(),
        name: name.to_owned(),
        since: since(kind, &past, &drift),
        drift,
    };
    Ok(drift.into_iter().map(view).collect())
}

fn compared(kind: &Kind, body: &Value) -> Vec<Drift> {
    body.as_object()
        .map(|body| kind.drift(body))
        .unwrap_or_default()
}

/// Since when both values have been what they are.
fn since(kind: &Kind, past: &[Past], drift: &Drift) -> Option<Timestamp> {
    let same = |past: &&Past| {
        let drifts = past.body.as_ref().map(|body| compared(kind, body));
        drifts.unwrap_or_default().iter().any(|one| {
            one.field == drift.field
                && one.declared == drift.declared
                && one.discovered == drift.discovered
        })
    };
    let last = past.iter().rev().take_while(same).last();
    last.map(|past| past.at)
}

/// Instances that are not where they are recorded.
async fn strays(
    rooms: &Rooms,
    known: &Known,
    host: Option<&Name>,
) -> Result<Vec<DriftView>, Refusal> {
    let mut views = Vec::new();
    for Stray {
        host,
        instance,
        recorded,
    } in rooms.control.strays(host).await?
    {
        let name = instance_name(&instance);
        let mut may = true;
        for (kind, name) in [(kind::HOST, host.as_str()), (kind::INSTANCE, name.as_str())] {
            let may_read = rooms.rights.decide(&known.caller, Act::Read, kind, name);
            may &= may_read.await? == Decision::Allowed;
        }
        if !may {
            continue;
        }
        let (declared, discovered) = match recorded {
            true => (json!(RECORDED), MISSING),
            false => (Value::Null, THERE),
        };
        views.push(DriftView {
            kind: kind::HOST.to_owned(),
            name: host.to_string(),
            drift: Drift {
                field: format!("{INSTANCES}{name}"),
                declared,
                discovered: discovered.into(),
                tolerated: None,
            },
            since: None,
        });
    }
    Ok(views)
}

/// Decide what becomes of a field that is not what was discovered: declare what was discovered, say that
/// it may differ, or have it made what is declared.
#[utoipa::path(post, path = "/resources/{kind}/{name}/drift", params(("kind" = String, Path), ("name" = String, Path)), request_body(content = serde_json::Value, description = "`field`, `act` (accept, tolerate, revert), `value` (which one, where several were discovered), `why`, `dry_run`."), responses(
    (status = 200, description = "What was done, in a line.", body = serde_json::Value),
    (status = 400, description = "The body is no JSON.", body = serde_json::Value),
    (status = 404, description = "No such resource, or the field does not differ.", body = serde_json::Value),
    (status = 409, description = "The platform cannot change it, a job changes the site, or it breaks a constraint.", body = serde_json::Value),
    (status = 412, description = "It was changed meanwhile.", body = serde_json::Value),
    (status = 415, description = "The body is not said to be JSON.", body = serde_json::Value),
    (status = 422, description = "Several were discovered, a reason is missing, or the value does not fit.", body = serde_json::Value),
))]
pub async fn resolve(
    State(rooms): Shared,
    Extension(known): Extension<Known>,
    Path((kind, name)): Path<(Name, String)>,
    Json(wanted): Json<Resolve>,
) -> Result<Json<Resolved>, Refusal> {
    if let (Some(instance), kind::HOST) = (wanted.field.strip_prefix(INSTANCES), kind.as_str()) {
        return instance_drift(&rooms, &known, &name, instance, &wanted).await;
    }
    let missing = || Refusal::not_found(format!("{kind} {name}"));
    let inventory = &rooms.inventory;
    let definition = inventory.kind(kind.as_str()).await?.ok_or_else(missing)?;
    let resource = inventory.resource(kind.as_str(), &name).await?;
    let resource = resource.ok_or_else(missing)?;
    let field = &wanted.field;
    let drift = seen(&rooms, &known, &definition, &resource).unwrap_or_default();
    let Some(drift) = drift.into_iter().find(|one| one.field == *field) else {
        let what =
            format!("drift of {field} of {kind} {name}; see `wright drift {kind} {name} --all`");
        return Err(Refusal::not_found(what));
    };
    let (patch, message) = match wanted.act {
        Resolution::Accept => {
            let value = accepted(&drift, wanted.value)?;
            let mut patch = json!({ (field.as_str()): value });
            // Where nothing is tolerated, there is nothing to take away.
            if resource.body.get(TOLERATED).is_some() {
                patch[TOLERATED] = json!({ (field.as_str()): null });
            }
            (patch, format!("{field} is declared as it was discovered"))
        }
        Resolution::Tolerate if wanted.why.trim().is_empty() => {
            let detail = format!("say with why (--why) for what reason {field} may differ");
            return Err(Refusal::new(422, "reason", "no reason", detail));
        }
        Resolution::Tolerate => {
            let tolerated = json!({ "discovered": drift.discovered, "why": wanted.why });
            let message = format!("{field} may differ until something else is discovered");
            (
                json!({ TOLERATED: { (field.as_str()): tolerated } }),
                message,
            )
        }
        Resolution::Revert => {
            let detail = format!(
                "{field} is a fact of the {kind} itself, which the platform cannot change: change it there, \
                 declare what was discovered (accept), or say why it may differ (tolerate); until then it \
                 stays open"
            );
            return Err(cannot_revert(detail));
        }
    };
    let change = Change::Merge {
        patch: json!({ "body": patch }),
    };
    let write = Write::new(kind.as_str(), &name, change).expecting(resource.revision);
    let author = author(&known, &wanted.why);
    rights::write(&rooms, &known, vec![write], &author, wanted.dry_run).await?;
    Ok(Json(Resolved { message }))
}

fn cannot_revert(detail: String) -> Refusal {
    Refusal::new(409, "cannot-revert", "it cannot be put back", detail)
}

/// What is to be declared.
fn accepted(drift: &Drift, wanted: Option<Value>) -> Result<Value, Refusal> {
    let several = |detail: String| {
        Err(Refusal::new(
            422,
            "several",
            "several were discovered",
            detail,
        ))
    };
    let discovered = &drift.discovered;
    let Value::Array(choice) = discovered else {
        return Ok(wanted.unwrap_or_else(|| discovered.clone()));
    };
    match wanted {
        Some(value) if choice.contains(&value) || *discovered == value => Ok(value),
        // Whole, where what is declared is a list.
        None if drift.declared.is_array() => Ok(discovered.clone()),
        _ => several(format!("say which with value (--value): {discovered}")),
    }
}

async fn instance_drift(
    rooms: &Rooms,
    known: &Known,
    host: &str,
    name: &str,
    wanted: &Resolve,
) -> Result<Json<Resolved>, Refusal> {
    gates::require(&rooms.rights, known, Act::Operate, kind::HOST, host).await?;
    let missing = || Refusal::not_found(format!("drift of instance {name} on host {host}"));
    let host: Name = host.parse().map_err(|_| missing())?;
    let instance: InstanceId = instance_id(name).ok_or_else(missing)?;
    let strays = rooms.control.strays(Some(&host)).await?;
    let stray = strays.into_iter().find(|stray| stray.instance == instance);
    let stray = stray.ok_or_else(missing)?;
    match (wanted.act, stray.recorded) {
        (Resolution::Revert, false) if wanted.dry_run => Ok(Json(Resolved {
            message: format!("{instance} would be stopped and uninstalled on {host}"),
        })),
        (Resolution::Revert, false) => {
            let actor = known.caller.name();
            rooms.control.remove_stray(&host, &instance, actor).await?;
            Ok(Json(Resolved {
                message: format!("{instance} was stopped and uninstalled on {host}"),
            }))
        }
        (Resolution::Revert, true) if wanted.dry_run => Ok(Json(Resolved {
            message: format!("{instance} would be set up again on {host}"),
        })),
        (Resolution::Revert, true) => {
            let actor = known.caller.name();
            let job = rooms.control.set_up_missing(&host, &instance, actor);
            let message = match job.await? {
                Some(job) => format!(
                    "{instance} is set up again on {host} by job {job}; see `wright job watch {job}`"
                ),
                None => format!("{instance} is not needed any more"),
            };
            Ok(Json(Resolved { message }))
        }
        (Resolution::Accept | Resolution::Tolerate, _) => Err(cannot_revert(
            "instances are recorded by the jobs that set them up: one that is not where it is recorded is \
             put right with `revert`"
                .to_owned(),
        )),
    }
}
