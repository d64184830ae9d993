#![doc = include_str!("../README.md")]

mod attempt;
mod clock;
mod driver;
mod ended;
mod engine;
mod error;
mod history;
mod inject;
mod kept;
mod operate;
mod outline;
mod packed;
mod plan;
mod progress;
mod reading;
mod records;
mod report;
mod run;
mod settings;
mod step;
mod subjob;
#[cfg(test)]
mod testing;
mod verb;
mod wait;
mod walk;
mod watch;

pub use clock::{Clock, SystemClock};
pub use engine::Engine;
pub use error::{JobError, PlanError};
pub use inject::Repeat;
pub use kept::SharedOutline;
pub use outline::{JobOutline, StepOutline};
pub use plan::{JOB, MAX_NAME, WAIT, check_plan};
pub use progress::Progress;
pub use records::Status as StepStatus;
pub use report::{
    PathPart, VerbStatistics, critical_path, expected_critical_path, longest_path, statistics,
};
pub use settings::{Amendment, JobFilter, Keep, Settings, Verbs};
pub use step::*;
pub use subjob::{Graph, SubJob};
pub use verb::*;
pub use wait::{Answer, Closed, Decision, Question, Verdict, Wait};
pub use watch::{JobDelta, JobWatch, StepChange};
