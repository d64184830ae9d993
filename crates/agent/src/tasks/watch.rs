//! Tasks that only look.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use wright_model::{Check, CheckKind, InstanceId, Phase};
use wright_protocol::{Answer, Blame, Fault, TaskAnswer};

use super::said;
use crate::{
    check::{self, Reply},
    error::host_fault,
    executor::Shared,
    instance::{Instance, Seen},
    logs,
    once::Output,
};

/// A program that ended so often without having been ready is not waited for any longer.
const HOPELESS: u32 = 3;
const ASK_AGAIN: Duration = Duration::from_millis(250);

/// Answers when the program is ready, or when it is clear that it will not be.
///
/// The task's own deadline counts here too, so that its answer names what the last check said.
pub(super) async fn await_ready(
    shared: &Shared,
    id: &InstanceId,
    deadline: Option<Duration>,
) -> TaskAnswer {
    let asked = Instant::now();
    let instance = shared.get(id)?;
    let program = instance.program()?;
    let within = program.spec.ready_within.duration();
    let mut watch = instance.watch();
    loop {
        let seen = watch.borrow_and_update().clone();
        if let Some(answer) = verdict(&instance, &seen) {
            return answer;
        }
        let of_program = seen.told + within;
        let end = deadline.map_or(of_program, |deadline| of_program.min(asked + deadline));
        let late = tokio::time::sleep_until(end);
        tokio::select! {
            changed = watch.changed() => if changed.is_err() {
                return Err(Fault::new(Blame::Request, format!("{id} was uninstalled")));
            },
            () = late => return Err(too_late(&instance, end - seen.told)),
        }
    }
}

fn verdict(instance: &Instance, seen: &Seen) -> Option<TaskAnswer> {
    let id = &instance.id;
    match seen.phase {
        Phase::Ready => Some(Ok(said(seen.last_check.clone()))),
        Phase::Installed | Phase::Stopped => {
            let error = instance.record().last_error;
            let why = if error.is_empty() {
                String::new()
            } else {
                format!(": {error}")
            };
            Some(Err(Fault::new(
                Blame::Request,
                format!("{id} does not run{why}"),
            )))
        }
        _ if seen.early_exits >= HOPELESS => {
            let record = instance.record();
            let how = match record.last_exit {
                Some(exit) => format!(
                    "{exit} {:.1} s after the start",
                    seen.last_run.as_secs_f64()
                ),
                None => record.last_error,
            };
            let message = format!("{id} {how} ({} times)", seen.early_exits);
            let fault = Fault::new(Blame::Program, message);
            Some(Err(fault.with_evidence(logs::evidence(&instance.dirs))))
        }
        _ => None,
    }
}

fn too_late(instance: &Instance, waited: Duration) -> Fault {
    let seen = instance.watch().borrow().clone();
    let record = instance.record();
    let why = match (seen.phase, seen.last_check.as_str()) {
        (Phase::Backoff, _) => record.last_error,
        (_, "") => "no check has come to an end".to_owned(),
        (_, said) => said.to_owned(),
    };
    let message = format!(
        "{} was not ready {:.1} s after its start: {why}",
        instance.id,
        waited.as_secs_f64()
    );
    Fault::new(Blame::Deadline, message).with_evidence(logs::evidence(&instance.dirs))
}

/// The `monitor` operation.
pub(super) async fn monitor(instance: &Instance) -> TaskAnswer {
    let program = instance.program()?;
    if instance.record().running.is_none() {
        return Err(Fault::new(
            Blame::Program,
            format!("{} does not run", instance.id),
        ));
    }
    let timeout = program
        .manifest
        .operation(wright_model::Operation::Monitor)
        .timeout
        .duration();
    let settings = &instance.host.settings;
    let reply = check::ask(settings, &program, &CheckKind::Monitor, timeout).await;
    match reply.and_then(Reply::verdict) {
        Ok(says) => Ok(said(says)),
        Err(why) => Err(Fault::new(Blame::Program, why)),
    }
}

/// Asks until the answer is what is expected or the time is over; the last answer counts, and the
/// caller judges it.
pub(super) async fn check(shared: &Shared, id: &InstanceId, check: &Check) -> TaskAnswer {
    let instance = shared.get(id)?;
    let program = instance.program()?;
    let end = Instant::now() + check.within.duration();
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let reply = check::ask(&shared.host.settings, &program, &check.check, left).await;
        let is_last = Instant::now() + ASK_AGAIN >= end;
        match reply {
            Ok(Reply {
                says,
                observation,
                wrong,
            }) if wrong.is_none() || is_last => {
                let judged_here = !matches!(check.check, CheckKind::Http(_));
                if let (Some(wrong), true) = (wrong, judged_here) {
                    return Err(Fault::new(Blame::Program, format!("{says}: {wrong}")));
                }
                let lines = Vec::new();
                return Ok(Answer {
                    message: says,
                    observation: Some(observation),
                    lines,
                });
            }
            Err(why) if is_last => return Err(Fault::new(Blame::Program, why)),
            _ => sleep(ASK_AGAIN).await,
        }
    }
}

/// Sends the log's last lines and, if asked, what comes after them.
pub(super) async fn logs(
    shared: &Shared,
    id: &InstanceId,
    lines: u32,
    follow: bool,
    output: &Output,
) -> TaskAnswer {
    let instance = shared.get(id)?;
    let log = instance.dirs.output_log();
    let (found, offset) = logs::tail(&instance.dirs, usize::try_from(lines).unwrap_or(usize::MAX))
        .map_err(host_fault("read", &log))?;
    for some in found.chunks(256) {
        output.send((some.join("\n") + "\n").into_bytes()).await;
    }
    if follow {
        logs::follow(&instance.dirs, offset, output)
            .await
            .map_err(host_fault("read", &log))?;
    }
    Ok(said(""))
}
