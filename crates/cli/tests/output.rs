//! Where the output goes, it goes as a whole, or the exit code says that it did not.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs::File,
    process::{Command, Stdio},
};

fn completions() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wright"));
    command.args(["completions", "bash"]).stderr(Stdio::piped());
    command
}

#[test]
fn what_cannot_be_written_is_a_failure() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = completions().stdout(full).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("No space left"), "{said}");
}

#[test]
fn a_reader_who_has_enough_is_no_failure() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = completions().stdout(writer).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), said.as_str()), (Some(0), ""));
}
