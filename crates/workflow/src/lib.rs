#![doc = include_str!("../README.md")]

mod attempt;
mod clock;
mod driver;
mod engine;
mod error;
mod plan;
mod records;
mod report;
mod run;
mod settings;
mod step;
#[cfg(test)]
mod testing;
mod verb;
mod walk;
mod watch;

pub use clock::{Clock, SystemClock};
pub use engine::Engine;
pub use error::{JobError, PlanError};
pub use plan::{MAX_NAME, check_plan};
pub use records::Status as StepStatus;
pub use report::{PathPart, VerbStatistics, critical_path, expected_critical_path, statistics};
pub use settings::{Amendment, JobFilter, Settings, Verbs};
pub use step::*;
pub use verb::*;
pub use watch::{JobDelta, JobWatch, StepChange};
