//! A running server with the resources, asked by another process over its API.

use std::{ffi::OsStr, fs::File, path::Path, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Child,
    time::timeout,
};

use super::Figure;
use crate::{Result, run};

const API: &str = "127.0.0.1:7695";
const AGENTS: &str = "127.0.0.1:7696";
/// How long the server may take until it listens.
const PATIENCE: Duration = Duration::from_secs(60);

/// Starts a server with this data directory, and has it asked.
pub async fn asked(data: &Path) -> Result<Vec<Figure>> {
    let mut server = serve(data).await?;
    let process = server.id().ok_or("the server has ended")?.to_string();
    let words = [data.as_os_str(), OsStr::new(&process)];
    let mut clients = run::command(run::program("inventory-clients"), words);
    clients.kill_on_drop(true);
    let asked = run::output(clients).await;
    server.kill().await?;
    let line = |line: &str| {
        serde_json::from_str(line).map_err(|error| format!("the clients: {line}: {error}").into())
    };
    asked?.lines().map(line).collect()
}

/// A server that listens.
async fn serve(data: &Path) -> Result<Child> {
    let words = ["server", "--api", API, "--agents", AGENTS];
    let mut command = run::command(run::program("wright"), words);
    let log = data.with_extension("log");
    command.env("WRIGHT_DATA", data).kill_on_drop(true);
    command.stdout(Stdio::piped()).stderr(File::create(&log)?);
    let mut server = command.spawn()?;
    let output = server.stdout.take().ok_or("no output")?;
    let mut lines = BufReader::new(output).lines();
    let listens = async {
        while let Some(line) = lines.next_line().await? {
            if line.contains("data ") {
                return Ok(true);
            }
        }
        Ok::<_, std::io::Error>(false)
    };
    if !timeout(PATIENCE, listens).await?? {
        let said = std::fs::read_to_string(&log)?;
        return Err(format!("the server ended before it listened: {said}").into());
    }
    // Nobody reads what else it says, and it may say it.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Ok(server)
}
