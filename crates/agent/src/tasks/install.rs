use std::{os::unix::fs::PermissionsExt, path::Path, sync::Arc};

use wright_model::{InstanceId, InstanceSpec, Operation, PackageId};
use wright_package::Manifest;
use wright_protocol::{Blame, Fault, TaskAnswer};

use super::{run, said};
use crate::{
    durable::{self, Owner},
    error::{host_fault, package_fault},
    executor::Shared,
    hook::{self, Hook},
    instance::{Host, Instance},
    once::Output,
    program::Program,
    record::Record,
};

/// Unpacks the package and runs its `install`, beside what runs now.
pub(super) async fn install(
    shared: &Shared,
    spec: &InstanceSpec,
    key: &str,
    output: &Output,
) -> TaskAnswer {
    let (instance, _work) = take(shared, &spec.id).await?;
    let prepared = prepare(shared, &instance, spec, key, output).await;
    if prepared.is_err() {
        undo(shared, &instance, &spec.package).await;
    }
    prepared
}

/// The instance, made if it is not there, for one task alone.
async fn take(
    shared: &Shared,
    id: &InstanceId,
) -> Result<(Arc<Instance>, tokio::sync::OwnedMutexGuard<()>), Fault> {
    loop {
        let instance = shared.get_or_create(id)?;
        let work = instance.work.clone().lock_owned().await;
        // It may have been uninstalled while we waited.
        if shared
            .find(id)
            .is_some_and(|found| Arc::ptr_eq(&found, &instance))
        {
            return Ok((instance, work));
        }
    }
}

async fn prepare(
    shared: &Shared,
    instance: &Instance,
    spec: &InstanceSpec,
    key: &str,
    output: &Output,
) -> TaskAnswer {
    let package = &spec.package;
    // Before anything is unpacked, so that nobody takes it for unused.
    instance.commit(|record| {
        record.packages.insert(package.digest);
    })?;
    shared.packages.unpack(package).await?;
    let manifest =
        Manifest::of_dir(&shared.host.layout.package(&package.digest)).map_err(package_fault)?;
    let program = Program::new(instance, spec, spec.digest(), manifest);
    directories(&shared.host, instance, program.runs_as())?;
    if !instance.record().installed.contains(&package.digest) {
        let done = |record: &mut Record| {
            record.installed.insert(package.digest);
        };
        match Hook::of(&program, Operation::Install, key) {
            Some(hook) => hook.run(instance, &program, output, done).await?,
            None => instance.commit(done)?,
        }
    }
    Ok(said(format!("{package} is installed as {}", instance.id)))
}

/// The instance's directories. Its home is sticky: what it makes there is its own, what the agent
/// keeps there stays the agent's.
fn directories(host: &Host, instance: &Instance, user: Option<u32>) -> Result<(), Fault> {
    if let Some(user) = user {
        reachable(host.layout.home(), user)?;
    }
    let owner = instance.record().user.map(Owner);
    let dirs = &instance.dirs;
    let home = match owner {
        Some(Owner(user)) => durable::directory(&dirs.home, 0o1770, None)
            .and_then(|()| std::os::unix::fs::chown(&dirs.home, None, Some(user))),
        None => durable::directory(&dirs.home, 0o700, None),
    };
    home.map_err(host_fault("make", &dirs.home))?;
    for path in [&dirs.etc, &dirs.data, &dirs.run, &dirs.log] {
        durable::directory(path, 0o700, owner).map_err(host_fault("make", path))?;
    }
    Ok(())
}

/// An unprivileged user must be able to walk to the host's directory.
fn reachable(home: &Path, user: u32) -> Result<(), Fault> {
    let home = home.canonicalize().map_err(host_fault("find", home))?;
    for directory in home.ancestors() {
        let mode = directory
            .metadata()
            .map_err(host_fault("look at", directory))?
            .permissions()
            .mode();
        if mode & 0o001 == 0 {
            let message = format!(
                "user {user}, as whom the instance runs, cannot reach {}: {} lets only its owner in \
                 (chmod o+x it, or take another directory)",
                home.display(),
                directory.display()
            );
            return Err(Fault::new(Blame::Host, message));
        }
    }
    Ok(())
}

/// Leaves nothing of an install that failed; what ran before stays.
async fn undo(shared: &Shared, instance: &Arc<Instance>, package: &PackageId) {
    let record = instance.record();
    if instance.configured().is_none() && record.installed.is_empty() {
        if let Err(fault) = remove(shared, instance).await {
            tracing::warn!(instance = %instance.id, %fault, "a failed install has left something");
        }
        return;
    }
    let configured = instance.configured().map(|c| c.spec.package.digest);
    if configured != Some(package.digest) && !record.installed.contains(&package.digest) {
        instance.note(|record| {
            record.packages.remove(&package.digest);
        });
        shared.sweep([package.digest].into()).await;
    }
}

/// Removes the instance and everything that only it needed.
async fn remove(shared: &Shared, instance: &Arc<Instance>) -> Result<(), Fault> {
    let used = instance.uses();
    let dirs = &instance.dirs;
    // The state goes last: until then a crash leaves an instance that can be uninstalled again.
    let entries = std::fs::read_dir(&dirs.home).map_err(host_fault("list", &dirs.home))?;
    for entry in entries
        .flatten()
        .filter(|entry| entry.path() != dirs.state())
    {
        durable::remove(&entry.path()).map_err(host_fault("remove", &entry.path()))?;
    }
    durable::remove(&dirs.home).map_err(host_fault("remove", &dirs.home))?;
    instance.group().remove();
    shared.forget(&instance.id);
    shared.sweep(used).await;
    Ok(())
}

/// Stops it, runs the package's `uninstall`, removes directory and user.
pub(super) async fn uninstall(
    shared: &Shared,
    id: &InstanceId,
    key: &str,
    output: &Output,
) -> TaskAnswer {
    let Some(instance) = shared.find(id) else {
        return Ok(said(format!("{id} is not here")));
    };
    let _work = instance.work.lock().await;
    run::stop_now(&instance).await?;
    hook::end_left(&instance).await?;
    if !instance.record().uninstalled
        && let Ok(program) = instance.program()
    {
        let done = |record: &mut Record| record.uninstalled = true;
        match Hook::of(&program, Operation::Uninstall, key) {
            Some(hook) => hook.run(&instance, &program, output, done).await?,
            None => instance.commit(done)?,
        }
    }
    crate::supervise::kill_all(&instance).await?;
    remove(shared, &instance).await?;
    Ok(said(format!("{id} is gone")))
}

/// Removes everything the agent has made.
pub(super) async fn clear(shared: &Shared, key: &str, output: &Output) -> TaskAnswer {
    let instances = shared.all();
    let count = instances.len();
    let each = instances.iter().map(|instance| async {
        let done = uninstall(shared, &instance.id, key, output).await;
        if let Err(fault) = done {
            // The host is given back: a package that cannot clean up does not keep it.
            tracing::warn!(instance = %instance.id, %fault, "uninstall failed");
            run::stop_now(instance).await?;
            crate::supervise::kill_all(instance).await?;
            remove(shared, instance).await?;
        }
        Ok::<_, Fault>(())
    });
    futures::future::try_join_all(each).await?;
    let layout = &shared.host.layout;
    for path in [layout.instances(), layout.packages(), layout.cache()] {
        for entry in std::fs::read_dir(&path).into_iter().flatten().flatten() {
            durable::remove(&entry.path()).map_err(host_fault("remove", &entry.path()))?;
        }
    }
    durable::remove(&layout.services()).map_err(host_fault("remove", &layout.services()))?;
    Ok(said(format!(
        "{count} instances removed, the host is empty"
    )))
}
