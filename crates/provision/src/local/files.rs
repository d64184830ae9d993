//! A host's directory: what the provider itself keeps there, and how it is removed.

use std::{
    fs::{self, File, Permissions},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use walkdir::WalkDir;
use wright_model::Name;
use wright_pki::{Identity, PkiError};

use crate::{MadeHost, ProvisionError};

/// Where a host's files are.
#[derive(Debug, Clone)]
pub(super) struct HostFiles {
    home: PathBuf,
}

impl HostFiles {
    /// The files of a host; the path is absolute, for it is passed to processes.
    pub(super) fn new(directory: &Path, host: &Name) -> Result<Self, ProvisionError> {
        let home = directory.join(host.as_str());
        let home = std::path::absolute(&home).map_err(ProvisionError::io("find", &home))?;
        Ok(HostFiles { home })
    }

    /// Every host's files.
    pub(super) fn all(directory: &Path) -> Result<Vec<Self>, ProvisionError> {
        let entries = match fs::read_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(ProvisionError::io("read", directory))?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(ProvisionError::io("read", directory))?;
            names.extend(
                entry
                    .file_name()
                    .to_str()
                    .and_then(|name| name.parse::<Name>().ok()),
            );
        }
        // h2 before h10.
        names.sort_by(|a, b| (a.as_str().len(), a).cmp(&(b.as_str().len(), b)));
        names
            .iter()
            .map(|name| HostFiles::new(directory, name))
            .collect()
    }

    pub(super) fn home(&self) -> &Path {
        &self.home
    }

    pub(super) fn instances(&self) -> PathBuf {
        self.home.join("instances")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.agent().join("agent.log")
    }

    fn agent(&self) -> PathBuf {
        self.home.join("agent")
    }

    fn made_file(&self) -> PathBuf {
        self.agent().join("host.json")
    }

    fn dead_file(&self) -> PathBuf {
        self.agent().join("dead")
    }

    /// What the host was made as, if it was.
    pub(super) fn made(&self) -> Result<Option<MadeHost>, ProvisionError> {
        let path = self.made_file();
        let json = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            json => json.map_err(ProvisionError::io("read", &path))?,
        };
        let made = serde_json::from_slice(&json).map_err(io::Error::from);
        made.map(Some)
            .map_err(ProvisionError::io("understand", &path))
    }

    /// Makes the directory and records what the host is.
    pub(super) fn make(&self, host: &MadeHost) -> Result<(), ProvisionError> {
        let path = self.made_file();
        fs::create_dir_all(self.agent()).map_err(ProvisionError::io("make", &self.agent()))?;
        let json = serde_json::to_vec(host).map_err(io::Error::from);
        let written = json.and_then(|json| write_whole(&path, &json));
        written.map_err(ProvisionError::io("write", &path))
    }

    pub(super) fn write_identity(
        &self,
        host: &Name,
        identity: Result<Identity, PkiError>,
    ) -> Result<(), ProvisionError> {
        let written = identity.and_then(|identity| identity.write(&self.agent(), Identity::AGENT));
        written.map_err(|source| ProvisionError::Identity {
            host: host.clone(),
            source,
        })
    }

    /// Makes the host trust exactly the keys in a directory.
    pub(super) fn trust_keys(&self, keys: &Path) -> Result<(), ProvisionError> {
        let own = self.agent().join("keys");
        fs::create_dir_all(&own).map_err(ProvisionError::io("make", &own))?;
        let (wanted, trusted) = (files_in(keys)?, files_in(&own)?);
        for (name, path) in &wanted {
            let copy = own.join(name);
            let copied = fs::read(path).and_then(|key| write_whole(&copy, &key));
            copied.map_err(ProvisionError::io("copy a key to", &copy))?;
        }
        for (name, path) in &trusted {
            if wanted.iter().all(|(other, _)| other != name) {
                fs::remove_file(path).map_err(ProvisionError::io("remove", path))?;
            }
        }
        Ok(())
    }

    /// Whether the host was killed.
    pub(super) fn is_dead(&self) -> bool {
        self.dead_file().exists()
    }

    pub(super) fn mark_dead(&self) -> Result<(), ProvisionError> {
        let path = self.dead_file();
        fs::create_dir_all(self.agent()).map_err(ProvisionError::io("make", &self.agent()))?;
        write_whole(&path, b"").map_err(ProvisionError::io("write", &path))
    }

    /// Removes the directory with everything in it.
    pub(super) fn remove(&self) -> Result<(), ProvisionError> {
        let first = remove_all(&self.home);
        let removed = match first {
            // Packages are unpacked read only, which binds everybody but root.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                make_writable(&self.home);
                remove_all(&self.home)
            }
            other => other,
        };
        removed.map_err(ProvisionError::io("remove", &self.home))
    }
}

fn remove_all(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// As far as it can; what it cannot change the removal will name.
fn make_writable(path: &Path) {
    for entry in WalkDir::new(path).into_iter().flatten() {
        if entry.file_type().is_dir() {
            let _ = fs::set_permissions(entry.path(), Permissions::from_mode(0o700));
        }
    }
}

/// The names and paths of a directory's regular files; none where there is no directory.
fn files_in(directory: &Path) -> Result<Vec<(std::ffi::OsString, PathBuf)>, ProvisionError> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(ProvisionError::io("read", directory))?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(ProvisionError::io("read", directory))?;
        if entry.path().is_file() {
            files.push((entry.file_name(), entry.path()));
        }
    }
    Ok(files)
}

/// Writes a file that is there completely or not at all, also after a power cut.
fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    let partial = path.with_added_extension("partial");
    let mut file = File::create(&partial)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&partial, path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}
