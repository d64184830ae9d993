//! Why a command did not do what it was asked, and with which exit code it ends.

use std::{fmt, process::ExitCode};

use wright_model::Problem;

/// A command's end that is not success.
#[derive(Debug)]
pub struct Failure {
    message: String,
    code: u8,
    unreachable: bool,
}

impl Failure {
    /// It was tried and failed: exit code 1.
    pub fn failed(message: impl Into<String>) -> Self {
        Failure {
            message: message.into(),
            code: 1,
            unreachable: false,
        }
    }

    /// It was asked for wrongly: exit code 2.
    pub fn usage(message: impl Into<String>) -> Self {
        Failure {
            message: message.into(),
            code: 2,
            unreachable: false,
        }
    }

    /// Somebody pressed Ctrl-C: exit code 130, as shells have it (128 and the signal's number).
    pub fn interrupted(message: impl Into<String>) -> Self {
        Failure {
            message: message.into(),
            code: 130,
            unreachable: false,
        }
    }

    /// The server did not answer: exit code 1; asking again may help.
    pub fn unreachable(message: impl Into<String>) -> Self {
        Failure {
            message: message.into(),
            code: 1,
            unreachable: true,
        }
    }

    /// The link broke in the middle of an answer.
    pub fn link(error: impl fmt::Display) -> Self {
        Failure::unreachable(format!("the link to the server broke: {error}"))
    }

    /// The same, with what it is about before it.
    #[must_use]
    pub fn about(mut self, what: &impl fmt::Display) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// Whether the server was not there.
    pub fn is_unreachable(&self) -> bool {
        self.unreachable
    }

    /// The process's exit code.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        if problem.diagnostics.is_empty() {
            return Failure::failed(format!("{}: {}", problem.title, problem.detail));
        }
        let findings: Vec<String> = problem
            .diagnostics
            .iter()
            .map(ToString::to_string)
            .collect();
        Failure::failed(format!(
            "{}\n\n{}\n\n{}",
            problem.title,
            findings.join("\n"),
            problem.detail
        ))
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Failure::failed(error.to_string())
    }
}
