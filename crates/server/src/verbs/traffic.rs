//! Verbs that decide whether others are sent to an instance.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use wright_model::{InstanceId, Traffic};
use wright_workflow::{Outcome, StepContext, StepError, Verb};

use super::{Hands, OnInstance, broken, input, passing, record_of};
use crate::records;

pub(super) struct Serve(pub Arc<Hands>);
pub(super) struct Drain(pub Arc<Hands>);

#[async_trait]
impl Verb for Serve {
    async fn run(&self, context: &StepContext, value: &Value) -> Result<Outcome, StepError> {
        let on: OnInstance = input(value)?;
        if let Some(before) = &context.before
            && !before.succeeded().await
        {
            return Err(context.not_begun());
        }
        // Not read: what wrote the record last may be in the same commit.
        let spec = self.0.spec(&on).await?;
        let record = record_of(&spec, Traffic::On, context);
        let writes = records::put_instance(&record).map_err(passing)?;
        Ok(Outcome {
            writes,
            ..Outcome::default()
        })
    }

    fn follows(&self, before: &str) -> bool {
        ["ready", "verify"].contains(&before)
    }
}

#[async_trait]
impl Verb for Drain {
    async fn run(&self, context: &StepContext, value: &Value) -> Result<Outcome, StepError> {
        let on: OnInstance = input(value)?;
        self.withdraw(context, &on.instance).await?;
        Ok(Outcome::default())
    }
}

impl Drain {
    /// Out of the table, and every agent that is there knows it.
    async fn withdraw(
        &self,
        context: &StepContext,
        instance: &InstanceId,
    ) -> Result<(), StepError> {
        let known = records::instance_with_revision(&self.0.inventory, instance)
            .await
            .map_err(passing)?;
        let Some((mut record, mut revision)) = known else {
            return Ok(());
        };
        if record.traffic != Traffic::Draining {
            record.traffic = Traffic::Draining;
            record.written_by = context.effect_key();
            let writes = records::put_instance(&record).map_err(passing)?;
            revision = self
                .0
                .store
                .commit(Vec::new(), writes)
                .await
                .map_err(passing)?;
        }
        tokio::select! {
            known = self.0.fleet.wait_applied(revision, context.deadline) => known.map_err(passing),
            () = context.cancel.cancelled() => Err(broken("cancelled")),
        }
    }
}
