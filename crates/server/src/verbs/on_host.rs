//! Verbs that an agent carries out.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use wright_model::{InstanceId, InstanceSpec, Traffic};
use wright_protocol::{Answer, Task};
use wright_workflow::{Outcome, StepContext, StepError, Verb};

use super::{Hands, OnInstance, OnPackage, broken, input, passing, record_of};
use crate::{records, secrets::VaultError};

pub(super) struct Fetch(pub Arc<Hands>);
pub(super) struct Install(pub Arc<Hands>);
pub(super) struct Configure(pub Arc<Hands>);
pub(super) struct Uninstall(pub Arc<Hands>);
/// A verb that is one task for the instance, and records nothing.
pub(super) struct Ask {
    pub hands: Arc<Hands>,
    pub task: fn(InstanceId) -> Task,
    /// The verbs that it may follow on its host.
    pub follows: &'static [&'static str],
}

fn said(answer: Answer) -> Outcome {
    Outcome {
        output: json!({ "message": answer.message }),
        writes: Vec::new(),
    }
}

#[async_trait]
impl Verb for Fetch {
    async fn run(&self, context: &StepContext, value: &Value) -> Result<Outcome, StepError> {
        let OnPackage { host, package } = input(value)?;
        self.0
            .on(&host, context, Task::Fetch { package })
            .await
            .map(said)
    }
}

#[async_trait]
impl Verb for Install {
    async fn run(&self, context: &StepContext, value: &Value) -> Result<Outcome, StepError> {
        let on: OnInstance = input(value)?;
        let spec = self.0.spec(&on).await?;
        let bare = InstanceSpec {
            files: Vec::new(),
            ..spec.1.as_ref().clone()
        };
        let answer = self
            .0
            .on(
                &on.host,
                context,
                Task::Install {
                    spec: Box::new(bare),
                },
            )
            .await?;
        let mut outcome = said(answer);
        // An update installs side by side: the record changes when the instance does.
        let known = self.0.record(&on.instance).await?;
        if known.is_none_or(|known| known.spec.host != on.host) {
            let record = record_of(&spec, Traffic::Off, context);
            outcome.writes = records::put_instance(&record).map_err(passing)?;
        }
        Ok(outcome)
    }

    fn follows(&self, before: &str) -> bool {
        before == "fetch"
    }
}

#[async_trait]
impl Verb for Configure {
    async fn run(&self, context: &StepContext, value: &Value) -> Result<Outcome, StepError> {
        let on: OnInstance = input(value)?;
        let spec = self.0.spec(&on).await?;
        let filled = self.fill(&spec.1).await.map_err(|error| match error {
            VaultError::Store(error) => passing(error),
            error => broken(error.to_string()),
        })?;
        let answer = self
            .0
            .on(
                &on.host,
                context,
                Task::Configure {
                    spec: Box::new(filled),
                },
            )
            .await?;
        // An instance that is new on its host is recorded so by its `install`. This may follow that at
        // once: then what is read here is not there yet, or tells of the host where it was before.
        let known = self.0.record(&on.instance).await?;
        let Some(known) = known.filter(|known| known.spec.host == on.host) else {
            return Ok(said(answer));
        };
        if known.spec_digest == spec.0 {
            return Ok(said(answer));
        }
        let record = record_of(&spec, known.traffic, context);
        let writes = records::put_instance(&record).map_err(passing)?;
        Ok(Outcome {
            writes,
            ..said(answer)
        })
    }

    fn follows(&self, before: &str) -> bool {
        ["install", "stop"].contains(&before)
    }
}

impl Configure {
    /// The specification with its secrets put in.
    async fn fill(&self, spec: &InstanceSpec) -> Result<InstanceSpec, VaultError> {
        let mut filled = spec.clone();
        for file in &mut filled.files {
            file.content = self.0.vault.fill(&spec.id.site, &file.content).await?;
        }
        for value in filled.env.values_mut() {
            *value = self.0.vault.fill(&spec.id.site, value).await?;
        }
        Ok(filled)
    }
}

#[async_trait]
impl Verb for Ask {
    async fn run(&self, context: &StepContext, value: &Value) -> Result<Outcome, StepError> {
        let on: OnInstance = input(value)?;
        self.hands
            .on(&on.host, context, (self.task)(on.instance))
            .await
            .map(said)
    }

    fn follows(&self, before: &str) -> bool {
        self.follows.contains(&before)
    }
}

#[async_trait]
impl Verb for Uninstall {
    async fn run(&self, context: &StepContext, value: &Value) -> Result<Outcome, StepError> {
        let on: OnInstance = input(value)?;
        let instance = on.instance.clone();
        let answer = self
            .0
            .on(
                &on.host,
                context,
                Task::Uninstall {
                    instance: on.instance,
                },
            )
            .await?;
        let mut outcome = said(answer);
        // A record that already tells of another host is not this step's to remove.
        let known = self.0.record(&instance).await?;
        if known.is_some_and(|known| known.spec.host == on.host) {
            outcome.writes = records::delete_instance(&instance);
        }
        Ok(outcome)
    }

    fn follows(&self, before: &str) -> bool {
        before == "stop"
    }
}
