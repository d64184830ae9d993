//! `cargo xtask soak api`: schemathesis, led by the API's own OpenAPI document, against a real server.

use std::{fs, path::PathBuf, time::Duration};

use serde::Deserialize;

use crate::{
    Result, debian,
    demo::{self, Dev},
    run,
};

/// Its length where it is run by itself.
pub const WHOLE: Duration = Duration::from_secs(20 * 60);
/// Its length among the tests.
pub const SHORT: Duration = Duration::from_secs(60);

/// From PyPI, into a directory of its own below `target`.
const PROGRAM: &str = "schemathesis==4.32.5";
/// The hosts that the server has.
const HOSTS: u32 = 2;
/// What it does not look for: what is refused for what it means, not for how it is written, is still as
/// the document says, such as a package that nobody signed.
const PASSED_OVER: &str = "positive_data_acceptance";

/// What is needed of `client.json`.
#[derive(Deserialize)]
struct Client {
    url: String,
    token: String,
    ca: String,
}

/// Runs it for so long; fails where an answer is a 5xx, or another than the document says.
/// `WRIGHT_SECONDS` and `WRIGHT_SEED` go before.
pub async fn api(length: Duration) -> Result {
    let program = install().await?;
    let number = |name: &str, default: u64| {
        let set = std::env::var(name).ok().and_then(|text| text.parse().ok());
        set.unwrap_or(default)
    };
    let seconds = number("WRIGHT_SECONDS", length.as_secs());
    let seed = number("WRIGHT_SEED", 1);
    demo::clean_slate(&run::data()).await?;
    let dev = Dev::start(&run::data(), HOSTS).await?;
    let fuzzed = fuzz(&dev, &program, seconds, seed).await;
    let ended = dev.stop().await?;
    fuzzed?;
    match ended.success() {
        true => Ok(()),
        false => Err(format!("the server ended with {ended}").into()),
    }
}

async fn fuzz(dev: &Dev, program: &PathBuf, seconds: u64, seed: u64) -> Result {
    let client: Client = serde_json::from_slice(&fs::read(dev.data.join("client.json"))?)?;
    let directory = tempfile::tempdir()?;
    let authority = directory.path().join("ca.pem");
    fs::write(&authority, &client.ca)?;
    let mut command = run::command(program, ["run"]);
    command
        .arg(format!("{}/api/openapi.json", client.url))
        .arg("--tls-verify")
        .arg(&authority)
        .args([
            "--header",
            &format!("Authorization: Bearer {}", client.token),
        ])
        .args(["--checks", "all", "--exclude-checks", PASSED_OVER])
        .args(["--max-time", &seconds.to_string()])
        .args(["--seed", &seed.to_string()])
        .args(["--request-timeout", "60", "--warnings", "off", "--no-color"])
        .current_dir(directory.path());
    println!("schemathesis, {seconds} s, seed {seed}");
    run::must(command).await
}

/// Installs it, unless it is there.
async fn install() -> Result<PathBuf> {
    let home = run::target().join("schemathesis");
    let (program, version) = (home.join("bin/schemathesis"), home.join("installed"));
    if fs::read_to_string(&version).is_ok_and(|installed| installed == PROGRAM) {
        return Ok(program);
    }
    let make = || {
        let mut command = run::command("python3", ["-m", "venv", "--clear"]);
        command.arg(&home);
        run::must(command)
    };
    if make().await.is_err() {
        debian::ensure_any(&[&["python3-venv"]]).await?;
        make().await?;
    }
    let pip = home.join("bin/pip");
    run::must(run::command(pip, ["install", "--quiet", PROGRAM])).await?;
    fs::write(version, PROGRAM)?;
    Ok(program)
}
