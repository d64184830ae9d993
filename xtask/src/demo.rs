//! `cargo xtask demo`: the first thing a newcomer runs.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Child,
};

use crate::{Result, leftovers, packages, run};

/// How long the hosts may take to be there.
const HOSTS_WITHIN: Duration = Duration::from_secs(30);
/// How long everything may take to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(60);

/// A running `wright dev`.
pub struct Dev {
    child: Child,
    /// Its data directory.
    pub data: PathBuf,
}

impl Dev {
    /// Starts it with eight hosts and waits until they are there.
    pub async fn start(data: &Path, hosts: u32) -> Result<Self> {
        let mut command = run::command(
            run::program("wright"),
            ["dev", "--hosts", &hosts.to_string()],
        );
        command
            .env("WRIGHT_DATA", data)
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn()?;
        let stdout = child.stdout.take().ok_or("no standard output")?;
        let mut lines = BufReader::new(stdout).lines();
        let ready = async {
            while let Some(line) = lines.next_line().await? {
                println!("{line}");
                if line.contains("hosts are ready") {
                    return Ok(());
                }
            }
            Err::<(), Box<dyn std::error::Error + Send + Sync>>(
                "`wright dev` ended before its hosts were ready".into(),
            )
        };
        tokio::time::timeout(HOSTS_WITHIN, ready)
            .await
            .map_err(|_| "the hosts were not ready in 30 s")??;
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                println!("{line}");
            }
        });
        Ok(Dev {
            child,
            data: data.to_path_buf(),
        })
    }

    /// `wright` with this data directory.
    pub fn wright(&self, arguments: &[&str]) -> tokio::process::Command {
        let mut command = run::command(run::program("wright"), arguments);
        command.env("WRIGHT_DATA", &self.data);
        command
    }

    /// Puts the example's packages into its package store.
    pub async fn push(&self, archives: &[PathBuf]) -> Result {
        let mut command = self.wright(&["package", "push"]);
        command.args(archives).stdout(Stdio::null());
        run::must(command).await
    }

    /// What Ctrl-C does, and waits for the end.
    pub async fn stop(mut self) -> Result<ExitStatus> {
        if let Some(pid) = self.child.id() {
            run::must(run::command("kill", ["-INT", &pid.to_string()])).await?;
        }
        self.ended().await
    }

    async fn ended(&mut self) -> Result<ExitStatus> {
        let ended = tokio::time::timeout(GONE_WITHIN, self.child.wait()).await;
        Ok(ended.map_err(|_| "`wright dev` did not end in 60 s")??)
    }
}

/// Begins anew, but for the key: hosts that an earlier run left, because it was killed, are ended.
pub async fn clean_slate(data: &Path) -> Result {
    if fs::read_dir(data.join("hosts")).is_ok_and(|mut hosts| hosts.next().is_some()) {
        println!("taking down what an earlier run left");
        Dev::start(data, 8).await?.stop().await?;
    }
    for part in ["store", "server", "client.json"] {
        let path = data.join(part);
        let removed = if path.is_dir() {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        if let Err(error) = removed
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(format!("{}: {error}", path.display()).into());
        }
    }
    Ok(())
}

/// Builds the shop; then either checks it and takes it down, or leaves it to be looked at.
pub async fn demo(check: bool) -> Result {
    let archives = packages::prepare().await?;
    clean_slate(&run::data()).await?;
    let dev = Dev::start(&run::data(), 8).await?;
    dev.push(&archives).await?;
    let report = dev.data.join("report.html");
    let mut up = dev.wright(&["site", "up", "examples/shop/site.yaml", "--yes", "--report"]);
    up.arg(&report);
    run::must(up).await?;
    let door = front_door(&dev).await?;
    if check {
        return finish_check(dev, &door).await;
    }
    let programs = run::target().join("release");
    println!("\nThe shop is open:    {door}");
    println!("The build's report:  {}", report.display());
    println!("\nIn another terminal:");
    println!(
        "  export WRIGHT_DATA={} PATH={}:$PATH",
        dev.data.display(),
        programs.display()
    );
    println!("  wright site status shop");
    println!("  wright instance logs -f order-1");
    println!("  wright host kill h3          # pull a plug, and watch: wright events --follow");
    println!("\nCtrl-C takes everything down.");
    let mut dev = dev;
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        ended = dev.child.wait() => return Err(format!("`wright dev` ended: {}", ended?).into()),
    }
    // The terminal has sent the signal to `wright dev` too.
    let status = dev.ended().await?;
    nothing_left(&run::data())?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("`wright dev`: {status}").into())
    }
}

/// Where the shop's front door listens: the address of the nginx instance.
pub async fn front_door(dev: &Dev) -> Result<String> {
    let text = run::output(dev.wright(&["site", "status", "shop", "-o", "json"])).await?;
    let status: serde_json::Value = serde_json::from_str(&text)?;
    let apps = status["apps"]
        .as_array()
        .ok_or("no apps in the site's status")?;
    let nginx = apps
        .iter()
        .find(|app| app["app"] == "nginx")
        .ok_or("no nginx in the site's status")?;
    let instance = &nginx["instances"][0];
    let address = instance["address"]
        .as_str()
        .ok_or("no address of nginx in the site's status")?;
    let port = instance["ports"]["http"]
        .as_u64()
        .ok_or("no port of nginx in the site's status")?;
    Ok(format!("http://{address}:{port}/"))
}

async fn finish_check(dev: Dev, door: &str) -> Result {
    run::must(run::command(
        run::program("shop-buyer"),
        ["--url", door, "--expect-no-errors"],
    ))
    .await?;
    run::must(dev.wright(&["site", "down", "shop", "--yes"])).await?;
    let left = run::output(dev.wright(&["instance", "list", "-o", "json"])).await?;
    let left: Vec<serde_json::Value> = serde_json::from_str(&left)?;
    if !left.is_empty() {
        return Err(format!("{} instances are left after `site down`", left.len()).into());
    }
    let data = dev.data.clone();
    let status = dev.stop().await?;
    if !status.success() {
        return Err(format!("`wright dev`: {status}").into());
    }
    nothing_left(&data)?;
    println!("the shop was built, sold something, and left nothing behind");
    Ok(())
}

/// Fails with what is left below a data directory after its end.
pub fn nothing_left(data: &Path) -> Result {
    let left = leftovers::find(data);
    if left.is_empty() {
        Ok(())
    } else {
        Err(format!("left behind:\n  {}", left.join("\n  ")).into())
    }
}
