//! `cargo xtask soak NAME`: the tests that need long to mean much, at their full length.

pub mod api;

use crate::{Result, packages, run};

/// A soak: the test that it is, and how long that is at its full length.
struct Soak {
    name: &'static str,
    package: &'static str,
    /// What `cargo test` is told beside the package.
    test: &'static [&'static str],
    settings: &'static [(&'static str, &'static str)],
}

const SOAKS: &[Soak] = &[
    Soak {
        name: "crash",
        package: "wright-e2e",
        test: &["--test", "chaos", "--test", "cluster", "whoever_dies"],
        settings: &[("WRIGHT_BLOWS", "1000")],
    },
    Soak {
        name: "builds",
        package: "wright-e2e",
        test: &["no_human_is_needed_where_hosts_die_and_operations_fail"],
        settings: &[("WRIGHT_BUILDS", "100"), ("WRIGHT_INSTANCES", "2000")],
    },
    Soak {
        name: "feed",
        package: "wright-e2e",
        test: &["--test", "feed"],
        settings: &[("WRIGHT_KILLS", "100")],
    },
    Soak {
        name: "store",
        package: "wright-store",
        test: &["--test", "crash", "--test", "torn"],
        settings: &[("WRIGHT_KILLS", "1000"), ("WRIGHT_EVERY_OFFSET", "1")],
    },
];

/// Runs one. What the environment sets (`WRIGHT_SEED`, `WRIGHT_BLOWS`, …) goes before.
pub async fn soak(name: &str) -> Result {
    if name == "api" {
        run::cargo(&["build", "--release", "--package", "wright-cli"]).await?;
        return api::api(api::WHOLE).await;
    }
    let Some(soak) = SOAKS.iter().find(|soak| soak.name == name) else {
        let names = SOAKS.iter().map(|soak| soak.name).chain(["api"]);
        let names: Vec<_> = names.collect();
        return Err(format!("there is no soak {name:?}; there are: {}", names.join(", ")).into());
    };
    if soak.package == "wright-e2e" {
        packages::prepare().await?;
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let before = ["test", "--package", soak.package];
    let profile: &[&str] = match soak.package {
        // What is at work there are the programs, which are a release.
        "wright-e2e" => &[],
        _ => &["--release"],
    };
    let arguments = [&before, profile, soak.test, &["--", "--nocapture"]].concat();
    let mut command = run::command(cargo, arguments);
    for (name, value) in soak.settings {
        if std::env::var_os(name).is_none() {
            command.env(name, value);
        }
    }
    run::must(command).await
}
