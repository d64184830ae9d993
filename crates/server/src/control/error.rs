use wright_inventory::InventoryError;
use wright_model::{Diagnostic, InstanceId, Name};
use wright_store::StoreError;
use wright_workflow::{JobError, JobId};

use crate::secrets::VaultError;

/// Why a site was not planned or changed.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// What was sent is wrong, or cannot be placed. Nothing was changed.
    #[error("{title}")]
    Findings {
        /// What is wrong, in one line.
        title: String,
        /// Each finding.
        diagnostics: Vec<Diagnostic>,
    },
    /// A job of this site runs.
    #[error("job {0} is changing this site; wait for it (`wright job watch {0}`) or cancel it")]
    Busy(JobId),
    /// The plan that was shown is no longer the plan.
    #[error("what is to be done has changed since the plan was shown: plan again")]
    Stale,
    /// The job was overtaken by another one of its site.
    #[error(
        "job {later} has changed this site since: an older plan is not carried out; run `wright site up` again"
    )]
    Overtaken {
        /// The site's last job.
        later: JobId,
    },
    /// An instance kept data, which is gone from its host with it.
    #[error(
        "the data of {instance} was on host {host} and is not there any more: bring it back; or, if it may be lost \
         or stands elsewhere, forget it: wright instance forget {instance}"
    )]
    DataLost {
        /// Which.
        instance: InstanceId,
        /// Where it was.
        host: Name,
    },
    /// The instance's host lives and has it.
    #[error("{instance} is on host {host}, which is not dead: change the site's files instead")]
    Alive {
        /// Which.
        instance: InstanceId,
        /// Where it is.
        host: Name,
    },
    /// A host did not do what it was asked.
    #[error("host {host}: {reason}")]
    Host {
        /// Which.
        host: Name,
        /// Why not.
        reason: String,
    },
    /// There is no such thing.
    #[error("there is no {0}")]
    NotFound(String),
    /// The inventory failed.
    #[error(transparent)]
    Inventory(#[from] InventoryError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A secret could not be made.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The job engine refused.
    #[error(transparent)]
    Workflow(JobError),
    /// A value could not be written.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

impl ControlError {
    /// Whether the same may go well later: the store failed, and was not closed.
    pub(super) fn may_pass(&self) -> bool {
        let store = match self {
            ControlError::Store(error)
            | ControlError::Inventory(InventoryError::Store(error))
            | ControlError::Workflow(JobError::Store(error)) => error,
            ControlError::Vault(_) => return true,
            _ => return false,
        };
        !matches!(store, StoreError::Closed)
    }
}

impl From<JobError> for ControlError {
    fn from(error: JobError) -> Self {
        match error {
            JobError::Busy { other, .. } => ControlError::Busy(other),
            error => ControlError::Workflow(error),
        }
    }
}

pub(super) fn findings(title: impl Into<String>) -> impl FnOnce(Vec<Diagnostic>) -> ControlError {
    let title = title.into();
    move |diagnostics| ControlError::Findings { title, diagnostics }
}
