//! Who calls, and what he may do: tokens and passwords, and the policy made of the inventory's roles,
//! bindings, teams and users, which follows every change of them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::future::try_join_all;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use wright_access::{
    Act, Audit, Caller, Decision, Identity, Passwords, Policy, Quota, Sources, Target, Throttle,
    TokenError, TokenRecord, Tokens, allows,
};
use wright_inventory::{
    Inventory, InventoryError, Resource,
    catalog::{Shown, Sight},
};
use wright_store::{SharedStore, Watch};
use wright_workflow::{Engine, JobError, JobId};

use crate::{PAUSE, records::kind};

/// The kinds that rights are made of.
pub const SOURCES: [&str; 7] = [
    "role",
    "binding",
    "team",
    "user",
    "quota",
    "kind",
    kind::SITE,
];

/// What rights are at a moment.
#[derive(Debug, Default)]
struct Snapshot {
    policy: Policy,
    /// Which team owns which site.
    sites: BTreeMap<String, String>,
    quotas: Vec<Quota>,
}

/// Who may do what here.
pub struct Rights {
    /// By what programs and sessions are known.
    pub tokens: Tokens,
    /// By what local users are.
    pub passwords: Passwords,
    /// What they did.
    pub audit: Audit,
    inventory: Arc<Inventory>,
    store: SharedStore,
    engine: Engine,
    snapshot: watch::Sender<Arc<Snapshot>>,
    throttle: Mutex<Throttle>,
    /// Held while the rights are read, so that older ones never take the place of newer ones.
    reading: tokio::sync::Mutex<()>,
    /// Held by who counts what a team owns until he has written.
    counting: tokio::sync::Mutex<()>,
}

/// Somebody who has shown who he is.
#[derive(Debug, Clone)]
pub struct Known {
    /// What he may do.
    pub caller: Arc<Caller>,
    /// The token he showed.
    pub record: Arc<TokenRecord>,
}

/// The path of what the owners of a resource's fields name as `field`, `field/key` or `labels:key`.
pub fn owned_path(field: &str) -> String {
    field.replace(['/', ':'], ".")
}

/// What a decision is about, read from where it is kept.
#[derive(Debug, Clone, Default)]
pub struct Subject {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    team: Option<String>,
    labels: BTreeMap<String, String>,
    body: Option<Value>,
}

impl Subject {
    /// Something of which no more is known.
    pub fn named(kind: &str, name: &str) -> Self {
        Subject {
            kind: kind.to_owned(),
            name: name.to_owned(),
            ..Subject::default()
        }
    }

    /// For a decision.
    pub fn target(&self) -> Target<'_> {
        let target = Target::new(&self.kind, &self.name)
            .team(self.team.as_deref())
            .labels(&self.labels);
        match &self.body {
            Some(body) => target.body(body),
            None => target,
        }
    }

    /// Something of another kind that belongs to the same site and team.
    pub fn beside(&self, other: &str) -> Subject {
        let mut labels = self.labels.clone();
        if self.kind == kind::SITE {
            labels.insert(kind::SITE.to_owned(), self.name.clone());
        }
        Subject {
            kind: other.to_owned(),
            name: String::new(),
            team: self.target().team.map(str::to_owned),
            labels,
            body: None,
        }
    }
}

impl Rights {
    /// Those of an installation, as they are now.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn open(
        store: &SharedStore,
        inventory: Arc<Inventory>,
        engine: Engine,
    ) -> Result<Self, InventoryError> {
        let rights = Rights {
            tokens: Tokens::new(store.clone()),
            passwords: Passwords::new(store.clone()),
            audit: Audit::new(store.clone()),
            inventory,
            store: store.clone(),
            engine,
            snapshot: watch::Sender::default(),
            throttle: Mutex::default(),
            reading: tokio::sync::Mutex::default(),
            counting: tokio::sync::Mutex::default(),
        };
        rights.reload().await?;
        Ok(rights)
    }

    /// Follows every change of what rights are made of, until `shutdown`.
    pub async fn follow(self: Arc<Self>, shutdown: CancellationToken) {
        let followed = async {
            loop {
                if let Err(error) = self.follow_until_lost().await {
                    tracing::warn!(%error, "rights cannot follow the inventory; it is tried again");
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        shutdown.run_until_cancelled(followed).await;
    }

    async fn follow_until_lost(&self) -> Result<(), InventoryError> {
        let now = self.store.revision().await?;
        let watches = SOURCES.map(|kind| self.store.watch(Inventory::written(kind), now));
        let watches = try_join_all(watches).await?;
        // What was written before the watches began.
        self.reload().await?;
        let follow = async |mut changes: Watch| {
            while let Some(change) = changes.next().await {
                change?;
                self.reload().await?;
            }
            Ok(())
        };
        try_join_all(watches.into_iter().map(follow))
            .await
            .map(drop)
    }

    /// Makes the rights anew of what the inventory says now: who has just written a role finds it.
    ///
    /// # Errors
    /// Where the store fails; the rights stay as they were.
    pub async fn reload(&self) -> Result<(), InventoryError> {
        let _one = self.reading.lock().await;
        let bindings = self.sources("binding").await?;
        let quotas = self.sources("quota").await?;
        let sources = Sources {
            roles: self.sources("role").await?.into_iter().collect(),
            bindings: bindings.into_iter().map(|(_, binding)| binding).collect(),
            teams: self.sources("team").await?.into_iter().collect(),
            users: self.sources("user").await?.into_iter().collect(),
        };
        let sites: Vec<(String, Value)> = self.sources(kind::SITE).await?;
        let owned = |(site, body): (String, Value)| {
            let team = body.get("team").and_then(Value::as_str);
            Some((site, team?.to_owned()))
        };
        let sites = sites.into_iter().filter_map(owned).collect();
        let (policy, faults) = Policy::compile(sources, &Arc::new(self.inventory.schemas().await?));
        for fault in faults {
            tracing::warn!(%fault, "a rule grants nothing");
        }
        self.snapshot.send_replace(Arc::new(Snapshot {
            policy,
            sites,
            quotas: quotas.into_iter().map(|(_, quota)| quota).collect(),
        }));
        Ok(())
    }

    /// The resources of a kind that can be read as what they should be; another grants nothing.
    async fn sources<T: DeserializeOwned>(
        &self,
        kind: &str,
    ) -> Result<Vec<(String, T)>, InventoryError> {
        let read = |resource: Resource| {
            let name = resource.name.clone();
            match resource.body_as() {
                Ok(body) => Some((name, body)),
                Err(error) => {
                    tracing::warn!(%error, "it grants nothing");
                    None
                }
            }
        };
        let all = self.inventory.resources(kind, None, 0, None).await?;
        Ok(all.resources.into_iter().filter_map(read).collect())
    }

    fn now(&self) -> Arc<Snapshot> {
        self.snapshot.borrow().clone()
    }

    /// Whose token this is; `None` where it is worth nothing.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn know(self: &Arc<Self>, token: &str) -> Result<Option<Known>, TokenError> {
        let now = Timestamp::now();
        let Some(record) = self.tokens.find(token, now).await? else {
            return Ok(None);
        };
        if Tokens::use_is_due(&record, now) {
            let (rights, token) = (self.clone(), token.to_owned());
            tokio::spawn(async move {
                if let Err(error) = rights.tokens.note_use(&token, now).await {
                    tracing::warn!(%error, "the use of a token could not be noted");
                }
            });
        }
        let caller = self.now().policy.caller(&record.identity());
        Ok(Some(Known {
            caller: Arc::new(caller),
            record: Arc::new(record),
        }))
    }

    /// A user as he is now, with the rights that are his without a group of an identity provider.
    pub fn as_user(&self, name: &str) -> Caller {
        self.now().policy.caller(&Identity::user(name))
    }

    /// Whether a local user of this name can log in.
    pub fn is_active(&self, user: &str) -> bool {
        let now = self.now();
        now.policy.user(user).is_some_and(|user| !user.disabled)
    }

    /// Whether there is a role of this name.
    pub fn has_role(&self, role: &str) -> bool {
        self.now().policy.has_role(role)
    }

    /// How many resources of a kind which team may own.
    pub fn quotas(&self, kind: &str) -> Vec<Quota> {
        let now = self.now();
        let of_kind = now.quotas.iter().filter(|quota| quota.kind == kind);
        of_kind.cloned().collect()
    }

    /// A turn to count what teams own and to write. On other servers somebody may do so at the same
    /// time.
    pub async fn turn_to_count(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.counting.lock().await
    }

    /// Who has failed to show who he is, and how often. Held for a few instructions.
    pub fn throttle(&self) -> MutexGuard<'_, Throttle> {
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a resource or a job is, as far as decisions ask; without fields where it is not there.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn subject(&self, kind: &str, name: &str) -> Result<Subject, InventoryError> {
        if kind == "job" {
            return self.job(name).await;
        }
        let found = self.inventory.resource(kind, name).await?;
        Ok(match found {
            Some(resource) => self.of_resource(resource),
            None => Subject::named(kind, name),
        })
    }

    /// What a resource is, as far as decisions ask.
    pub fn of_resource(&self, resource: Resource) -> Subject {
        self.with_team(
            &resource.kind,
            &resource.name,
            resource.labels,
            resource.body,
        )
    }

    /// What is on a site is its team's.
    fn with_team(
        &self,
        kind: &str,
        name: &str,
        labels: BTreeMap<String, String>,
        body: Value,
    ) -> Subject {
        let own = body.get("team").and_then(Value::as_str);
        let site = labels.get(crate::records::kind::SITE);
        let of_site = || self.now().sites.get(site?).cloned();
        Subject {
            kind: kind.to_owned(),
            name: name.to_owned(),
            team: own.map(str::to_owned).or_else(of_site),
            labels,
            body: Some(body),
        }
    }

    /// What something is that is written as a resource is.
    pub fn of_value(&self, kind: &str, name: &str, value: &Value) -> Subject {
        let labels = value.get("labels").cloned().map(serde_json::from_value);
        let labels: BTreeMap<String, String> = labels.and_then(Result::ok).unwrap_or_default();
        let body = value.get("body").cloned().unwrap_or_default();
        self.with_team(kind, name, labels, body)
    }

    /// What a caller may read of some kinds, for queries; `None`: all of all of them.
    pub fn sight<'k>(
        &self,
        caller: &Caller,
        kinds: impl Iterator<Item = &'k str>,
    ) -> Option<Sight> {
        let (now, mut sight) = (self.now(), Sight::default());
        let mut whole = true;
        for kind in kinds {
            let shown = caller.shown(Act::Read, kind, &now.sites);
            whole &= shown == Shown::All;
            sight.show(kind, shown);
        }
        (!whole).then_some(sight)
    }

    /// A resource as a caller may read it; `None` where it does not exist for him.
    pub fn seen(&self, caller: &Caller, mut resource: Resource) -> Option<Resource> {
        if caller.may_all(Act::Read, &resource.kind) {
            return Some(resource);
        }
        let subject = self.of_resource(resource.clone());
        let fields = caller.fields(Act::Read, &subject.target());
        if fields.is_none() {
            return None;
        }
        fields.prune(&mut resource.body);
        if !fields.is_all() {
            let Resource { labels, owners, .. } = &mut resource;
            labels.retain(|label, _| fields.cover(&format!("labels.{label}")));
            owners.retain(|field, _| fields.cover(&owned_path(field)));
        }
        Some(resource)
    }

    /// All of a kind, by name, as far as decisions ask.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn subjects(&self, kind: &str) -> Result<HashMap<String, Subject>, InventoryError> {
        let all = self.inventory.resources(kind, None, 0, None).await?;
        let named = |resource: Resource| (resource.name.clone(), self.of_resource(resource));
        Ok(all.resources.into_iter().map(named).collect())
    }

    async fn job(&self, id: &str) -> Result<Subject, InventoryError> {
        let nothing = Subject::named("job", id);
        let Ok(job) = id.parse::<JobId>() else {
            return Ok(nothing);
        };
        match self.engine.summary(job).await {
            Ok(summary) => {
                let body = serde_json::to_value(&summary).unwrap_or_default();
                Ok(self.of_job(id, &summary.subject, body))
            }
            Err(JobError::Store(error)) => Err(error.into()),
            Err(_) => Ok(nothing),
        }
    }

    /// What a job is: it belongs to the site that it is about.
    pub fn of_job(&self, id: &str, subject: &str, body: Value) -> Subject {
        let mut labels = BTreeMap::new();
        let mut team = None;
        if let Some(site) = subject.strip_prefix("site/") {
            labels.insert(kind::SITE.to_owned(), site.to_owned());
            team = self.now().sites.get(site).cloned();
        }
        Subject {
            kind: "job".to_owned(),
            name: id.to_owned(),
            team,
            labels,
            body: Some(body),
        }
    }

    /// Decides, reading the subject only where it matters.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn decide(
        &self,
        caller: &Caller,
        act: Act,
        kind: &str,
        name: &str,
    ) -> Result<Decision, InventoryError> {
        if caller.may_all(act, kind) {
            return Ok(Decision::Allowed);
        }
        let subject = self.subject(kind, name).await?;
        Ok(allows(caller, act, &subject.target()))
    }
}
