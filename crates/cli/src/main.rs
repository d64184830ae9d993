//! `wright`: the one program of Sitewright, in every role.

mod args;
mod client;
mod commands;
mod failure;
mod output;
mod progress;

use std::{io::Write as _, process::ExitCode};

use clap::Parser as _;

fn main() -> ExitCode {
    // On every program's way up, so it must be quick: before the command line is even looked at.
    if std::env::args_os()
        .nth(1)
        .is_some_and(|word| word == "launch")
    {
        return wright_agent::launch();
    }
    let arguments = args::Arguments::parse();
    match commands::run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // The terminal may be gone: that is no reason to panic.
            let _ = writeln!(
                std::io::stderr(),
                "{} {failure}",
                console::style("error:").red().bold().for_stderr()
            );
            failure.exit_code()
        }
    }
}
