//! The small program between the agent and every command of an instance, and the agent's hand for
//! hooks and for work on packages.
//!
//! The agent starts it, records its process durably, and only then sends the [`Request`] to
//! its standard input. It becomes the command (`exec`), so the recorded process is the command's.
//! If the agent dies before that, the input ends and nothing is run.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    fs::{self, OpenOptions},
    io::{self, BufRead, Write},
    os::{
        fd::AsFd,
        unix::{fs::OpenOptionsExt, process::CommandExt},
    },
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, setsid};
use serde::{Deserialize, Serialize};

use crate::{errand::Errand, keeper::Keep};

/// What stands before the reason on the launcher's output when it could not run the command.
pub(crate) const REFUSAL: &str = "wright launch: ";

/// As shells do where a command cannot be run.
pub(crate) const NOT_RUN: u8 = 127;

/// What the agent wants of the launcher. Sent on one line, so that nothing of it shows in a process
/// list.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Become a command.
    Become(LaunchRequest),
    /// Run a hook to its end and write down how it ended.
    Keep(Keep),
    /// Do this and say how it went.
    Do(Errand),
}

impl Request {
    pub(crate) fn to_line(&self) -> io::Result<Vec<u8>> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        Ok(line)
    }
}

/// What to become.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LaunchRequest {
    /// The program, an absolute path, and its arguments.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: BTreeMap<String, String>,
    /// The working directory.
    pub directory: PathBuf,
    /// The user and group to become; none: stay.
    pub user: Option<u32>,
    /// Files to write `0` to, to join control groups.
    pub groups: Vec<PathBuf>,
    /// How many files it may have open, as far as the machine allows.
    pub open_files: u64,
    /// Where its output is appended; none: it keeps the launcher's.
    pub log: Option<PathBuf>,
}

/// Runs what the agent asks for on standard input, in this process and a new session.
///
/// A command is become: this returns only if it was not run, because the agent died before it
/// asked, or with the reason on standard output.
pub fn launch() -> ExitCode {
    // Taken aside: when the command cannot be run, standard output is its log already. Closed by
    // a successful `exec`, which tells the agent that the command runs.
    let report = io::stdout()
        .as_fd()
        .try_clone_to_owned()
        .map(fs::File::from);
    match do_requested() {
        Ok(()) => ExitCode::SUCCESS,
        Err(Refusal::Nobody) => ExitCode::SUCCESS,
        Err(Refusal::Because(why)) => {
            if let Ok(mut report) = report {
                let _ = writeln!(report, "{REFUSAL}{}", why.replace('\n', " "));
            }
            ExitCode::from(NOT_RUN)
        }
    }
}

enum Refusal {
    /// The input ended before a request came.
    Nobody,
    Because(String),
}

fn because<E: std::fmt::Display>(what: impl std::fmt::Display) -> impl FnOnce(E) -> Refusal {
    move |error| Refusal::Because(format!("cannot {what}: {error}"))
}

fn do_requested() -> Result<(), Refusal> {
    // Fails only for a group leader, and then this is a session already or a person's shell.
    let _ = setsid();
    let mut line = String::new();
    io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(because("read the request"))?;
    if !line.ends_with('\n') {
        return Err(Refusal::Nobody);
    }
    match serde_json::from_str(&line).map_err(because("understand the request"))? {
        Request::Become(request) => match becoming(&request)? {},
        Request::Keep(keep) => keep.perform_as_child().map_err(because("keep a hook")),
        Request::Do(errand) => errand.perform_as_child().map_err(because("answer")),
    }
}

fn becoming(request: &LaunchRequest) -> Result<Infallible, Refusal> {
    for group in &request.groups {
        fs::write(group, "0").map_err(because(format!("join {}", group.display())))?;
    }
    let mut command = request.command().map_err(Refusal::Because)?;
    if let Some(path) = &request.log {
        let log =
            open_log(path, request.user).map_err(because(format!("write {}", path.display())))?;
        let again = log
            .try_clone()
            .map_err(because("duplicate a file descriptor"))?;
        command.stdout(log).stderr(again);
    }
    let error = command.exec();
    let program = command.get_program().to_string_lossy();
    Err(because(format!("run {program}"))(error))
}

impl LaunchRequest {
    /// The command, with the limit of this process set to what it may have.
    pub(crate) fn command(&self) -> Result<Command, String> {
        let allowed = getrlimit(Resource::Nofile);
        let wanted = allowed
            .maximum
            .map_or(self.open_files, |most| self.open_files.min(most));
        // Not worth failing for: the limit stays as it is.
        let _ = setrlimit(
            Resource::Nofile,
            Rlimit {
                current: Some(wanted),
                ..allowed
            },
        );
        let (program, arguments) = self.argv.split_first().ok_or("no program named")?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .envs(&self.env)
            .stdin(Stdio::null())
            .current_dir(&self.directory);
        if let Some(user) = self.user {
            // The supplementary groups go with the user.
            command.gid(user).uid(user);
        }
        Ok(command)
    }
}

fn open_log(path: &std::path::Path, user: Option<u32>) -> io::Result<fs::File> {
    // The directory belongs to the instance: a link placed there must not lead root astray.
    let no_follow = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
    let log = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .custom_flags(no_follow)
        .open(path)?;
    if let Some(user) = user {
        std::os::unix::fs::fchown(&log, Some(user), Some(user))?;
    }
    Ok(log)
}
