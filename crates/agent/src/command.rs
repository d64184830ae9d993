//! Starting commands through the launcher, and running those that come to an end.

use std::{future::Future, io, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::unix::pipe,
    process::{Child, Command},
};
use wright_model::LastExit;
use wright_protocol::{Blame, Fault};

use crate::{
    Settings,
    launch::{LaunchRequest, REFUSAL, Request},
    once::Output,
    process::{Belongings, Identity, Process},
};

/// How much of a command's output is kept: the end of it.
const OUTPUT_KEPT: usize = 256 << 10;
/// How long output is read after the command itself ended, if something else holds it open.
pub(crate) const OUTPUT_GRACE: Duration = Duration::from_millis(200);

/// The launcher, not started yet.
pub(crate) fn launcher(settings: &Settings) -> io::Result<Command> {
    let (program, arguments) = settings
        .launcher
        .split_first()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no launcher is set"))?;
    let mut command = Command::new(program);
    command.args(arguments);
    Ok(command)
}

/// A process that waits to be told what to become.
pub(crate) struct Waiting {
    pub(crate) identity: Identity,
    child: Child,
    output: pipe::Receiver,
}

impl Waiting {
    pub(crate) fn spawn(settings: &Settings) -> Result<Self, Fault> {
        let fault =
            |error: io::Error| Fault::new(Blame::Host, format!("cannot start a process: {error}"));
        Self::try_spawn(settings).map_err(fault)
    }

    fn try_spawn(settings: &Settings) -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        let child = launcher(settings)?
            .stdin(Stdio::piped())
            .stdout(writer.try_clone()?)
            .stderr(writer)
            .spawn()?;
        let pid = child.id().ok_or(io::ErrorKind::NotFound)?;
        let output = pipe::Receiver::from_owned_fd(reader.into())?;
        Ok(Waiting {
            identity: Identity::of(pid)?,
            child,
            output,
        })
    }

    /// Tells it. From here on it runs.
    pub(crate) async fn go(
        mut self,
        request: &Request,
    ) -> Result<(Process, pipe::Receiver), Fault> {
        let sent = async {
            let line = request.to_line()?;
            let mut stdin = self.child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
            stdin.write_all(&line).await
        };
        sent.await.map_err(|error: io::Error| {
            Fault::new(
                Blame::Host,
                format!("the launcher of a command ended: {error}"),
            )
        })?;
        Ok((Process::child(self.identity, self.child), self.output))
    }
}

/// Waits until the launcher has become the program; its output is the program's log from then on.
pub(crate) async fn started(mut output: pipe::Receiver) -> Result<(), Fault> {
    let mut said = Vec::new();
    // The end of the output is the event: the program does not hold it.
    let _ = output.read_to_end(&mut said).await;
    match refusal(&said) {
        Some(why) => Err(Fault::new(Blame::Program, why)),
        None => Ok(()),
    }
}

pub(crate) fn refusal(output: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(output);
    text.lines()
        .find_map(|line| line.strip_prefix(REFUSAL))
        .map(str::to_owned)
}

/// A command that came to its end.
pub(crate) struct Finished {
    pub(crate) exit: LastExit,
    pub(crate) output: Vec<u8>,
}

impl Finished {
    pub(crate) fn succeeded(&self) -> bool {
        self.exit.code == Some(0)
    }

    /// The last lines of its output.
    pub(crate) fn last_lines(&self, count: usize) -> Vec<String> {
        last_lines(&self.output, count)
    }
}

pub(crate) fn last_lines(output: &[u8], count: usize) -> Vec<String> {
    let text = String::from_utf8_lossy(output);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..]
        .iter()
        .map(|&line| line.to_owned())
        .collect()
}

/// Kills what a check has left when nobody waits for it any more.
struct Session {
    leader: Identity,
    is_over: bool,
}

impl Drop for Session {
    fn drop(&mut self) {
        if !self.is_over {
            Belongings::session(&self.leader).kill_now();
        }
    }
}

/// Runs a command that only asks. `None`: it did not end in time.
pub(crate) async fn run_check(
    settings: &Settings,
    request: LaunchRequest,
    timeout: Duration,
    copy: Option<&Output>,
) -> Result<Option<Finished>, Fault> {
    let waiting = Waiting::spawn(settings)?;
    let mut session = Session {
        leader: waiting.identity.clone(),
        is_over: false,
    };
    let (mut process, pipe) = waiting.go(&Request::Become(request)).await?;
    let (exit, output) = attend(process.ended(), pipe, timeout, copy).await;
    // Only a shell with job control makes further groups, and a check has none.
    if !session.leader.group_is_empty() {
        Belongings::session(&session.leader).kill().await?;
    }
    session.is_over = true;
    let Some(exit) = exit else { return Ok(None) };
    match refusal(&output) {
        Some(why) if exit.code == Some(127) => Err(Fault::new(Blame::Program, why)),
        _ => Ok(Some(Finished { exit, output })),
    }
}

/// Waits for the end of a command, no longer than `timeout`, and reads what it says meanwhile: the
/// end of that is returned, all of it goes to `copy`.
pub(crate) async fn attend<T>(
    ended: impl Future<Output = T>,
    mut pipe: pipe::Receiver,
    timeout: Duration,
    copy: Option<&Output>,
) -> (Option<T>, Vec<u8>) {
    let mut output = Vec::new();
    let running = async {
        tokio::pin!(ended);
        let mut open = true;
        loop {
            tokio::select! {
                end = &mut ended => return end,
                more = read(&mut pipe, &mut output, copy), if open => open = more,
            }
        }
    };
    let end = tokio::time::timeout(timeout, running).await.ok();
    if end.is_some() {
        let rest = async { while read(&mut pipe, &mut output, copy).await {} };
        let _ = tokio::time::timeout(OUTPUT_GRACE, rest).await;
    }
    (end, output)
}

/// Reads once; false at the end.
async fn read(pipe: &mut pipe::Receiver, output: &mut Vec<u8>, copy: Option<&Output>) -> bool {
    let mut buffer = [0; 4096];
    let Ok(count @ 1..) = pipe.read(&mut buffer).await else {
        return false;
    };
    let bytes = &buffer[..count];
    output.extend_from_slice(bytes);
    if output.len() > OUTPUT_KEPT {
        output.drain(..output.len() - OUTPUT_KEPT);
    }
    if let Some(copy) = copy {
        copy.send(bytes.to_vec()).await;
    }
    true
}
