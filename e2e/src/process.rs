//! Processes that end with their test.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::signal;

/// Where a program of the project is: a release, also where the tests are none.
pub fn built(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let mut releases = own
        .ancestors()
        .map(|above| above.join("release").join(name));
    releases
        .find(|program| program.is_file())
        .unwrap_or_else(|| panic!("{name} is not built: run `cargo xtask test`"))
}

/// A process that ends with the test.
pub struct Running(Child);

impl Running {
    /// Starts one, and waits until it says this; with an empty word, not at all.
    pub fn start(command: &mut Command, log: &Path, word: &str) -> Self {
        let log = fs::OpenOptions::new().append(true).create(true).open(log);
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.stderr(log.unwrap()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let running = Running(child);
        let said = word.is_empty()
            || lines
                .by_ref()
                .map_while(Result::ok)
                .any(|line| line.contains(word));
        std::thread::spawn(move || lines.for_each(drop));
        assert!(said, "it ended before it said {word:?}");
        running
    }

    pub fn signal(&self, name: &str) {
        signal(self.0.id(), name);
    }

    /// SIGTERM, and its end.
    pub fn stop(mut self) {
        self.signal("TERM");
        self.0.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
