//! A control plane with simulated hosts: the real server, the real protocol, no real effects.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;
use wright_e2e::{Running, built, from_environment};

const API: &str = "127.0.0.1:20790";
const AGENTS: &str = "127.0.0.1:20791";

fn wright(data: &Path) -> Command {
    let mut command = Command::new(built("wright"));
    command.env("WRIGHT_DATA", data).stdin(Stdio::null());
    command
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

/// How large a simulation is.
struct Size {
    hosts: u32,
    apps: u32,
    instances: u32,
    seed: u64,
}

const SMALL: Size = Size {
    hosts: 20,
    apps: 30,
    instances: 100,
    seed: 3,
};

/// A server, simulated hosts with this profile, and a generated site in five layers.
fn bed(size: &Size, profile: &str) -> Bed {
    let [hosts, apps, instances] = [size.hosts, size.apps, size.instances].map(|n| n.to_string());
    let seed = size.seed.to_string();
    let directory = tempfile::tempdir().unwrap();
    let (data, site) = (directory.path().join("data"), directory.path().join("site"));
    let log = |name: &str| directory.path().join(name);
    let server = Running::start(
        wright(&data).args([
            "server",
            "--api",
            API,
            "--agents",
            AGENTS,
            "--dead-after",
            "2s",
        ]),
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
            &apps,
            "--instances",
            &instances,
            "--layers",
            "5",
            "--seed",
            &seed,
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
            .args(["simulate", "--hosts", &hosts, "--server", &url])
            .args(["--seed", &seed, "--profile", &file.display().to_string()]),
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

/// How many instances are ready and take traffic.
fn serving(bed: &Bed) -> usize {
    let instances = json(&bed.data, &["instance", "list"]);
    let serving = instances.as_array().unwrap().iter().filter(|instance| {
        instance["record"]["traffic"] == "on" && instance["status"]["phase"] == "ready"
    });
    serving.count()
}

#[test]
fn a_generated_site_is_built_on_simulated_hosts_although_operations_fail() {
    let bed = bed(
        &SMALL,
        "[operations.install]\nfailures = 0.05\n[operations.ready]\nmedian-ms = 20\nsigma = 0.5\n",
    );
    let site = bed.site.display().to_string();
    must(&bed.data, &["site", "up", &site, "--yes"]);
    assert_eq!(serving(&bed), 100);
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

/// 5 % of the hosts die while the site is built, and 1 % of all operations fail. Two small builds;
/// `cargo xtask soak builds` makes a hundred of 2,000 instances, by `WRIGHT_BUILDS`,
/// `WRIGHT_INSTANCES` and `WRIGHT_SEED`, the first one's.
#[test]
fn no_human_is_needed_where_hosts_die_and_operations_fail() {
    let builds = from_environment("WRIGHT_BUILDS", 2_u32);
    let instances = from_environment("WRIGHT_INSTANCES", 200_u32);
    let seed = from_environment("WRIGHT_SEED", 100_u32);
    let mut profile = "dead = 0.05\ndies-within-s = 4.0\n".to_owned();
    for operation in ["fetch", "install", "configure", "start", "ready", "check"] {
        profile.push_str(&format!(
            "[operations.{operation}]\nfailures = 0.01\nmedian-ms = 150\nsigma = 0.5\n"
        ));
    }
    for build in 0..builds {
        let size = Size {
            hosts: instances / 4,
            apps: instances / 5,
            instances,
            seed: u64::from(seed + build),
        };
        let bed = bed(&size, &profile);
        let site = bed.site.display().to_string();
        must(&bed.data, &["site", "up", &site, "--yes"]);
        let healed = |bed: &Bed| serving(bed) == instances as usize;
        let begun = std::time::Instant::now();
        while !healed(&bed) {
            assert!(
                begun.elapsed() < std::time::Duration::from_secs(120),
                "seed {}: {} of {instances} instances serve",
                size.seed,
                serving(&bed)
            );
            std::thread::park_timeout(std::time::Duration::from_millis(500));
        }
        println!(
            "build {} of {builds}: {instances} instances serve",
            build + 1
        );
    }
}

#[test]
fn a_build_for_which_too_few_hosts_are_left_ends_with_that_cause() {
    let size = Size {
        hosts: 30,
        apps: 40,
        instances: 200,
        seed: 5,
    };
    let bed = bed(
        &size,
        "dead = 0.9\ndies-within-s = 1.0\n[operations.ready]\nmedian-ms = 4000\n",
    );
    let site = bed.site.display().to_string();
    let output = wright(&bed.data)
        .args(["site", "up", &site, "--yes"])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let job = &json(&bed.data, &["job", "list"])[0];
    let cause = job["cause"].as_str().unwrap();
    assert!(
        cause.contains("died and the rest cannot take its instances"),
        "{job}"
    );
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(cause), "{said}");
}
