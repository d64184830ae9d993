//! A control plane with simulated hosts: the real server, the real protocol, no real effects.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::Value;

const API: &str = "127.0.0.1:20790";
const AGENTS: &str = "127.0.0.1:20791";

fn wright(data: &Path) -> Command {
    let own = std::env::current_exe().unwrap();
    let beside = own.ancestors().find(|above| above.join("wright").is_file());
    let program = beside.expect("wright is not built: run `cargo xtask test`");
    let mut command = Command::new(program.join("wright"));
    command.env("WRIGHT_DATA", data).stdin(Stdio::null());
    command
}

/// A process that runs until the test ends.
struct Running(Child);

impl Running {
    /// Starts one and waits until it says something.
    fn start(command: &mut Command, log: &Path, word: &str) -> Self {
        let log = File::create(log).unwrap();
        let command = command.stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let said = lines
            .by_ref()
            .map_while(Result::ok)
            .any(|line| line.contains(word));
        std::thread::spawn(move || lines.for_each(drop));
        let running = Running(child);
        assert!(said, "it ended before it said {word:?}");
        running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn must(data: &Path, arguments: &[&str]) -> String {
    let output = wright(data).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {err}\n{out}");
    out
}

fn json(data: &Path, arguments: &[&str]) -> Value {
    let out = must(data, &[arguments, &["-o", "json"]].concat());
    serde_json::from_str(&out).unwrap()
}

struct Bed {
    _directory: tempfile::TempDir,
    data: PathBuf,
    site: PathBuf,
    _server: Running,
    _hosts: Running,
}

/// A server, 20 simulated hosts with this profile, and a generated site of 100 instances.
fn bed(profile: &str) -> Bed {
    let directory = tempfile::tempdir().unwrap();
    let (data, site) = (directory.path().join("data"), directory.path().join("site"));
    let log = |name: &str| directory.path().join(name);
    let server = Running::start(
        wright(&data).args(["server", "--api", API, "--agents", AGENTS]),
        &log("server.log"),
        "data ",
    );
    let out = site.display().to_string();
    must(
        &data,
        &[
            "simulate",
            "--generate",
            "--apps",
            "30",
            "--instances",
            "100",
            "--layers",
            "5",
            "--seed",
            "3",
            "--out",
            &out,
        ],
    );
    let package = format!("{out}/package");
    must(&data, &["package", "build", &package, "--out", &out]);
    let archive = format!("{out}/simulated-1.0.0.wpk");
    must(&data, &["package", "push", &archive]);
    let file = log("profile.toml");
    fs::write(&file, profile).unwrap();
    let url = format!("https://{AGENTS}");
    let hosts = Running::start(
        wright(&data)
            .args(["simulate", "--hosts", "20", "--server", &url])
            .args(["--seed", "3", "--profile", &file.display().to_string()]),
        &log("hosts.log"),
        "hosts are connected",
    );
    Bed {
        _directory: directory,
        data,
        site: site.join("site.yaml"),
        _server: server,
        _hosts: hosts,
    }
}

#[test]
fn a_generated_site_is_built_on_simulated_hosts_although_operations_fail() {
    let bed = bed(
        "[operations.install]\nfailures = 0.05\n[operations.ready]\nmedian-ms = 20\nsigma = 0.5\n",
    );
    let site = bed.site.display().to_string();
    must(&bed.data, &["site", "up", &site, "--yes"]);
    let instances = json(&bed.data, &["instance", "list"]);
    let serving = instances.as_array().unwrap().iter().filter(|instance| {
        instance["record"]["traffic"] == "on" && instance["status"]["phase"] == "ready"
    });
    assert_eq!(serving.count(), 100);
    let report = json(&bed.data, &["site", "report", "generated"]);
    let operations = report["operations"].as_array().unwrap();
    let retried = operations
        .iter()
        .find(|operation| operation["verb"] == "install")
        .map(|operation| operation["retries"].as_u64().unwrap());
    assert!(retried > Some(0), "no install failed: {report}");
    let again = must(&bed.data, &["site", "up", &site, "--yes"]);
    assert!(again.contains("nothing"), "{again}");
}
