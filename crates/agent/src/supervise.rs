//! Keeping a program running: start, watch, check, start again, stop.

use std::{convert::Infallible, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use wright_model::{LastExit, Operation, Phase};
use wright_package::Action;
use wright_protocol::Fault;

use crate::{
    backoff::{self, Restarts},
    cgroup::Group,
    check::{self, Reply},
    command::{self, Waiting},
    hook::{self, Hook},
    instance::Instance,
    launch::Request,
    logs,
    once::Output,
    pace::Pace,
    process::{self, Belongings, Process},
    program::Program,
    record::{BegunHook, Desired, Running},
};

const LOOK_AT_LOG: Duration = Duration::from_secs(10);

/// The task that keeps one program running.
pub(crate) struct Supervisor {
    stop: CancellationToken,
    task: JoinHandle<Result<(), Fault>>,
}

/// Where supervision begins.
pub(crate) enum Begin {
    /// The program runs.
    With(Process),
    /// The program has ended and is to be started again.
    Ended(LastExit),
}

impl Supervisor {
    pub(crate) fn begin(instance: Arc<Instance>, program: Arc<Program>, begin: Begin) -> Self {
        let stop = CancellationToken::new();
        let task = tokio::spawn(supervise(instance, program, begin, stop.clone()));
        Supervisor { stop, task }
    }

    /// Goes on stopping what an earlier agent began to stop; `None`: the program has ended.
    fn stopping(instance: Arc<Instance>, found: Option<Process>) -> Self {
        let task = tokio::spawn(async move {
            match (found, instance.program()) {
                (Some(mut process), Ok(program)) => end(&instance, &program, &mut process).await,
                _ => {
                    hook::outlast_stop(&instance).await;
                    kill_all(&instance).await?;
                    ended(&instance)
                }
            }
        });
        let stop = CancellationToken::new();
        Supervisor { stop, task }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.task.is_finished()
    }

    /// Stops the program and waits until nothing of it is left.
    pub(crate) async fn stop(self) -> Result<(), Fault> {
        self.stop.cancel();
        match self.task.await {
            Ok(result) => result,
            Err(error) => Err(Fault::new(
                wright_protocol::Blame::Host,
                format!("the supervision of the program broke off: {error}"),
            )),
        }
    }

    /// Leaves the program alone.
    pub(crate) fn detach(self) {
        self.task.abort();
    }
}

/// Starts the program, recorded before it runs.
pub(crate) async fn spawn(instance: &Instance, program: &Program) -> Result<Process, Fault> {
    let group = Group::create(&instance.group_name(), &program.spec.limits);
    let mut request = program.request(&program.start_command())?;
    request.groups = group.entrances();
    request.log = Some(instance.dirs.output_log());
    let waiting = Waiting::spawn(&instance.host.settings)?;
    let running = Running {
        process: waiting.identity.clone(),
        spec: program.digest,
        package: program.spec.package.digest,
    };
    instance.commit(|record| {
        record.running = Some(running);
        record.enter(Phase::Starting);
    })?;
    let (mut process, output) = waiting.go(&Request::Become(request)).await?;
    match command::started(output).await {
        Ok(()) => Ok(process),
        Err(fault) => {
            process.ended().await;
            instance.note(|record| record.running = None);
            Err(fault)
        }
    }
}

/// Ends everything that belongs to an instance now, but a hook that runs.
pub(crate) async fn kill_all(instance: &Instance) -> Result<(), Fault> {
    let record = instance.record();
    let group = instance.group();
    let session = record.running.as_ref().map(|running| &running.process);
    Belongings {
        session,
        group: Some(&group),
        user: record.user,
        spare: record.hook.as_ref().map(|hook| &hook.keeper),
    }
    .kill()
    .await
}

async fn supervise(
    instance: Arc<Instance>,
    program: Arc<Program>,
    mut begin: Begin,
    stop: CancellationToken,
) -> Result<(), Fault> {
    let mut restarts = Restarts::default();
    loop {
        let (exit, ran) = match begin {
            Begin::Ended(exit) => (exit, Duration::ZERO),
            Begin::With(mut process) => {
                let started = Instant::now();
                let kills = instance.group().out_of_memory_kills();
                tokio::select! {
                    exit = process.ended() => {
                        let ran = started.elapsed();
                        describe_end(&instance, &program, &exit, ran, kills);
                        (exit, ran)
                    }
                    () = stop.cancelled() => return end(&instance, &program, &mut process).await,
                    never = probe(&instance, &program) => match never {},
                    never = watch_log(&instance) => match never {},
                }
            }
        };
        // What the program has left behind must not be in the way of its successor.
        if let Err(fault) = kill_all(&instance).await {
            instance.note(|record| record.last_error = fault.message);
        }
        instance.note(|record| {
            record.last_exit = Some(exit);
            record.running = None;
            record.enter(Phase::Backoff);
        });
        begin = loop {
            let delay = restarts.after(ran);
            tokio::select! {
                () = sleep(delay) => {}
                () = stop.cancelled() => return ended(&instance),
            }
            instance.note(|record| record.count_restart(Timestamp::now()));
            match spawn(&instance, &program).await {
                Ok(process) => break Begin::With(process),
                Err(fault) => instance.note(|record| {
                    record.last_error = fault.message;
                    record.enter(Phase::Backoff);
                }),
            }
        };
    }
}

fn describe_end(
    instance: &Instance,
    program: &Program,
    exit: &LastExit,
    ran: Duration,
    kills_before: u64,
) {
    let was_ready = matches!(instance.record().phase, Phase::Ready | Phase::Unready);
    let killed_for_memory = instance.group().out_of_memory_kills() > kills_before;
    let mut what = if killed_for_memory {
        format!(
            "killed by the kernel: it needed more than its {} of memory",
            program.spec.limits.memory
        )
    } else {
        format!("{exit} {:.1} s after the start", ran.as_secs_f64())
    };
    let last = logs::tail(&instance.dirs, 1)
        .ok()
        .and_then(|(lines, _)| lines.into_iter().next());
    if let Some(line) = last.filter(|line| !line.trim().is_empty()) {
        what.push_str("; last line: ");
        what.extend(line.chars().take(200));
    }
    instance.note(|record| record.last_error = what);
    instance.see(|seen| {
        seen.last_run = ran;
        if !was_ready {
            seen.early_exits += 1;
        }
    });
}

/// Stops the program: asks it, waits, kills what is left of it.
async fn end(instance: &Instance, program: &Program, process: &mut Process) -> Result<(), Fault> {
    let operation = program.manifest.operation(Operation::Stop);
    let timeout = operation.timeout.duration();
    let run = process.identity.key();
    match operation.action {
        Action::Command(_) => {
            let asked = match Hook::of(program, Operation::Stop, &run) {
                Some(hook) => {
                    hook.run(instance, program, &Output::nowhere(), |_| {})
                        .await
                }
                None => Ok(()),
            };
            if let Err(fault) = asked {
                instance.note(|record| record.last_error = fault.message);
            }
        }
        // Only the program itself is asked: what it has started it ends in its own order.
        Action::Signal(signal) => process::signal(process.identity.pid, signal.number()),
        _ => process::signal(process.identity.pid, wright_package::Signal::Term.number()),
    }
    let exit = tokio::time::timeout(timeout, process.ended()).await;
    kill_all(instance).await?;
    let exit = match exit {
        Ok(exit) => exit,
        Err(_) => process.ended().await,
    };
    instance.note(|record| record.last_exit = Some(exit));
    ended(instance)
}

/// Records that nothing runs any more.
pub(crate) fn ended(instance: &Instance) -> Result<(), Fault> {
    instance.group().remove();
    let run = instance.record().running;
    instance.commit(|record| {
        record.running = None;
        record.hook.take_if(|hook| hook.is_stop());
        record.desired = Desired::Stopped;
        record.enter(Phase::Stopped);
    })?;
    if let Some(run) = run {
        hook::forget(&instance.host.layout, &run.process.key());
    }
    Ok(())
}

/// Takes up what an earlier agent has left: adopts a program that runs, starts one that should
/// run, ends one that should not.
pub(crate) async fn resume(instance: &Arc<Instance>) -> Result<(), Fault> {
    let record = instance.record();
    let found = match &record.running {
        Some(running) => Process::adopt(&running.process).map_err(|error| {
            Fault::new(
                wright_protocol::Blame::Host,
                format!("cannot watch a process: {error}"),
            )
        })?,
        None => None,
    };
    if record.desired == Desired::Stopped {
        let stop_left = record.hook.as_ref().is_some_and(BegunHook::is_stop);
        if found.is_some() || stop_left {
            let supervisor = Supervisor::stopping(instance.clone(), found);
            instance.supervised_by(supervisor);
        } else if record.running.is_some() || record.phase != Phase::Installed {
            kill_all(instance).await?;
            ended(instance)?;
        }
        return Ok(());
    }
    let program = instance.program()?;
    let begin = match found {
        Some(process) => Begin::With(process),
        None => {
            let exit = LastExit {
                at: Timestamp::now(),
                code: None,
                signal: None,
            };
            instance.note(|record| {
                record.last_error = exit.to_string();
                record.enter(Phase::Backoff);
            });
            Begin::Ended(exit)
        }
    };
    instance.supervised_by(Supervisor::begin(instance.clone(), program, begin));
    Ok(())
}

/// Checks for as long as the program runs.
async fn probe(instance: &Instance, program: &Program) -> Infallible {
    let probe = &program.spec.ready;
    let settings = &instance.host.settings;
    let was_ready = matches!(instance.record().phase, Phase::Ready | Phase::Unready);
    let mut pace = Pace::new(probe, was_ready);
    loop {
        let answer = check::ask(settings, program, &probe.check, probe.timeout.duration()).await;
        let said = answer.and_then(Reply::verdict);
        let line = said.as_ref().unwrap_or_else(|why| why).clone();
        // Only a change is worth waking those who watch.
        if instance.watch().borrow().last_check != line {
            instance.see(|seen| seen.last_check = line);
        }
        match said {
            Ok(_) => {
                pace.good();
                instance.note(|record| {
                    record.enter(Phase::Ready);
                    record.flapping =
                        backoff::is_flapping(&mut record.recent_restarts, Timestamp::now());
                });
            }
            Err(why) if pace.bad() => instance.note(|record| {
                record.enter(Phase::Unready);
                record.last_error = why;
            }),
            Err(_) => {}
        }
        // Not all instances of a host at once.
        sleep(pace.wait().mul_f64(rand::random_range(0.9..1.1))).await;
    }
}

async fn watch_log(instance: &Instance) -> Infallible {
    loop {
        sleep(LOOK_AT_LOG).await;
        if let Err(error) = logs::rotate(&instance.dirs, instance.host.settings.log) {
            tracing::warn!(instance = %instance.id, %error, "cannot rotate the log");
        }
    }
}
