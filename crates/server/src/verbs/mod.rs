//! What a step of a job does: each verb of ARCHITECTURE.md, as a [`Verb`] of the job engine.
//!
//! A verb acts on the world through an agent under the step's effect key, and hands what it wants
//! recorded to the engine, which commits it together with the step's success.

mod on_host;
mod traffic;
mod verify;

use std::sync::Arc;

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use wright_fleet::{Fleet, TaskKey};
use wright_inventory::Inventory;
use wright_model::{
    Check, Digest, Host, HostState, InstanceId, InstanceRecord, InstanceSpec, Name, PackageId,
    Traffic,
};
use wright_protocol::{Answer, Blame, Fault, Task};
use wright_store::SharedStore;
use wright_workflow::{StepContext, StepError, Verb, Verbs};

use crate::{
    records::{self, Specs},
    secrets::Vault,
};

/// What verbs work with.
pub struct Hands {
    /// The store.
    pub store: SharedStore,
    /// The inventory.
    pub inventory: Arc<Inventory>,
    /// The agents.
    pub fleet: Fleet,
    /// The secrets.
    pub vault: Arc<Vault>,
    /// The specifications.
    pub specs: Arc<Specs>,
}

/// The input of every verb that acts on an instance.
#[derive(Debug, Deserialize)]
pub(crate) struct OnInstance {
    pub host: Name,
    pub instance: InstanceId,
    /// The digest of the specification; not of `stop`, `drain` and `uninstall`.
    pub spec: Option<Digest>,
    /// The checks of `verify`.
    #[serde(default)]
    pub checks: Vec<Check>,
}

/// The input of `fetch`.
#[derive(Debug, Deserialize)]
pub(crate) struct OnPackage {
    pub host: Name,
    pub package: PackageId,
}

/// All verbs by name.
pub fn all(hands: &Arc<Hands>) -> Verbs {
    let mut verbs = Verbs::new();
    let ask = |task: fn(InstanceId) -> Task, follows: &'static [&'static str]| {
        let hands = hands.clone();
        Arc::new(on_host::Ask {
            hands,
            task,
            follows,
        }) as Arc<dyn Verb>
    };
    let mut add = |name: &str, verb: Arc<dyn Verb>| verbs.insert(name, verb);
    add("fetch", Arc::new(on_host::Fetch(hands.clone())));
    add("install", Arc::new(on_host::Install(hands.clone())));
    add("configure", Arc::new(on_host::Configure(hands.clone())));
    add(
        "start",
        ask(|instance| Task::Start { instance }, &["configure"]),
    );
    add(
        "ready",
        ask(|instance| Task::AwaitReady { instance }, &["start"]),
    );
    add("stop", ask(|instance| Task::Stop { instance }, &[]));
    add("uninstall", Arc::new(on_host::Uninstall(hands.clone())));
    add("verify", Arc::new(verify::Verify(hands.clone())));
    add("serve", Arc::new(traffic::Serve(hands.clone())));
    add("drain", Arc::new(traffic::Drain(hands.clone())));
    verbs
}

/// Reads a verb's input.
fn input<T: DeserializeOwned>(value: &Value) -> Result<T, StepError> {
    T::deserialize(value).map_err(|error| {
        broken(format!(
            "the step's input is not what the verb expects: {error}"
        ))
    })
}

/// A failure that the same again would not mend.
fn broken(message: impl Into<String>) -> StepError {
    StepError {
        message: message.into(),
        retry: false,
        evidence: Vec::new(),
    }
}

/// A failure that may be gone next time.
fn passing(error: impl std::fmt::Display) -> StepError {
    StepError {
        message: error.to_string(),
        retry: true,
        evidence: Vec::new(),
    }
}

fn from_fault(fault: Fault) -> StepError {
    let retry = matches!(fault.blame, Blame::Passing | Blame::Host);
    StepError {
        message: fault.message,
        retry,
        evidence: fault.evidence,
    }
}

impl Hands {
    /// Has a host's agent do a task under the step's effect key.
    async fn on(
        &self,
        host: &Name,
        context: &StepContext,
        task: Task,
    ) -> Result<Answer, StepError> {
        let mut key = fenced(context.effect_key(), context);
        if let Some(before) = &context.before {
            key = key.after(before.effect_key(), context.takes);
        }
        let answer = self
            .fleet
            .submit(host, key, task, context.deadline, context.cancel.clone())
            .await;
        match answer {
            Err(fault) if fault.blame == Blame::NotBegun => Err(context.not_begun()),
            Err(fault) if fault.blame == Blame::Host && self.is_dead(host).await? => {
                given_up(host, context, fault).await
            }
            answer => answer.map_err(from_fault),
        }
    }

    async fn is_dead(&self, host: &Name) -> Result<bool, StepError> {
        let host: Option<Host> = self
            .inventory
            .get_as(records::kind::HOST, host.as_str())
            .await
            .map_err(passing)?;
        Ok(host.is_none_or(|host| host.state == HostState::Dead))
    }

    /// A step's specification, with its digest.
    async fn spec(&self, input: &OnInstance) -> Result<(Digest, Arc<InstanceSpec>), StepError> {
        let digest = input
            .spec
            .ok_or_else(|| broken("the step names no specification"))?;
        let spec = self.specs.get(digest).await.map_err(passing)?;
        let spec =
            spec.ok_or_else(|| broken(format!("the specification {digest} is not in the store")))?;
        Ok((digest, spec))
    }

    async fn record(&self, instance: &InstanceId) -> Result<Option<InstanceRecord>, StepError> {
        records::instance(&self.inventory, instance)
            .await
            .map_err(passing)
    }
}

/// The key of a step's task, with what tells the agent that this server still has the job.
fn fenced(key: String, context: &StepContext) -> TaskKey {
    TaskKey::fenced(key, context.job, context.fence)
}

/// What becomes of a step whose host is dead. Its effect is gone with the host, so nothing is left
/// to be undone; otherwise the job gets a plan without the host, which cancels the step.
async fn given_up(host: &Name, context: &StepContext, fault: Fault) -> Result<Answer, StepError> {
    if context.undo {
        return Ok(Answer {
            message: format!("host {host} is dead, and what was there is gone"),
            ..Answer::default()
        });
    }
    tokio::select! {
        () = context.cancel.cancelled() => {}
        () = tokio::time::sleep_until(context.deadline) => {}
    }
    Err(from_fault(fault))
}

/// The record of an instance that was set up with `spec` by this step.
fn record_of(
    (digest, spec): &(Digest, Arc<InstanceSpec>),
    traffic: Traffic,
    context: &StepContext,
) -> InstanceRecord {
    InstanceRecord {
        spec_digest: *digest,
        spec: spec.as_ref().clone(),
        written_by: context.effect_key(),
        traffic,
    }
}
