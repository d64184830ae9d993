use std::path::{Path, PathBuf};

use wright_model::{Digest, InstanceId};

/// Where things lie in a host's directory.
#[derive(Debug, Clone)]
pub struct Layout {
    home: PathBuf,
}

impl Layout {
    /// The layout below a host's directory.
    pub fn new(home: &Path) -> Self {
        Layout {
            home: home.to_owned(),
        }
    }

    /// The host's directory.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Identity, journal, process id.
    pub fn agent(&self) -> PathBuf {
        self.home.join("agent")
    }

    /// The public keys whose packages are taken.
    pub fn keys(&self) -> PathBuf {
        self.agent().join("keys")
    }

    /// What was done.
    pub fn journal(&self) -> PathBuf {
        self.agent().join("journal")
    }

    /// How hooks ended, for as long as it is recorded nowhere else.
    pub(crate) fn hooks(&self) -> PathBuf {
        self.agent().join("hooks")
    }

    /// Fetched archives.
    pub fn cache(&self) -> PathBuf {
        self.home.join("cache")
    }

    /// The archive with this digest.
    pub fn archive(&self, digest: &Digest) -> PathBuf {
        self.cache().join(digest.to_string())
    }

    /// Unpacked packages.
    pub fn packages(&self) -> PathBuf {
        self.home.join("packages")
    }

    /// The unpacked package with this digest.
    pub fn package(&self, digest: &Digest) -> PathBuf {
        self.packages().join(digest.to_string())
    }

    /// The directories of all instances.
    pub fn instances(&self) -> PathBuf {
        self.home.join("instances")
    }

    /// The directories of one instance.
    pub fn instance(&self, id: &InstanceId) -> InstanceDirs {
        let home = self.instances().join(format!("{}.{}", id.site, id.name));
        InstanceDirs {
            etc: home.join("etc"),
            data: home.join("data"),
            run: home.join("run"),
            log: home.join("log"),
            home,
        }
    }

    /// Which instance a directory below [`Layout::instances`] belongs to.
    pub(crate) fn instance_of(directory: &Path) -> Option<InstanceId> {
        let (site, name) = directory.file_name()?.to_str()?.split_once('.')?;
        Some(InstanceId {
            site: site.parse().ok()?,
            name: name.parse().ok()?,
        })
    }

    /// The agent's copy of the service table.
    pub fn services(&self) -> PathBuf {
        self.home.join("services.json")
    }
}

/// The directories of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceDirs {
    /// The instance's directory, where its commands run.
    pub home: PathBuf,
    /// Its configuration.
    pub etc: PathBuf,
    /// What it keeps.
    pub data: PathBuf,
    /// Sockets and the like.
    pub run: PathBuf,
    /// Its logs.
    pub log: PathBuf,
}

impl InstanceDirs {
    /// What the program writes to its standard output and error.
    pub fn output_log(&self) -> PathBuf {
        self.log.join("output.log")
    }

    /// The specification, without the content of its files.
    pub fn spec(&self) -> PathBuf {
        self.home.join("spec.json")
    }

    /// What the agent remembers of the instance.
    pub fn state(&self) -> PathBuf {
        self.home.join("state.json")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instances_directory_names_it() {
        let id: InstanceId = "shop/catalog-1".parse().unwrap();
        let dirs = Layout::new(Path::new("/srv")).instance(&id);
        assert_eq!(dirs.etc, Path::new("/srv/instances/shop.catalog-1/etc"));
        assert_eq!(Layout::instance_of(&dirs.home), Some(id));
    }
}
