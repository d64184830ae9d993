//! A job's progress for those who look on: its outline, then what changes.

use futures::{Stream, stream};
use serde::{Deserialize, Serialize};

use crate::engine::Engine;
use crate::watch::JobDelta;
use crate::{JobError, JobId, JobOutline, JobSummary, StepChange};

/// One message of a job's progress.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Progress {
    /// The job as it is: the first message, and again when its plan was replaced.
    Whole(Box<JobOutline>),
    /// What one commit changed.
    Changed {
        /// The job as it is now.
        summary: Box<JobSummary>,
        /// The steps that changed.
        steps: Vec<StepChange>,
    },
}

impl Progress {
    fn is_final(&self) -> bool {
        match self {
            Progress::Whole(outline) => outline.summary().state.is_final(),
            Progress::Changed { summary, .. } => summary.state.is_final(),
        }
    }
}

impl From<JobDelta> for Progress {
    fn from(delta: JobDelta) -> Self {
        match delta {
            JobDelta::Whole(view) => Progress::Whole(Box::new(JobOutline::of(&view))),
            JobDelta::Changed { summary, steps } => Progress::Changed { summary, steps },
        }
    }
}

impl Engine {
    /// Follows a job to its end. Where the job is walked here, it is not read from the store.
    ///
    /// # Errors
    /// [`JobError::Unknown`], or where the store fails.
    pub async fn progress(
        &self,
        id: JobId,
    ) -> Result<impl Stream<Item = Result<Progress, JobError>> + Send + use<>, JobError> {
        let (outline, watch) = self.begin_outline(id).await?;
        let first = Progress::Whole(Box::new(outline));
        let begin = Some((Some(first), watch));
        Ok(stream::unfold(begin, |state| async move {
            let (first, mut watch) = state?;
            let news = match first {
                Some(first) => Ok(first),
                None => watch.next().await?.map(Progress::from),
            };
            // The watch goes on, for an operator may begin the job again; who looks on does not.
            let over = news.as_ref().map_or(true, Progress::is_final);
            Some((news, (!over).then_some((None, watch))))
        }))
    }
}
