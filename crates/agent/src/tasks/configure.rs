use std::{
    collections::BTreeSet,
    fs,
    path::{Component, Path, PathBuf},
};

use wright_model::InstanceSpec;
use wright_package::Manifest;
use wright_protocol::{Blame, Fault, TaskAnswer};

use super::said;
use crate::{
    durable::{self, Owner, Staged},
    error::{host_fault, package_fault},
    executor::Shared,
    instance::Instance,
    program::Program,
    record::Configured,
};

/// Writes the files and remembers the specification. Everything is written beside its place first,
/// so that a failure leaves what was there.
pub(super) async fn configure(shared: &Shared, mut spec: InstanceSpec) -> TaskAnswer {
    let instance = shared.get(&spec.id)?;
    let _work = instance.work.lock().await;
    let record = instance.record();
    if !record.installed.contains(&spec.package.digest) {
        let message = format!(
            "{} is not installed for {} on this host",
            spec.package, spec.id
        );
        return Err(Fault::new(Blame::Request, message));
    }
    let before = instance.uses();
    // An update is taken back: what was installed here before comes again. It is marked first, so
    // that nobody takes it for unused.
    if !record.packages.contains(&spec.package.digest) {
        instance.commit(|record| {
            record.packages.insert(spec.package.digest);
        })?;
        shared.packages.unpack(&spec.package).await?;
    }
    let old = instance.configured();
    let digest = spec.digest();
    let contents = std::mem::take(&mut spec.files);
    let manifest = Manifest::of_dir(&shared.host.layout.package(&spec.package.digest))
        .map_err(package_fault)?;
    let program = Program::new(&instance, &spec, digest, manifest);
    let owner = record.user.map(Owner);
    let mut staged = Vec::new();
    for file in &contents {
        let path = place(&instance, &file.path, owner)?;
        let content = program.with_paths(&file.content);
        staged.push(
            Staged::write(&path, content.as_bytes(), 0o600, owner)
                .map_err(host_fault("write", &path))?,
        );
    }
    let files: Vec<_> = contents.into_iter().map(|file| file.path).collect();
    let configured = Configured {
        digest,
        spec,
        files,
    };
    let path = instance.dirs.spec();
    let bytes = serde_json::to_vec(&configured)
        .map_err(|error| host_fault("write", &path)(error.into()))?;
    let spec_file =
        Staged::write(&path, &bytes, 0o600, None).map_err(host_fault("write", &path))?;
    for file in staged {
        file.commit()
            .map_err(host_fault("write", &instance.dirs.etc))?;
    }
    spec_file.commit().map_err(host_fault("write", &path))?;

    let new: BTreeSet<_> = configured.files.iter().collect();
    for gone in old
        .iter()
        .flat_map(|old| &old.files)
        .filter(|file| !new.contains(file))
    {
        let path = instance.dirs.home.join(gone);
        durable::remove(&path).map_err(host_fault("remove", &path))?;
    }
    let message = format!(
        "{} is configured with {} files",
        instance.id,
        configured.files.len()
    );
    let keep = configured.spec.package.digest;
    instance.set_configured(configured);
    instance.commit(|record| record.packages = [keep].into())?;
    shared.sweep(before).await;
    Ok(said(message))
}

/// Where a configuration file goes, its directories made. The instance owns the directories on the
/// way, so none of them may be a link that leads elsewhere.
fn place(instance: &Instance, file: &str, owner: Option<Owner>) -> Result<PathBuf, Fault> {
    let relative = Path::new(file);
    let inside = relative
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    let name = relative.file_name().filter(|_| inside).ok_or_else(|| {
        Fault::new(
            Blame::Request,
            format!("{file:?} is not a file below the instance's directory"),
        )
    })?;
    let mut path = instance.dirs.home.clone();
    for part in relative.parent().into_iter().flat_map(Path::components) {
        path.push(part);
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => {
                let message = format!("{} is in the way: it is not a directory", path.display());
                return Err(Fault::new(Blame::Host, message));
            }
            Err(_) => durable::directory(&path, 0o700, owner).map_err(host_fault("make", &path))?,
        }
    }
    path.push(name);
    if [instance.dirs.spec(), instance.dirs.state()].contains(&path) {
        return Err(Fault::new(
            Blame::Request,
            format!("{file:?} is the agent's own file"),
        ));
    }
    Ok(path)
}
