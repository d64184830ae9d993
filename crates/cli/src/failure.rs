//! Why a command did not do what it was asked, and with which exit code it ends.

use std::{fmt, process::ExitCode};

use wright_model::{Diagnostic, Problem};

/// A command's end that is not success.
#[derive(Debug)]
pub struct Failure {
    message: String,
    /// What is wrong in what was sent, and a last word on all of it.
    findings: Vec<Diagnostic>,
    outcome: String,
    code: u8,
    unreachable: bool,
}

impl Failure {
    fn new(code: u8, message: impl Into<String>) -> Self {
        Failure {
            message: message.into(),
            findings: Vec::new(),
            outcome: String::new(),
            code,
            unreachable: false,
        }
    }

    /// It was tried and failed: exit code 1.
    pub fn failed(message: impl Into<String>) -> Self {
        Failure::new(1, message)
    }

    /// It was asked for wrongly: exit code 2.
    pub fn usage(message: impl Into<String>) -> Self {
        Failure::new(2, message)
    }

    /// Somebody pressed Ctrl-C: exit code 130, as shells have it (128 and the signal's number).
    pub fn interrupted(message: impl Into<String>) -> Self {
        Failure::new(130, message)
    }

    /// The server did not answer: exit code 1; asking again may help.
    pub fn unreachable(message: impl Into<String>) -> Self {
        Failure {
            unreachable: true,
            ..Failure::new(1, message)
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

    /// The same, with findings in `document` of the server's words said of line `line` of `file`.
    pub fn place(&mut self, document: &str, file: &str, line: u32) {
        for finding in &mut self.findings {
            if finding.file == document && finding.line == 0 {
                finding.message = format!("{document}: {}", finding.message);
                file.clone_into(&mut finding.file);
                (finding.line, finding.column) = (line, 1);
            }
        }
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
        f.write_str(&self.message)?;
        if self.findings.is_empty() {
            return Ok(());
        }
        f.write_str("\n")?;
        for finding in &self.findings {
            write!(f, "\n{finding}")?;
        }
        write!(f, "\n\n{}", self.outcome)
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        if problem.diagnostics.is_empty() {
            return Failure::failed(format!("{}: {}", problem.title, problem.detail));
        }
        Failure {
            findings: problem.diagnostics,
            outcome: problem.detail,
            ..Failure::new(1, problem.title)
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Failure::failed(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_in_a_resource_are_told_with_the_line_of_its_file() {
        let mut problem = Problem::new(
            422,
            "invalid",
            "not as its kind says",
            "nothing was changed",
        );
        let finding = Diagnostic::error("required", "site: nothing was found").at("room/b2", 0, 0);
        problem.diagnostics.push(finding);
        let mut failure = Failure::from(problem);
        failure.place("room/b3", "other.yaml", 1);
        failure.place("room/b2", "site.yaml", 12);
        let wanted = "not as its kind says\n\nsite.yaml:12:1: room/b2: site: nothing was found \
                      [required]\n\nnothing was changed";
        assert_eq!(failure.to_string(), wanted);
    }
}
