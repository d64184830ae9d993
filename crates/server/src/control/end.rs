//! What follows from a job's end.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use wright_inventory::{Event, Put};
use wright_model::{HostState, Name};
use wright_workflow::{JobError, JobId, JobState, JobSummary};

use super::{Control, ControlError, SITE_DOWN};
use crate::records::{self, SiteRecord, kind};

/// What is there no longer, and leaves something to be seen to.
#[derive(Debug)]
pub enum Lost {
    /// A host was given up.
    Host(Name),
    /// A server is no member any more: it may have submitted jobs whose end nobody else follows.
    Server,
}

impl Control {
    /// Follows jobs to their end and hosts to theirs, until `shutdown`.
    pub async fn run(
        self: Arc<Self>,
        mut lost: mpsc::UnboundedReceiver<Lost>,
        shutdown: CancellationToken,
    ) {
        let follow = async {
            until_done("what an earlier server left", || self.take_up()).await;
            while let Some(lost) = lost.recv().await {
                match lost {
                    Lost::Host(host) => {
                        until_done("a host's death", || self.host_died(&host)).await;
                    }
                    Lost::Server => until_done("what a server left", || self.take_up()).await,
                }
            }
        };
        shutdown.run_until_cancelled(follow).await;
    }

    /// Follows the jobs that an earlier server left, notes those it had no time to note, and sees to
    /// hosts that it gave up without having seen to what was on them.
    async fn take_up(self: &Arc<Self>) -> Result<(), ControlError> {
        for job in self.unfinished().await? {
            if let Some(site) = site_of(&job.subject)
                && !self.is_noted(&site, job.id).await?
            {
                let context = serde_json::from_value(self.engine.show(job.id).await?.context)?;
                self.note_job(&site, job.id, &job.kind, context).await?;
            }
            self.follow(job.id);
        }
        let sites: Vec<(String, SiteRecord)> = self.inventory.list_named_as(kind::SITE).await?;
        for site in sites.iter().filter_map(|(site, _)| site.parse().ok()) {
            let _one = self.planning.lock().await?;
            self.conclude(&site).await?;
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
        tokio::spawn(until_done("a job's end", move || {
            let (control, engine) = (control.clone(), engine.clone());
            async move {
                engine.ended(job).await?;
                match control.upgrade() {
                    Some(control) => control.job_ended(job).await,
                    None => Ok(()),
                }
            }
        }));
    }

    /// A job has ended: sees to its site, and to hosts that died while nobody could make its plan
    /// anew, for it was being undone.
    async fn job_ended(self: &Arc<Self>, job: JobId) -> Result<(), ControlError> {
        let ended = self.engine.summary(job).await?;
        let Some(site) = site_of(&ended.subject) else {
            return Ok(());
        };
        let _one = self.planning.lock().await?;
        self.conclude(&site).await?;
        for host in records::hosts(&self.inventory).await? {
            if host.state == HostState::Dead && host.since > ended.created_at {
                self.site_lost(&site, &host.name).await?;
            }
        }
        Ok(())
    }

    /// Sees to what follows from the end of a site's last job, if it has ended, once: a site that
    /// is gone is forgotten, one that is up has served. Under the lock of planning, so that it is
    /// over before the site's next job begins; done again at the start, since an earlier server may
    /// have died between a job's end and this.
    pub(super) async fn conclude(&self, site: &Name) -> Result<(), ControlError> {
        let Some(mut record) = records::site(&self.inventory, site).await? else {
            return Ok(());
        };
        let Some(job) = record.job else {
            return Ok(());
        };
        let ended = match self.engine.summary(job).await {
            Ok(summary) => summary,
            Err(JobError::Unknown(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let conclusion = Some((job, ended.plan));
        if !ended.state.is_final() || record.concluded == conclusion {
            return Ok(());
        }
        let mut writes = vec![told(site, &ended).operation()?];
        match (ended.kind.as_str(), ended.state) {
            (SITE_DOWN, JobState::Succeeded) => {
                self.vault.forget(site).await?;
                writes.extend(wright_inventory::delete_operations(
                    kind::SITE,
                    site.as_str(),
                ));
            }
            (_, state) => {
                if state == JobState::Succeeded {
                    record.stood = Some(record.bundle);
                }
                // Who cancels a take-down wants the site to stay.
                record.going &= state != JobState::Cancelled;
                record.concluded = conclusion;
                writes.extend(Put::new(kind::SITE, site.as_str(), &record)?.operations()?);
            }
        }
        self.store.commit(Vec::new(), writes).await?;
        Ok(())
    }

    pub(super) async fn forget(&self, site: &Name) -> Result<(), ControlError> {
        self.vault.forget(site).await?;
        Ok(self.inventory.delete(kind::SITE, site.as_str()).await?)
    }
}

/// Does what must not be left undone: again after a pause where the store failed, for its disk may
/// have room again.
async fn until_done<F>(what: &str, mut attempt: impl FnMut() -> F)
where
    F: Future<Output = Result<(), ControlError>>,
{
    loop {
        match attempt().await {
            Ok(()) => return,
            Err(error) if error.may_pass() => {
                tracing::error!(%error, "{what} could not be followed; trying again");
            }
            Err(error) => return tracing::error!(%error, "{what} could not be followed"),
        }
        tokio::time::sleep(crate::PAUSE).await;
    }
}

/// The event that tells of a job's end.
fn told(site: &Name, ended: &JobSummary) -> Event {
    let word = format!("{:?}", ended.state).to_lowercase();
    let cause = match ended.cause.as_str() {
        "" => String::new(),
        cause => format!(": {cause}"),
    };
    let message = format!("{}: {word}{cause}", ended.title);
    Event::new(
        "wright",
        &format!("job-{word}"),
        &format!("site/{site}"),
        &message,
    )
}

/// The site that a job's subject names.
pub(super) fn site_of(subject: &str) -> Option<Name> {
    subject.strip_prefix("site/")?.parse().ok()
}
