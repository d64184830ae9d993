use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use tokio::sync::mpsc;
use wright_model::{Facts, InstanceId, InstanceStatus};
use wright_protocol::{Blame, Fault, TaskAnswer};

use crate::{
    AgentError, ArchiveSource, Settings, durable,
    error::{host_fault, locked},
    facts::Machine,
    hook,
    instance::{Changes, Host, Instance},
    journal::Journal,
    once::{Effects, Order, Output, Tasks, Usage},
    record::{Configured, Record},
    store::PackageStore,
    supervise, tasks,
};

const DEFAULT_UID_BASE: u32 = 100_000;

/// Does tasks, each key once, and supervises what they start. Cheap to clone.
#[derive(Clone)]
pub struct Executor {
    tasks: Tasks<Shared>,
}

pub(crate) struct Shared {
    pub host: Arc<Host>,
    pub packages: PackageStore,
    instances: Mutex<BTreeMap<InstanceId, Arc<Instance>>>,
}

impl Executor {
    /// Takes up the host's directory: reads the journal, adopts programs that still run and starts
    /// those that ended while nobody was there. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// Where the directory cannot be used, or what is in it cannot be read.
    pub async fn open(
        settings: Settings,
        archives: Arc<dyn ArchiveSource>,
    ) -> Result<Self, AgentError> {
        let layout = settings.layout();
        let directories = [
            (layout.home().to_owned(), 0o711),
            (layout.agent(), 0o700),
            (layout.keys(), 0o700),
            (layout.hooks(), 0o700),
            (layout.cache(), 0o700),
            (layout.packages(), 0o755),
            (layout.instances(), 0o711),
        ];
        for (path, mode) in directories {
            durable::directory(&path, mode, None).map_err(AgentError::io("make", &path))?;
        }
        let journal = layout.journal();
        let journal = Journal::open(&journal).map_err(AgentError::io("read", &journal))?;
        let host = Arc::new(Host {
            is_root: rustix::process::geteuid().is_root(),
            is_leaving: AtomicBool::new(false),
            changes: Changes::default(),
            layout,
            settings,
        });
        let shared = Arc::new(Shared {
            packages: PackageStore::new(host.settings.clone(), archives),
            instances: Mutex::new(load(&host)?),
            host,
        });
        shared.forget_hooks(&journal)?;
        let packages = shared.host.layout.packages();
        let tidied = shared.packages.tidy();
        tidied.map_err(AgentError::io("clear", &packages))?;
        for instance in shared.all() {
            if let Err(fault) = supervise::resume(&instance).await {
                instance.note(|record| record.last_error = fault.message);
            }
        }
        Ok(Executor {
            tasks: Tasks::new(shared, journal),
        })
    }

    /// Its tasks, for the session with the server.
    pub(crate) fn tasks(&self) -> &Tasks<Shared> {
        &self.tasks
    }

    /// Does a task, or waits for the one of the same key that is being done, or answers from the
    /// journal. Its output goes to `output`. The task goes on if the caller goes away.
    pub async fn execute(&self, order: Order, output: mpsc::Sender<Vec<u8>>) -> TaskAnswer {
        self.tasks.execute(order, output).await
    }

    /// Gives up a task that runs.
    pub fn cancel(&self, key: &str) {
        self.tasks.cancel(key, None);
    }

    /// What is seen of every instance.
    pub fn statuses(&self) -> Vec<InstanceStatus> {
        self.tasks.effects().statuses()
    }

    /// Waits until something has changed: what is seen of the instances that changed, and which
    /// are gone.
    pub async fn changes(&self) -> (Vec<InstanceStatus>, Vec<InstanceId>) {
        self.tasks.effects().changes().await
    }

    /// Lets go of all programs and hooks without stopping them: the agent is about to end.
    pub fn detach(&self) {
        let host = &self.tasks.effects().host;
        host.is_leaving.store(true, Ordering::Relaxed);
        for instance in self.tasks.effects().all() {
            if let Some(supervisor) = instance.take_supervisor() {
                supervisor.detach();
            }
        }
    }
}

#[async_trait]
impl Effects for Shared {
    async fn perform(self: Arc<Self>, order: Order, output: Output) -> TaskAnswer {
        tasks::perform(self, order, output).await
    }

    fn settled(&self, key: &str) {
        hook::forget(&self.host.layout, key);
    }

    fn statuses(&self) -> Vec<InstanceStatus> {
        self.all()
            .iter()
            .map(|instance| instance.status())
            .collect()
    }

    async fn changes(&self) -> (Vec<InstanceStatus>, Vec<InstanceId>) {
        let (mut changed, mut removed) = (Vec::new(), Vec::new());
        for id in self.host.changes.take().await {
            match self.find(&id) {
                Some(instance) => changed.push(instance.status()),
                None => removed.push(id),
            }
        }
        (changed, removed)
    }

    fn usage(&self) -> Usage {
        let stat = procfs::process::Process::myself().and_then(|own| own.stat());
        stat.map_or_else(
            |_| Usage::default(),
            |stat| Usage {
                resident_bytes: stat.rss * procfs::page_size(),
                cpu_ms: (stat.utime + stat.stime) * 1000 / procfs::ticks_per_second().max(1),
            },
        )
    }

    fn facts(&self) -> Facts {
        let instances = self.all();
        let configured = instances.iter().filter_map(|one| one.configured());
        let packages: BTreeSet<String> = configured
            .map(|configured| configured.spec.package.to_string())
            .collect();
        let mut facts = Machine::own().facts();
        // Those who made the installation say where it is reached, also by a loopback address.
        let address = self.host.settings.address;
        if !facts.addresses.contains(&address) && !address.is_unspecified() {
            facts.addresses.push(address);
        }
        Facts {
            agent: env!("CARGO_PKG_VERSION").to_owned(),
            packages: packages.into_iter().collect(),
            instances: instances.iter().map(|one| one.id.to_string()).collect(),
            ..facts
        }
    }
}

impl Shared {
    /// Forgets how hooks ended that nobody will ask for again.
    fn forget_hooks(&self, journal: &Journal) -> Result<(), AgentError> {
        let records: Vec<_> = self.all().iter().map(|i| i.record()).collect();
        let runs = records.iter().filter_map(|r| r.running.as_ref());
        let runs: Vec<_> = runs.map(|running| running.process.key()).collect();
        let begun = records.iter().filter_map(|r| r.hook.as_ref());
        let keys = journal
            .unanswered()
            .chain(begun.map(|hook| hook.key.as_str()))
            .chain(runs.iter().map(String::as_str));
        let layout = &self.host.layout;
        hook::forget_but(layout, keys).map_err(AgentError::io("clear", &layout.hooks()))
    }

    pub(crate) fn all(&self) -> Vec<Arc<Instance>> {
        locked(&self.instances).values().cloned().collect()
    }

    pub(crate) fn find(&self, id: &InstanceId) -> Option<Arc<Instance>> {
        locked(&self.instances).get(id).cloned()
    }

    pub(crate) fn get(&self, id: &InstanceId) -> Result<Arc<Instance>, Fault> {
        self.find(id).ok_or_else(|| {
            let host = &self.host.settings.name;
            Fault::new(
                Blame::Request,
                format!("there is no instance {id} on host {host}"),
            )
        })
    }

    /// The instance; made, with a user of its own, if it is not there.
    pub(crate) fn get_or_create(&self, id: &InstanceId) -> Result<Arc<Instance>, Fault> {
        let mut instances = locked(&self.instances);
        if let Some(found) = instances.get(id) {
            return Ok(found.clone());
        }
        let user = self.host.is_root.then(|| {
            let base = self.host.settings.uid_base.unwrap_or(DEFAULT_UID_BASE);
            let taken: BTreeSet<_> = instances.values().filter_map(|i| i.record().user).collect();
            (base..).find(|user| !taken.contains(user)).unwrap_or(base)
        });
        let instance = Instance::new(self.host.clone(), id.clone(), Record::new(user), None);
        let home = &instance.dirs.home;
        fs::create_dir_all(home).map_err(host_fault("make", home))?;
        if let Err(fault) = instance.commit(|_| {}) {
            let _ = durable::remove(home);
            return Err(fault);
        }
        instances.insert(id.clone(), instance.clone());
        Ok(instance)
    }

    /// Forgets an instance whose directory is gone; its user may be given to another.
    pub(crate) fn forget(&self, id: &InstanceId) {
        locked(&self.instances).remove(id);
        self.host.changes.add(id);
    }

    /// Removes those of the packages that no instance uses any more.
    pub(crate) async fn sweep(&self, candidates: BTreeSet<wright_model::Digest>) {
        let used = self
            .all()
            .iter()
            .flat_map(|instance| instance.uses())
            .collect();
        self.packages.sweep(candidates, &used).await;
    }
}

fn load(host: &Arc<Host>) -> Result<BTreeMap<InstanceId, Arc<Instance>>, AgentError> {
    let path = host.layout.instances();
    let entries = fs::read_dir(&path).map_err(AgentError::io("list", &path))?;
    let mut instances = BTreeMap::new();
    for entry in entries {
        let directory: PathBuf = entry.map_err(AgentError::io("list", &path))?.path();
        let Some(id) = crate::Layout::instance_of(&directory) else {
            continue;
        };
        let dirs = host.layout.instance(&id);
        let record: Option<Record> = read(&dirs.state())?;
        let Some(record) = record else {
            // The crash came between making the directory and writing the first state: nothing
            // was done there yet.
            durable::remove(&directory).map_err(AgentError::io("remove", &directory))?;
            continue;
        };
        let configured: Option<Configured> = read(&dirs.spec())?;
        instances.insert(
            id.clone(),
            Instance::new(host.clone(), id, record, configured),
        );
    }
    Ok(instances)
}

fn read<T: serde::de::DeserializeOwned>(path: &std::path::Path) -> Result<Option<T>, AgentError> {
    durable::read_json(path).map_err(AgentError::io("read", path))
}
