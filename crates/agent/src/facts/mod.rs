//! What an agent finds out about its host by itself, from `/proc`, `/sys` and `/etc`: a few dozen small
//! files, a few milliseconds.

mod hardware;
mod network;
mod system;
#[cfg(test)]
mod tests;

use std::{
    fs,
    path::{Path, PathBuf},
};

use wright_model::Facts;

/// A machine, as its kernel shows it below a directory.
pub(crate) struct Machine {
    root: PathBuf,
}

impl Machine {
    /// The one this runs on.
    pub fn own() -> Self {
        Machine::below("/")
    }

    fn below(root: impl Into<PathBuf>) -> Self {
        Machine { root: root.into() }
    }

    /// What can be read of it; what cannot stays empty.
    pub fn facts(&self) -> Facts {
        let cpuinfo = self.text("proc/cpuinfo");
        let identity = hardware::identity(self);
        Facts {
            virtualisation: system::virtualisation(self, &identity, &cpuinfo),
            vendor: identity.vendor,
            product: identity.product,
            serial: identity.serial,
            cpu: hardware::cpu(&cpuinfo),
            memory: hardware::memory(self),
            disks: hardware::disks(self),
            interfaces: network::interfaces(self),
            addresses: network::addresses(self),
            os: system::operating_system(self),
            kernel: self.text("proc/sys/kernel/osrelease"),
            ..Facts::default()
        }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// A file's text without the white space around it; nothing where it cannot be read.
    fn text(&self, path: &str) -> String {
        text(&self.path(path))
    }

    /// The names in a directory, in order.
    fn names(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(path)).into_iter().flatten();
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut names: Vec<String> = names.collect();
        names.sort_unstable();
        names
    }
}

fn text(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    text.trim_matches(|c: char| c.is_whitespace() || c == '\0')
        .to_owned()
}
