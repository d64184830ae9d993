use std::sync::Arc;

use wright_model::{InstanceId, Operation};
use wright_package::Action;
use wright_protocol::{Answer, Blame, Fault, TaskAnswer};

use super::{run, said, watch};
use crate::{
    command, durable, errand::Errand, error::host_fault, executor::Shared, hook::Hook,
    instance::Instance, logs, once::Output,
};

/// One of the operations that a person may ask for.
pub(super) async fn operate(
    shared: &Shared,
    id: &InstanceId,
    operation: Operation,
    key: &str,
    output: &Output,
) -> TaskAnswer {
    if operation == Operation::Stop {
        return run::stop(shared, id).await;
    }
    let instance = shared.get(id)?;
    match operation {
        Operation::Start => run::start(shared, id).await,
        Operation::Monitor => watch::monitor(&instance).await,
        Operation::Checksum => checksum(shared, &instance, output).await,
        Operation::Restart => {
            let _work = instance.work.lock().await;
            restart(shared, &instance, key, output).await
        }
        Operation::Diskclear => {
            let _work = instance.work.lock().await;
            diskclear(&instance, key, output).await
        }
        Operation::Install | Operation::Uninstall | Operation::Stop => Err(Fault::new(
            Blame::Request,
            format!("{operation} is part of a site's build and not done alone"),
        )),
    }
}

async fn restart(
    shared: &Shared,
    instance: &Arc<Instance>,
    key: &str,
    output: &Output,
) -> TaskAnswer {
    let program = instance.program()?;
    match Hook::of(&program, Operation::Restart, key) {
        Some(hook) if instance.is_supervised() => {
            hook.run(instance, &program, output, |_| {}).await?;
            Ok(said(format!("{} is restarted", instance.id)))
        }
        _ => {
            run::stop_now(instance).await?;
            run::start_now(shared, instance).await
        }
    }
}

async fn diskclear(instance: &Instance, key: &str, output: &Output) -> TaskAnswer {
    let program = instance.program()?;
    if let Some(hook) = Hook::of(&program, Operation::Diskclear, key) {
        hook.run(instance, &program, output, |_| {}).await?;
    } else if let Action::Clear(paths) = program.manifest.operation(Operation::Diskclear).action {
        for path in paths {
            empty(&instance.dirs.home.join(&path), &instance.dirs.output_log())?;
        }
    }
    logs::remove_rotated(&instance.dirs).map_err(host_fault("clear", &instance.dirs.log))?;
    Ok(said(format!(
        "{}: what can be spared is removed",
        instance.id
    )))
}

/// Empties a directory; the log that the program has open stays.
fn empty(directory: &std::path::Path, spare: &std::path::Path) -> Result<(), Fault> {
    if !std::fs::symlink_metadata(directory).is_ok_and(|found| found.is_dir()) {
        return Ok(());
    }
    let entries = std::fs::read_dir(directory).map_err(host_fault("list", directory))?;
    for entry in entries.flatten().filter(|entry| entry.path() != spare) {
        durable::remove(&entry.path()).map_err(host_fault("remove", &entry.path()))?;
    }
    Ok(())
}

async fn checksum(shared: &Shared, instance: &Instance, output: &Output) -> TaskAnswer {
    let program = instance.program()?;
    let own = program.manifest.operation(Operation::Checksum);
    if let Action::Command(argv) = own.action {
        let (what, timeout) = (argv.join(" "), own.timeout.duration());
        let request = program.request(&argv)?;
        let settings = &shared.host.settings;
        match command::run_check(settings, request, timeout, Some(output)).await? {
            Some(finished) if finished.succeeded() => {}
            Some(finished) => {
                let fault = Fault::new(Blame::Program, format!("`{what}` {}", finished.exit));
                return Err(fault.with_evidence(finished.last_lines(20)));
            }
            None => {
                let message = format!("`{what}` took longer than {timeout:?}");
                return Err(Fault::new(Blame::Deadline, message));
            }
        }
    }
    let digest = program.spec.package.digest;
    let (directory, archive) = (
        shared.host.layout.package(&digest),
        shared.host.layout.archive(&digest),
    );
    let errand = Errand::Checksum { directory, archive };
    let lines = errand.run(&shared.host.settings).await?;
    let package = &program.spec.package;
    let message = match lines.len() {
        0 => format!("{package} is as it was shipped"),
        1 => format!("{package}: 1 difference from what was shipped"),
        count => format!("{package}: {count} differences from what was shipped"),
    };
    Ok(Answer {
        message,
        observation: None,
        lines,
    })
}
