use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use wright_model::{InstanceId, Phase};
use wright_protocol::{Fault, TaskAnswer};

use super::said;
use crate::{
    executor::Shared,
    instance::Instance,
    process::Process,
    record::Desired,
    supervise::{self, Begin, Supervisor},
};

/// Runs it with what is configured.
pub(super) async fn start(shared: &Shared, id: &InstanceId) -> TaskAnswer {
    let instance = shared.get(id)?;
    let _work = instance.work.lock().await;
    start_now(shared, &instance).await
}

pub(super) async fn start_now(shared: &Shared, instance: &Arc<Instance>) -> TaskAnswer {
    let program = instance.program()?;
    let record = instance.record();
    let same = record
        .running
        .as_ref()
        .is_some_and(|running| running.spec == program.digest);
    // One that waits for its back-off is started anew at once: somebody asks for it.
    let is_to_run = record.desired == Desired::Running && record.phase != Phase::Backoff;
    if same && is_to_run && instance.is_supervised() {
        return Ok(said(format!("{} runs already", instance.id)));
    }
    let before = instance.uses();
    stop_now(instance).await?;
    // What ran until now may have been the last to need its package.
    shared.sweep(before).await;
    instance.commit(crate::record::Record::begin_anew)?;
    instance.see(|seen| {
        seen.told = Instant::now();
        seen.early_exits = 0;
        seen.last_run = Duration::ZERO;
        seen.last_check.clear();
    });
    match supervise::spawn(instance, &program).await {
        Ok(process) => {
            let pid = process.identity.pid;
            let supervisor = Supervisor::begin(instance.clone(), program, Begin::With(process));
            instance.supervised_by(supervisor);
            Ok(said(format!("{} runs as process {pid}", instance.id)))
        }
        Err(fault) => {
            supervise::ended(instance)?;
            instance.note(|record| fault.message.clone_into(&mut record.last_error));
            Err(fault)
        }
    }
}

/// Ends it and does not start it again.
pub(super) async fn stop(shared: &Shared, id: &InstanceId) -> TaskAnswer {
    let Some(instance) = shared.find(id) else {
        return Ok(said(format!("{id} is not here")));
    };
    let _work = instance.work.lock().await;
    stop_now(&instance).await?;
    Ok(said(format!("{id} is stopped")))
}

pub(super) async fn stop_now(instance: &Instance) -> Result<(), Fault> {
    if instance.record().desired != Desired::Stopped {
        instance.commit(|record| record.desired = Desired::Stopped)?;
    }
    if let Some(supervisor) = instance.take_supervisor() {
        return supervisor.stop().await;
    }
    let record = instance.record();
    let Some(running) = &record.running else {
        return Ok(());
    };
    // Nobody watches over it: an earlier stop was given up, or the agent died in a start.
    if matches!(Process::adopt(&running.process), Ok(Some(_))) {
        supervise::kill_all(instance).await?;
    }
    supervise::ended(instance)
}
