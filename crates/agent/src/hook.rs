//! Hooks, each run once for its key, also beside agents that are killed.
//!
//! A hook runs under a [keeper](crate::keeper), which is recorded before it is told to begin and
//! leaves a file named by the key. An agent that comes later finds that file; or the keeper still at
//! it, and waits for it; or neither, and then the hook was never begun.

use std::{collections::BTreeSet, io, path::PathBuf, sync::atomic::Ordering, time::Duration};

use wright_model::{Digest, Operation};
use wright_package::Action;
use wright_protocol::{Blame, Fault};

use crate::{
    Layout,
    command::{self, Waiting},
    durable,
    error::host_fault,
    instance::{Host, Instance},
    keeper::{Ending, Keep},
    launch::Request,
    once::Output,
    process::{Belongings, Identity, Process},
    program::Program,
    record::{BegunHook, Record},
};

/// A command of the package that changes something.
pub(crate) struct Hook<'a> {
    operation: Operation,
    argv: Vec<String>,
    timeout: Duration,
    /// For this key it is run once: the task's, or that of the run which it stops.
    key: &'a str,
}

impl<'a> Hook<'a> {
    /// The package's own command for an operation, if it has one.
    pub(crate) fn of(program: &Program, operation: Operation, key: &'a str) -> Option<Self> {
        let own = program.manifest.operation(operation);
        let Action::Command(argv) = own.action else {
            return None;
        };
        Some(Hook {
            operation,
            argv,
            timeout: own.timeout.duration(),
            key,
        })
    }

    /// Runs it, or takes how it ended where it was run. What its success means is recorded by
    /// `effect`. Given up, the hook ends; when the agent ends, it goes on.
    pub(crate) async fn run(
        &self,
        instance: &Instance,
        program: &Program,
        output: &Output,
        effect: impl FnOnce(&mut Record),
    ) -> Result<(), Fault> {
        let ending = match self.known(instance, program).await? {
            Some(ending) => ending,
            None => self.begin(instance, program, output).await?,
        };
        match self.verdict(program, ending) {
            Ok(()) => instance.commit(|record| {
                record.hook = None;
                effect(record);
            }),
            Err(fault) => {
                instance.note(|record| record.hook = None);
                Err(fault)
            }
        }
    }

    /// How it ended, if it was begun before.
    async fn known(&self, instance: &Instance, program: &Program) -> Result<Option<Ending>, Fault> {
        let asked = self.ending(instance);
        let before = read(&asked)?;
        let Some(begun) = instance.record().hook.filter(|_| before.is_none()) else {
            return Ok(before);
        };
        outlast(instance, &begun).await;
        let path = ending(&instance.host.layout, &begun.key, instance, begun.operation);
        let Some(found) = read(&path)? else {
            // Never begun, or killed with its keeper.
            Belongings::session(&begun.keeper).kill().await?;
            return Ok(None);
        };
        // What these do lasts, whoever asked for it.
        let lasts = matches!(self.operation, Operation::Install | Operation::Uninstall)
            && (begun.operation, begun.package) == (self.operation, program.spec.package.digest)
            && found.is_success();
        Ok((path == asked || lasts).then_some(found))
    }

    async fn begin(
        &self,
        instance: &Instance,
        program: &Program,
        output: &Output,
    ) -> Result<Ending, Fault> {
        let path = self.ending(instance);
        let request = Request::Keep(Keep {
            hook: program.request(&self.argv)?,
            timeout: self.timeout,
            ending: path.clone(),
        });
        let waiting = Waiting::spawn(&instance.host.settings)?;
        let begun = BegunHook {
            operation: self.operation,
            package: program.spec.package.digest,
            key: self.key.to_owned(),
            keeper: waiting.identity.clone(),
        };
        instance.commit(|record| record.hook = Some(begun))?;
        let identity = waiting.identity.clone();
        let mut kept = Kept::new(instance, &identity);
        let (mut process, pipe) = waiting.go(&request).await?;
        // The keeper itself sees to the time.
        let (exit, said) =
            command::attend(process.ended(), pipe, Duration::MAX, Some(output)).await;
        kept.has_ended = true;
        if let Some(ending) = read(&path)? {
            return Ok(ending);
        }
        Belongings::session(&identity).kill().await?;
        let why = command::refusal(&said)
            .or_else(|| exit.map(|exit| format!("its keeper {exit}")))
            .unwrap_or_default();
        let package = &program.spec.package;
        let message = format!("how {} of {package} ended is lost: {why}", self.operation);
        Err(Fault::new(Blame::Host, message))
    }

    fn verdict(&self, program: &Program, ending: Ending) -> Result<(), Fault> {
        let what = format!("{} of {}", self.operation, program.spec.package);
        match ending {
            ending if ending.is_success() => Ok(()),
            Ending::Exited { exit, last_lines } => {
                let fault = Fault::new(Blame::Program, format!("{what} {exit}"));
                Err(fault.with_evidence(last_lines))
            }
            Ending::TooLate => {
                let message = format!("{what} took longer than {:?}", self.timeout);
                Err(Fault::new(Blame::Deadline, message))
            }
            Ending::NotRun(why) => Err(Fault::new(Blame::Program, why)),
        }
    }

    fn ending(&self, instance: &Instance) -> PathBuf {
        ending(&instance.host.layout, self.key, instance, self.operation)
    }
}

impl Ending {
    fn is_success(&self) -> bool {
        matches!(self, Ending::Exited { exit, .. } if exit.code == Some(0))
    }
}

/// Ends a hook that nobody waits for any more, unless the agent itself ends.
struct Kept<'a> {
    host: &'a Host,
    keeper: &'a Identity,
    has_ended: bool,
}

impl<'a> Kept<'a> {
    fn new(instance: &'a Instance, keeper: &'a Identity) -> Self {
        Kept {
            host: &instance.host,
            keeper,
            has_ended: false,
        }
    }
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        if !self.has_ended && !self.host.is_leaving.load(Ordering::Relaxed) {
            Belongings::session(self.keeper).kill_now();
        }
    }
}

/// Waits for a hook that an earlier agent has left. Its keeper sees to the time.
async fn outlast(instance: &Instance, begun: &BegunHook) {
    let mut kept = Kept::new(instance, &begun.keeper);
    if let Ok(Some(mut process)) = Process::adopt(&begun.keeper) {
        process.ended().await;
    }
    kept.has_ended = true;
}

/// Waits for a `stop` that an earlier agent has left, of a program that has ended.
pub(crate) async fn outlast_stop(instance: &Instance) {
    if let Some(begun) = instance.record().hook.filter(BegunHook::is_stop) {
        outlast(instance, &begun).await;
    }
}

/// Ends a hook that an earlier agent has left: the instance goes.
pub(crate) async fn end_left(instance: &Instance) -> Result<(), Fault> {
    match instance.record().hook {
        Some(begun) if begun.operation != Operation::Uninstall => {
            Belongings::session(&begun.keeper).kill().await
        }
        _ => Ok(()),
    }
}

fn mark(key: &str) -> String {
    Digest::of(key.as_bytes()).to_string()
}

fn ending(layout: &Layout, key: &str, instance: &Instance, operation: Operation) -> PathBuf {
    let id = &instance.id;
    let name = format!("{}.{}.{}.{operation}", mark(key), id.site, id.name);
    layout.hooks().join(name)
}

fn read(path: &std::path::Path) -> Result<Option<Ending>, Fault> {
    durable::read_json(path).map_err(host_fault("read", path))
}

/// Forgets how the hooks of this key ended: it is recorded elsewhere.
pub(crate) fn forget(layout: &Layout, key: &str) {
    let mark = mark(key);
    if let Err(error) = remove(layout, |name| name.starts_with(&mark)) {
        // The next agent tries again.
        tracing::warn!(%error, "cannot remove how a hook ended");
    }
}

/// Forgets how hooks ended but those of these keys.
pub(crate) fn forget_but<'a>(
    layout: &Layout,
    keys: impl Iterator<Item = &'a str>,
) -> io::Result<()> {
    let marks: BTreeSet<_> = keys.map(mark).collect();
    // One that is being written stands beside its place, with a dot before its name.
    let of_key = |name: &str| {
        let name = name.trim_start_matches('.');
        marks.contains(name.split('.').next().unwrap_or_default())
    };
    remove(layout, |name| !of_key(name))
}

fn remove(layout: &Layout, which: impl Fn(&str) -> bool) -> io::Result<()> {
    for entry in std::fs::read_dir(layout.hooks())? {
        let entry = entry?;
        if which(&entry.file_name().to_string_lossy()) {
            durable::remove(&entry.path())?;
        }
    }
    Ok(())
}
