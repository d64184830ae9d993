//! The project's own commands: `cargo xtask demo`, `cargo xtask test`, `cargo xtask bench NAME`,
//! `cargo xtask soak NAME`.

mod bench;
mod debian;
mod demo;
mod leftovers;
mod packages;
mod run;
mod soak;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What a command of ours may fail with.
type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Builds the example shop on eight hosts of this machine and leaves it running until Ctrl-C.
    Demo {
        /// No terminal needed: build, buy something, take down, look for leftovers; exit 0 or 1.
        #[arg(long)]
        check: bool,
    },
    /// Everything that must hold: format, lints, docs, unit tests, end-to-end tests.
    Test {
        /// Only the end-to-end tests whose name contains this.
        #[arg(long)]
        only: Option<String>,
    },
    /// Measures, beside its peers, and writes bench/results/NAME.json.
    Bench {
        /// `site`, `scale` or `inventory`.
        name: String,
        /// Runs of each.
        #[arg(long, default_value_t = 5)]
        runs: usize,
        /// Resources of the inventory; with fewer than a million nothing is written down.
        #[arg(long)]
        resources: Option<u64>,
        /// Only this part of `scale`; nothing is written down.
        #[arg(long)]
        only: Option<String>,
    },
    /// What needs long to mean much: `crash`, `builds`, `feed`, `store` or `api`. Ends with 0 or 1.
    Soak {
        /// Which.
        name: String,
    },
    /// Builds the programs and the packages of the example site into target/packages.
    Packages,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Demo { check } => demo::demo(check).await,
        Command::Test { only } => test::test(only.as_deref()).await,
        Command::Bench {
            name,
            runs,
            resources,
            only,
        } => bench::bench(&name, runs, resources, only.as_deref()).await,
        Command::Soak { name } => soak::soak(&name).await,
        Command::Packages => packages::prepare().await.map(|_| ()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
