//! What follows from a job's end.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use wright_model::{HostState, Name};
use wright_workflow::{JobId, JobState};

use super::{Control, ControlError, SITE_DOWN};
use crate::records::{self, kind};

impl Control {
    /// Follows jobs to their end and hosts to theirs, until `shutdown`.
    pub async fn run(
        self: Arc<Self>,
        mut died: mpsc::UnboundedReceiver<Name>,
        shutdown: CancellationToken,
    ) {
        if let Err(error) = self.take_up().await {
            tracing::error!(%error, "what an earlier server left cannot be taken up");
        }
        loop {
            let done = tokio::select! {
                () = shutdown.cancelled() => return,
                Some(host) = died.recv() => self.host_died(&host).await,
            };
            if let Err(error) = done {
                tracing::error!(%error, "site control could not follow");
            }
        }
    }

    /// Follows the jobs that an earlier server left, notes those it had no time to note, and sees to
    /// hosts that it gave up without having seen to what was on them.
    async fn take_up(self: &Arc<Self>) -> Result<(), ControlError> {
        for job in self.unfinished().await? {
            if let Some(site) = site_of(&job.subject) {
                let context = serde_json::from_value(self.engine.show(job.id).await?.context)?;
                self.note_job(&site, job.id, &job.kind, context).await?;
            }
            self.follow(job.id);
        }
        for host in records::hosts(&self.inventory).await? {
            if host.state == HostState::Dead {
                self.host_died(&host.name).await?;
            }
        }
        Ok(())
    }

    /// Sees to what follows from a job's end when it comes.
    pub(super) fn follow(self: &Arc<Self>, job: JobId) {
        let control = Arc::downgrade(self);
        let engine = self.engine.clone();
        tokio::spawn(async move {
            let ended = async {
                let mut watch = engine.watch(job).await?;
                while watch.next().await.transpose()?.is_some() {}
                match control.upgrade() {
                    Some(control) => control.job_ended(job).await,
                    None => Ok(()),
                }
            };
            if let Err(error) = ended.await {
                tracing::error!(%job, %error, "a job's end could not be followed");
            }
        });
    }

    /// What follows from a job's end: a site that is gone is forgotten, one that is up has served.
    async fn job_ended(&self, job: JobId) -> Result<(), ControlError> {
        let view = self.engine.show(job).await?.summary;
        let Some(site) = site_of(&view.subject) else {
            return Ok(());
        };
        let word = format!("{:?}", view.state).to_lowercase();
        let message = if view.cause.is_empty() {
            word.clone()
        } else {
            format!("{word}: {}", view.cause)
        };
        self.event(
            "wright",
            &format!("job-{word}"),
            &site,
            &format!("{}: {message}", view.title),
        )
        .await?;
        match (view.kind.as_str(), view.state) {
            (SITE_DOWN, JobState::Succeeded) => self.forget(&site).await,
            (_, JobState::Succeeded) => {
                let Some(mut record) = records::site(&self.inventory, &site).await? else {
                    return Ok(());
                };
                record.served = true;
                Ok(self
                    .inventory
                    .put_as(kind::SITE, site.as_str(), &record)
                    .await
                    .map(|_| ())?)
            }
            _ => Ok(()),
        }
    }

    pub(super) async fn forget(&self, site: &Name) -> Result<(), ControlError> {
        self.vault.forget(site).await?;
        Ok(self.inventory.delete(kind::SITE, site.as_str()).await?)
    }
}

/// The site that a job's subject names.
fn site_of(subject: &str) -> Option<Name> {
    subject.strip_prefix("site/")?.parse().ok()
}
