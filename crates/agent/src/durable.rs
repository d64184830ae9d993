//! Files that are there as a whole or not at all, also after a crash.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt, chown},
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};

/// The user, and the group of the same number, that something belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner(pub u32);

/// A file written beside its place; [`Staged::commit`] puts it there, dropping it removes it.
pub(crate) struct Staged {
    temporary: PathBuf,
    target: PathBuf,
    done: bool,
}

impl Staged {
    pub(crate) fn write(
        target: &Path,
        bytes: &[u8],
        mode: u32,
        owner: Option<Owner>,
    ) -> io::Result<Self> {
        let name = target.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(".new");
        let temporary = target.with_file_name(hidden);
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let staged = Staged {
            temporary,
            target: target.to_owned(),
            done: false,
        };
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&staged.temporary)?;
        file.write_all(bytes)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        if let Some(Owner(id)) = owner {
            std::os::unix::fs::fchown(&file, Some(id), Some(id))?;
        }
        file.sync_all()?;
        Ok(staged)
    }

    pub(crate) fn commit(mut self) -> io::Result<()> {
        fs::rename(&self.temporary, &self.target)?;
        self.done = true;
        sync_parent(&self.target)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.done {
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Makes a rename or removal durable.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> io::Result<()> {
    Staged::write(path, &serde_json::to_vec(value)?, 0o600, None)?.commit()
}

/// `None` where there is no such file.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes a directory with exactly this mode and owner; it may be there already.
pub(crate) fn directory(path: &Path, mode: u32, owner: Option<Owner>) -> io::Result<()> {
    fs::create_dir_all(path)?;
    if fs::symlink_metadata(path)?.is_symlink() {
        return Err(io::Error::new(
            io::ErrorKind::NotADirectory,
            "it is a symbolic link",
        ));
    }
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    match owner {
        Some(Owner(id)) => chown(path, Some(id), Some(id)),
        None => Ok(()),
    }
}

/// Removes a file or a whole directory; it may be gone already.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
