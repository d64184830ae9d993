//! Running other programs.

use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::process::Command;

use crate::Result;

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(Path::to_path_buf)
        .unwrap_or_default()
}

/// Where cargo puts what it builds.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// The data directory of the demonstration; packages are signed with the key in it.
///
/// As root, programs run as users of their own, who must be able to pass every directory above; a
/// checkout below a closed home directory is no place for that.
pub fn data() -> PathBuf {
    let beside = target().join("demo");
    let passable = |above: &Path| {
        fs::metadata(above).map_or(true, |meta| meta.permissions().mode() & 0o001 != 0)
    };
    if beside.ancestors().all(passable) {
        beside
    } else {
        PathBuf::from("/var/tmp/wright-demo")
    }
}

/// The release build of a program of ours.
pub fn program(name: &str) -> PathBuf {
    target().join("release").join(name)
}

/// A command in the repository's root.
pub fn command<S: AsRef<OsStr>>(
    program: impl AsRef<OsStr>,
    arguments: impl IntoIterator<Item = S>,
) -> Command {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(root())
        .stdin(Stdio::null());
    command
}

fn shown(command: &Command) -> String {
    let command = command.as_std();
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Runs a command to its end, its output shown; anything but success is an error.
pub async fn must(mut command: Command) -> Result {
    let what = shown(&command);
    let status = command
        .status()
        .await
        .map_err(|error| format!("{what}: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{what}: {status}").into())
    }
}

/// Runs a command to its end and gives what it wrote to standard output.
pub async fn output(mut command: Command) -> Result<String> {
    let what = shown(&command);
    let output = command
        .output()
        .await
        .map_err(|error| format!("{what}: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8(output.stdout)?)
    } else {
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(format!("{what}: {}\n{error}", output.status).into())
    }
}

/// `cargo` with these arguments, to its end.
pub async fn cargo(arguments: &[&str]) -> Result {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    must(command(cargo, arguments)).await
}
