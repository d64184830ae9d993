//! One host's agent process: started, and found again.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File, OpenOptions},
    io,
    net::IpAddr,
    os::unix::ffi::OsStrExt,
    path::Path,
    process::Stdio,
    time::Duration,
};

use tokio::{
    process::{Child, Command},
    time::timeout,
};
use wright_model::Name;

use super::{files::HostFiles, process::Process};
use crate::ProvisionError;

/// The size in bytes at which an agent's log is put aside when the agent is started.
const LOG_SIZE: u64 = 10 << 20;

/// How long an agent may take to end when it is asked to.
const TERMINATION: Duration = Duration::from_secs(2);

/// This program, also after its file was replaced.
pub(super) const THIS_PROGRAM: &str = "/proc/self/exe";

/// What of our environment an agent gets.
const ENVIRONMENT: [&str; 4] = ["PATH", "LANG", "WRIGHT_LOG", "RUST_BACKTRACE"];

/// How a host's agent is run.
#[derive(Debug, Clone)]
pub(super) struct Agent {
    pub(super) host: Name,
    pub(super) address: IpAddr,
    pub(super) files: HostFiles,
    pub(super) command: Vec<OsString>,
    pub(super) server: String,
    pub(super) uid_base: u32,
}

/// An agent that runs.
#[derive(Debug)]
pub(super) enum Running {
    /// We started it.
    Child(Box<Child>),
    /// It was there.
    Found(Process),
}

impl Running {
    /// Waits for its end, and says how it ended. Cancel-safe.
    pub(super) async fn ended(&mut self) -> String {
        match self {
            Running::Child(child) => match child.wait().await {
                Ok(status) => status.to_string(),
                Err(error) => error.to_string(),
            },
            Running::Found(process) => {
                process.ended().await;
                "unseen, it was no child of this server".to_owned()
            }
        }
    }
}

impl Agent {
    /// The one that runs, if one does and calls the right server. One that calls another is ended:
    /// its programs live on, for the next to take over.
    pub(super) async fn find(&self) -> Result<Option<Running>, ProvisionError> {
        let Some(found) = find(&self.files)? else {
            return Ok(None);
        };
        if has_option(found.pid(), "--server", self.server.as_ref()) {
            return Ok(Some(Running::Found(found)));
        }
        found.terminate();
        if timeout(TERMINATION, found.ended()).await.is_err() {
            found.kill();
            found.ended().await;
        }
        Ok(None)
    }

    /// Starts it, in a process group of its own, so that a Ctrl-C in our terminal is not for it.
    pub(super) fn spawn(&self) -> Result<Running, ProvisionError> {
        let failed = |source| ProvisionError::Spawn {
            host: self.host.clone(),
            source,
        };
        let (program, first) = self
            .command
            .split_first()
            .ok_or_else(|| failed(io::Error::other("no agent program is named")))?;
        let log = self
            .open_log()
            .map_err(ProvisionError::io("write", &self.files.log()))?;
        let errors = log.try_clone().map_err(failed)?;
        let mut command = Command::new(program);
        if program == THIS_PROGRAM {
            command.arg0("wright");
        }
        command.args(first).arg("--home").arg(self.files.home());
        command.args([
            "--name",
            self.host.as_str(),
            "--address",
            &self.address.to_string(),
        ]);
        command.args(["--server", &self.server]);
        if rustix::process::geteuid().is_root() {
            command.args(["--uid-base", &self.uid_base.to_string()]);
        }
        command.env_clear();
        command.envs(
            ENVIRONMENT
                .into_iter()
                .filter_map(|key| Some((key, std::env::var_os(key)?))),
        );
        command.current_dir(self.files.home()).process_group(0);
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        Ok(Running::Child(Box::new(command.spawn().map_err(failed)?)))
    }

    fn open_log(&self) -> io::Result<File> {
        let path = self.files.log();
        if fs::metadata(&path).is_ok_and(|log| log.len() > LOG_SIZE) {
            fs::rename(&path, path.with_added_extension("1"))?;
        }
        OpenOptions::new().append(true).create(true).open(path)
    }
}

/// The agent that runs from a host's directory, if one does.
///
/// The process list itself is the record: there is no moment at which an agent was started and is
/// not in it, whenever the server dies.
fn find(files: &HostFiles) -> Result<Option<Process>, ProvisionError> {
    let unreadable = |source| ProvisionError::io("read", Path::new("/proc"))(source);
    let processes =
        procfs::process::all_processes().map_err(|error| unreadable(io::Error::other(error)))?;
    for process in processes.flatten() {
        if !is_agent(process.pid(), files.home()) {
            continue;
        }
        let held = Process::hold(process.pid()).map_err(unreadable)?;
        if let Some(held) = held.filter(|held| is_agent(held.pid(), files.home())) {
            return Ok(Some(held));
        }
    }
    Ok(None)
}

/// Whether a process is the agent of a host's directory, by its command line. A process that has
/// ended and was not waited for has none.
pub(super) fn is_agent(pid: i32, home: &Path) -> bool {
    has_option(pid, "--home", home.as_os_str())
}

fn has_option(pid: i32, option: &str, value: &OsStr) -> bool {
    let command_line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<_> = command_line.split(|byte| *byte == 0).collect();
    words
        .windows(2)
        .any(|pair| pair[0] == option.as_bytes() && pair[1] == value.as_bytes())
}
