use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, atomic::AtomicBool},
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use wright_model::{Digest, InstanceId, InstanceStatus, Phase};
use wright_package::Manifest;
use wright_protocol::{Blame, Fault};

use crate::{
    InstanceDirs, Layout, Settings,
    cgroup::Group,
    durable,
    error::{host_fault, locked, package_fault},
    program::Program,
    record::{Configured, Record},
    supervise::Supervisor,
};

/// What all instances of a host share.
pub(crate) struct Host {
    pub settings: Settings,
    pub layout: Layout,
    /// Whether the agent is root, so that instances have users of their own.
    pub is_root: bool,
    /// Whether the agent is about to end; what it has begun goes on.
    pub is_leaving: AtomicBool,
    pub changes: Changes,
}

/// Which instances have changed since somebody last asked.
#[derive(Default)]
pub(crate) struct Changes {
    dirty: Mutex<BTreeSet<InstanceId>>,
    added: Notify,
}

impl Changes {
    pub(crate) fn add(&self, id: &InstanceId) {
        locked(&self.dirty).insert(id.clone());
        self.added.notify_one();
    }

    pub(crate) async fn take(&self) -> BTreeSet<InstanceId> {
        loop {
            let taken = std::mem::take(&mut *locked(&self.dirty));
            if !taken.is_empty() {
                return taken;
            }
            self.added.notified().await;
        }
    }
}

/// What is seen of the present run and is not kept on disk.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub phase: Phase,
    /// When it was told to start, or adopted.
    pub told: Instant,
    /// How often it ended since then without having been ready.
    pub early_exits: u32,
    /// How long its last run took.
    pub last_run: Duration,
    /// What the last check said, in one line.
    pub last_check: String,
}

/// One instance on this host.
pub(crate) struct Instance {
    pub id: InstanceId,
    pub dirs: InstanceDirs,
    pub host: Arc<Host>,
    /// Held by the one task that changes the instance.
    pub work: Arc<tokio::sync::Mutex<()>>,
    record: Mutex<Record>,
    configured: Mutex<Option<Arc<Configured>>>,
    seen: watch::Sender<Seen>,
    supervisor: Mutex<Option<Supervisor>>,
}

impl Instance {
    pub(crate) fn new(
        host: Arc<Host>,
        id: InstanceId,
        record: Record,
        configured: Option<Configured>,
    ) -> Arc<Self> {
        let seen = Seen {
            phase: record.phase,
            told: Instant::now(),
            early_exits: 0,
            last_run: Duration::ZERO,
            last_check: String::new(),
        };
        Arc::new(Instance {
            dirs: host.layout.instance(&id),
            id,
            host,
            work: Arc::default(),
            record: Mutex::new(record),
            configured: Mutex::new(configured.map(Arc::new)),
            seen: watch::Sender::new(seen),
            supervisor: Mutex::new(None),
        })
    }

    pub(crate) fn record(&self) -> Record {
        locked(&self.record).clone()
    }

    /// Changes the record, on disk before in memory. For what must be known after a crash.
    pub(crate) fn commit(&self, change: impl FnOnce(&mut Record)) -> Result<(), Fault> {
        let mut record = locked(&self.record);
        let mut next = record.clone();
        change(&mut next);
        let path = self.dirs.state();
        durable::write_json(&path, &next).map_err(host_fault("write", &path))?;
        self.replace(&mut record, next);
        Ok(())
    }

    /// Changes the record, whether or not the disk takes it. For what was seen.
    pub(crate) fn note(&self, change: impl FnOnce(&mut Record)) {
        let mut record = locked(&self.record);
        let mut next = record.clone();
        change(&mut next);
        if next == *record {
            return;
        }
        if let Err(error) = durable::write_json(&self.dirs.state(), &next) {
            tracing::warn!(instance = %self.id, %error, "cannot note the state on disk");
        }
        self.replace(&mut record, next);
    }

    fn replace(&self, record: &mut Record, next: Record) {
        let reported = *record != next;
        *record = next;
        if self.seen.borrow().phase != record.phase {
            self.seen.send_modify(|seen| seen.phase = record.phase);
        }
        if reported {
            self.host.changes.add(&self.id);
        }
    }

    pub(crate) fn see(&self, change: impl FnOnce(&mut Seen)) {
        self.seen.send_modify(change);
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Seen> {
        self.seen.subscribe()
    }

    pub(crate) fn configured(&self) -> Option<Arc<Configured>> {
        locked(&self.configured).clone()
    }

    pub(crate) fn set_configured(&self, configured: Configured) {
        *locked(&self.configured) = Some(Arc::new(configured));
        self.host.changes.add(&self.id);
    }

    pub(crate) fn status(&self) -> InstanceStatus {
        let configured = self.configured().map(|c| c.digest);
        locked(&self.record).status(&self.id, configured)
    }

    /// What is configured, ready to run.
    pub(crate) fn program(&self) -> Result<Arc<Program>, Fault> {
        let configured = self.configured().ok_or_else(|| {
            Fault::new(Blame::Request, format!("{} is not configured yet", self.id))
        })?;
        self.program_of(&configured)
    }

    pub(crate) fn program_of(&self, configured: &Configured) -> Result<Arc<Program>, Fault> {
        let directory = self.host.layout.package(&configured.spec.package.digest);
        let manifest = Manifest::of_dir(&directory).map_err(package_fault)?;
        Ok(Arc::new(Program::new(
            self,
            &configured.spec,
            configured.digest,
            manifest,
        )))
    }

    /// The packages that must stay for it.
    pub(crate) fn uses(&self) -> BTreeSet<Digest> {
        let record = locked(&self.record);
        let mut used = record.packages.clone();
        used.extend(record.running.as_ref().map(|r| r.package));
        used.extend(self.configured().map(|c| c.spec.package.digest));
        used
    }

    /// The name of its control group, unique on the machine.
    pub(crate) fn group_name(&self) -> String {
        let place = Digest::of(self.dirs.home.as_os_str().as_encoded_bytes()).short();
        format!("wright-{}.{}-{place}", self.id.site, self.id.name)
    }

    pub(crate) fn group(&self) -> Group {
        Group::existing(&self.group_name())
    }

    pub(crate) fn supervised_by(&self, supervisor: Supervisor) {
        *locked(&self.supervisor) = Some(supervisor);
    }

    pub(crate) fn take_supervisor(&self) -> Option<Supervisor> {
        locked(&self.supervisor).take()
    }

    pub(crate) fn is_supervised(&self) -> bool {
        locked(&self.supervisor)
            .as_ref()
            .is_some_and(|s| !s.is_over())
    }
}
