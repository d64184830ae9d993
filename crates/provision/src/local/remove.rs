//! Removing what a host had on disk and in the control groups.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use wright_model::Digest;

use crate::ProvisionError;

/// How deep below the root of the control groups an agent's groups may be.
const GROUP_DEPTH: u32 = 5;

/// Removes a host's directory, whatever the modes below it.
pub(super) fn directory(home: &Path) -> Result<(), ProvisionError> {
    groups(home);
    let removed = match fs::remove_dir_all(home) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            make_writable(home);
            fs::remove_dir_all(home)
        }
        other => other,
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(ProvisionError::io("remove", home)),
    }
}

/// Removes the control groups that the agent made: each is named after its instance's directory.
fn groups(home: &Path) {
    let Ok(instances) = fs::read_dir(home.join("instances")) else { return };
    let endings: Vec<String> = instances
        .flatten()
        .map(|entry| format!("-{}", Digest::of(entry.path().as_os_str().as_encoded_bytes()).short()))
        .collect();
    remove_groups(Path::new("/sys/fs/cgroup"), &endings, GROUP_DEPTH);
}

fn remove_groups(directory: &Path, endings: &[String], depth: u32) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("wright-") && endings.iter().any(|ending| name.ends_with(ending)) {
            let _ = fs::remove_dir(entry.path());
        } else if depth > 0 {
            remove_groups(&entry.path(), endings, depth - 1);
        }
    }
}

/// Unpacked packages are read only, also for their owner.
fn make_writable(directory: &Path) {
    let _ = fs::set_permissions(directory, fs::Permissions::from_mode(0o700));
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            make_writable(&entry.path());
        }
    }
}
