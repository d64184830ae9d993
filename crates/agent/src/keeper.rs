//! The child that runs a hook and outlives the agent.
//!
//! Nobody but the parent of a process learns how it ended, and the agent may die while a hook runs.
//! So the hook's parent is a process of its own, which ends after nothing else is left of the hook,
//! and before that writes down how it ended, whole and synchronised.

use std::{
    io,
    os::{fd::AsFd, unix::process::ExitStatusExt},
    path::PathBuf,
    time::Duration,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::{
    io::AsyncWriteExt,
    net::unix::pipe,
    process::{Child, Command},
    sync::mpsc,
};
use wright_model::LastExit;

use crate::{
    command::{self, OUTPUT_GRACE, last_lines},
    durable,
    launch::LaunchRequest,
    once::Output,
    process::{Belongings, Identity},
};

/// So many lines of a hook's output are kept with how it ended.
const LINES_KEPT: usize = 20;

/// What the child is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Keep {
    pub hook: LaunchRequest,
    /// How long the hook may take.
    pub timeout: Duration,
    /// Where the [`Ending`] goes, below a directory that is there.
    pub ending: PathBuf,
}

/// How a hook ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Ending {
    Exited {
        exit: LastExit,
        last_lines: Vec<String>,
    },
    /// It took too long and was ended.
    TooLate,
    /// It could not be begun; why.
    NotRun(String),
}

impl Keep {
    /// Does it in this process, the leader of its session. The hook's output goes on to standard
    /// output for as long as somebody reads it.
    pub(crate) fn perform_as_child(self) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let ending = runtime.block_on(self.run());
        durable::write_json(&self.ending, &ending?)
    }

    async fn run(&self) -> io::Result<Ending> {
        let (reader, writer) = io::pipe()?;
        let child = match self.begin(writer) {
            Ok(child) => child,
            Err(why) => return Ok(Ending::NotRun(why)),
        };
        let (sender, said) = mpsc::channel(16);
        let reads = tokio::spawn(pass_on(said));
        let reader = pipe::Receiver::from_owned_fd(reader.into())?;
        let listener = Output::new(sender);
        let (exit, output) =
            command::attend(exit(child), reader, self.timeout, Some(&listener)).await;
        drop(listener);
        let own = Identity::of(std::process::id())?;
        let killed = Belongings::session(&own).kill().await;
        killed.map_err(|fault| io::Error::other(fault.message))?;
        // Whoever reads may stand still.
        let _ = tokio::time::timeout(OUTPUT_GRACE, reads).await;
        Ok(match exit {
            Some(exit) => Ending::Exited {
                exit: exit?,
                last_lines: last_lines(&output, LINES_KEPT),
            },
            None => Ending::TooLate,
        })
    }

    fn begin(&self, output: io::PipeWriter) -> Result<Child, String> {
        let mut hook = self.hook.command()?;
        let again = output.try_clone().map_err(|error| error.to_string())?;
        hook.stdout(output).stderr(again);
        let program = hook.get_program().to_string_lossy().into_owned();
        let begun = Command::from(hook).spawn();
        begun.map_err(|error| format!("cannot run {program}: {error}"))
    }
}

async fn exit(mut child: Child) -> io::Result<LastExit> {
    let status = child.wait().await?;
    Ok(LastExit {
        at: Timestamp::now(),
        code: status.code(),
        signal: status.signal(),
    })
}

/// To standard output, until nobody reads it.
async fn pass_on(mut said: mpsc::Receiver<Vec<u8>>) {
    let output = io::stdout().as_fd().try_clone_to_owned();
    let Ok(mut output) = output.and_then(pipe::Sender::from_owned_fd) else {
        return;
    };
    while let Some(bytes) = said.recv().await {
        if output.write_all(&bytes).await.is_err() {
            return;
        }
    }
}
