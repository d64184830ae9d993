//! The Debian packages that the middleware's programs are taken from, and the store's cluster.

use std::{
    fs, io,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
    process::Stdio,
};

use crate::{Result, run};

/// What is needed: any one of each line.
const NEEDED: [&[&str]; 7] = [
    &["postgresql-15"],
    &["redis-server"],
    &["nats-server"],
    &["nginx-light", "nginx-core", "nginx-full", "nginx-extras"],
    &["libnss-wrapper"],
    &["etcd-server"],
    &["etcd-client"],
];
/// Asked by `invoke-rc.d` whether it may start a service; 101 is no.
const POLICY: &str = "/usr/sbin/policy-rc.d";
/// Says whether `postgresql-common` makes a cluster of its own for a new server.
const CLUSTERS: &str = "/etc/postgresql-common/createcluster.conf";

/// Installs what the example site needs and is missing.
///
/// # Errors
/// As [`ensure_any`].
pub async fn ensure() -> Result {
    ensure_any(&NEEDED).await
}

/// Installs what is missing, the first of each line. No service is started and no PostgreSQL cluster
/// made.
///
/// # Errors
/// When something is missing and this user may not install it, with the line to run; or when it
/// cannot be installed.
pub async fn ensure_any(needed: &[&[&'static str]]) -> Result {
    let missing = missing(needed).await?;
    if missing.is_empty() {
        return Ok(());
    }
    let line = format!(
        "apt-get install -y --no-install-recommends {}",
        missing.join(" ")
    );
    let user = run::output(run::command("id", ["-u"])).await?;
    if user.trim() != "0" {
        return Err(format!("Debian packages are missing; run: sudo {line}").into());
    }
    println!("{line}");
    let _no_services = Quiet::begin().await?;
    if install(&missing).await.is_ok() {
        return Ok(());
    }
    // The lists of packages may be missing or too old.
    run::must(apt(["update"])).await?;
    install(&missing).await
}

async fn missing(needed: &[&[&'static str]]) -> Result<Vec<&'static str>> {
    let mut missing = Vec::new();
    for any in needed {
        if !installed(any).await? {
            missing.extend(any.first());
        }
    }
    Ok(missing)
}

async fn installed(any: &[&str]) -> Result<bool> {
    let mut query = run::command("dpkg-query", ["-W", "-f", "${db:Status-Status}\n"]);
    query.args(any).stderr(Stdio::null());
    // It fails where one of the names is unknown, and still answers for the others.
    let answer = query.output().await.map_err(|error| {
        format!("dpkg-query: {error}; the middleware comes from Debian packages")
    })?;
    Ok(String::from_utf8_lossy(&answer.stdout)
        .lines()
        .any(|status| status == "installed"))
}

fn apt<const N: usize>(arguments: [&str; N]) -> tokio::process::Command {
    let mut apt = run::command("apt-get", arguments);
    apt.env("DEBIAN_FRONTEND", "noninteractive")
        .stdout(Stdio::null());
    apt
}

async fn install(packages: &[&str]) -> Result {
    let mut command = apt(["install", "-y", "--no-install-recommends"]);
    command.args(packages);
    run::must(command).await
}

/// While it exists, packages start no service. It takes back only what it wrote.
struct Quiet {
    policy: bool,
}

impl Quiet {
    async fn begin() -> Result<Self> {
        let policy = write_new(Path::new(POLICY), "#!/bin/sh\nexit 101\n", 0o755)?;
        let quiet = Quiet { policy };
        if !installed(&["postgresql-common"]).await? {
            if let Some(directory) = Path::new(CLUSTERS).parent() {
                fs::create_dir_all(directory)?;
            }
            write_new(Path::new(CLUSTERS), "create_main_cluster = false\n", 0o644)?;
        }
        Ok(quiet)
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        if self.policy
            && let Err(error) = fs::remove_file(POLICY)
        {
            eprintln!("{POLICY} is left behind: {error}");
        }
    }
}

/// Whether the file was not there before.
fn write_new(path: &Path, text: &str, mode: u32) -> Result<bool> {
    let file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path);
    let written = file.and_then(|mut file| {
        io::Write::write_all(&mut file, text.as_bytes())?;
        file.set_permissions(fs::Permissions::from_mode(mode))
    });
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(format!("{}: {error}", path.display()).into()),
    }
}
