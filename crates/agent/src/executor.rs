use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    future::Future,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use wright_model::{InstanceId, InstanceStatus};
use wright_protocol::{Blame, Fault, Task, TaskAnswer};

use crate::{
    AgentError, ArchiveSource, Settings, durable,
    error::{host_fault, locked},
    instance::{Changes, Host, Instance},
    journal::Journal,
    record::{Configured, Record},
    store::PackageStore,
    supervise, tasks,
};

const DEFAULT_UID_BASE: u32 = 100_000;

/// A task with the key that makes it happen once.
#[derive(Debug, Clone)]
pub struct Order {
    /// Job, step and attempt.
    pub key: String,
    /// What to do. May hold secrets.
    pub task: Task,
    /// How long it may take, from now.
    pub deadline: Option<Duration>,
}

/// Does tasks, each key once, and supervises what they start. Cheap to clone.
#[derive(Clone)]
pub struct Executor {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub host: Arc<Host>,
    pub packages: PackageStore,
    journal: Mutex<Journal>,
    running: Mutex<HashMap<String, InFlight>>,
    instances: Mutex<BTreeMap<InstanceId, Arc<Instance>>>,
}

/// A task that somebody waits for.
#[derive(Clone)]
struct InFlight {
    cancel: CancellationToken,
    answer: watch::Receiver<Option<TaskAnswer>>,
    output: Output,
}

/// Where the output of a task goes: to whoever asked last.
#[derive(Debug, Clone)]
pub(crate) struct Output(Arc<Mutex<mpsc::Sender<Vec<u8>>>>);

impl Output {
    fn new(sender: mpsc::Sender<Vec<u8>>) -> Self {
        Output(Arc::new(Mutex::new(sender)))
    }

    /// Where nobody listens.
    pub(crate) fn nowhere() -> Self {
        Output::new(mpsc::channel(1).0)
    }

    fn redirect(&self, sender: mpsc::Sender<Vec<u8>>) {
        *locked(&self.0) = sender;
    }

    pub(crate) async fn send(&self, bytes: Vec<u8>) {
        let sender = locked(&self.0).clone();
        // Whoever has gone away does not want it.
        let _ = sender.send(bytes).await;
    }

    pub(crate) fn is_closed(&self) -> bool {
        locked(&self.0).is_closed()
    }
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
            changes: Changes::default(),
            layout,
            settings,
        });
        let executor = Executor {
            shared: Arc::new(Shared {
                packages: PackageStore::new(host.settings.clone(), archives),
                instances: Mutex::new(load(&host)?),
                host,
                journal: Mutex::new(journal),
                running: Mutex::default(),
            }),
        };
        for instance in executor.shared.all() {
            if let Err(fault) = supervise::resume(&instance).await {
                instance.note(|record| record.last_error = fault.message);
            }
        }
        Ok(executor)
    }

    /// Does a task, or waits for the one of the same key that is being done, or answers from the
    /// journal. Its output goes to `output`. The task goes on if the caller goes away.
    pub async fn execute(&self, order: Order, output: mpsc::Sender<Vec<u8>>) -> TaskAnswer {
        let known = locked(&self.shared.journal).answer(&order.key).cloned();
        if let Some(answer) = known {
            return answer;
        }
        let mut answer = self.attach(order, output);
        let given = answer.wait_for(Option::is_some).await;
        let given = given.ok().and_then(|answer| answer.clone());
        given.unwrap_or_else(|| Err(Fault::new(Blame::Host, "the task broke off")))
    }

    fn attach(
        &self,
        order: Order,
        output: mpsc::Sender<Vec<u8>>,
    ) -> watch::Receiver<Option<TaskAnswer>> {
        let mut running = locked(&self.shared.running);
        if let Some(found) = running.get(&order.key) {
            found.output.redirect(output);
            return found.answer.clone();
        }
        let (answered, answer) = watch::channel(None);
        let flight = InFlight {
            cancel: CancellationToken::new(),
            answer: answer.clone(),
            output: Output::new(output),
        };
        running.insert(order.key.clone(), flight.clone());
        let shared = self.shared.clone();
        tokio::spawn(async move {
            let key = order.key.clone();
            let result = shared.clone().perform(order, &flight).await;
            // In the journal before out of the list: whoever asks finds it in one of them.
            locked(&shared.running).remove(&key);
            answered.send_replace(Some(result));
        });
        answer
    }

    /// Gives up a task that runs.
    pub fn cancel(&self, key: &str) {
        if let Some(found) = locked(&self.shared.running).get(key) {
            found.cancel.cancel();
        }
    }

    /// What is seen of every instance.
    pub fn statuses(&self) -> Vec<InstanceStatus> {
        self.shared
            .all()
            .iter()
            .map(|instance| instance.status())
            .collect()
    }

    /// Waits until something has changed: what is seen of the instances that changed, and which
    /// are gone.
    pub async fn changes(&self) -> (Vec<InstanceStatus>, Vec<InstanceId>) {
        let (mut changed, mut removed) = (Vec::new(), Vec::new());
        for id in self.shared.host.changes.take().await {
            match self.shared.find(&id) {
                Some(instance) => changed.push(instance.status()),
                None => removed.push(id),
            }
        }
        (changed, removed)
    }

    /// Lets go of all programs without stopping them: the agent is about to end.
    pub fn detach(&self) {
        for instance in self.shared.all() {
            if let Some(supervisor) = instance.take_supervisor() {
                supervisor.detach();
            }
        }
    }
}

impl Shared {
    async fn perform(self: Arc<Self>, order: Order, flight: &InFlight) -> TaskAnswer {
        let recorded = !order.task.is_repeatable();
        let journal_fault = || {
            let path = self.host.layout.journal();
            move |error| host_fault("write", &path)(error)
        };
        if recorded {
            locked(&self.journal)
                .begin(&order.key)
                .map_err(journal_fault())?;
        }
        let what = describe(&order.task);
        let answer = limited(
            tasks::perform(
                self.clone(),
                order.task,
                order.deadline,
                flight.output.clone(),
            ),
            &what,
            order.deadline,
            &flight.cancel,
        )
        .await;
        if recorded && let Err(error) = locked(&self.journal).end(&order.key, &answer) {
            // The effect stands; asked again, it is found done.
            tracing::error!(%error, key = order.key, "cannot record an answer");
        }
        answer
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

/// Waits for a task no longer than it may take.
async fn limited(
    task: impl Future<Output = TaskAnswer>,
    what: &str,
    deadline: Option<Duration>,
    cancel: &CancellationToken,
) -> TaskAnswer {
    let too_late = async {
        match deadline {
            Some(deadline) => tokio::time::sleep(deadline).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        answer = task => answer,
        () = cancel.cancelled() => Err(Fault::new(Blame::Cancelled, format!("{what} was cancelled"))),
        () = too_late => Err(Fault::new(
            Blame::Deadline,
            format!("{what} took longer than {:?}", deadline.unwrap_or_default()),
        )),
    }
}

/// The task for people, without anything that may be secret.
fn describe(task: &Task) -> String {
    match task {
        Task::Fetch { package } => format!("fetching {package}"),
        Task::Install { spec } => format!("installing {}", spec.id),
        Task::Configure { spec } => format!("configuring {}", spec.id),
        Task::Start { instance } => format!("starting {instance}"),
        Task::AwaitReady { instance } => format!("waiting for {instance}"),
        Task::Stop { instance } => format!("stopping {instance}"),
        Task::Uninstall { instance } => format!("uninstalling {instance}"),
        Task::Operate {
            instance,
            operation,
        } => format!("{operation} of {instance}"),
        Task::Check { instance, .. } => format!("checking {instance}"),
        Task::Logs { instance, .. } => format!("reading the log of {instance}"),
        Task::Clear => "clearing the host".to_owned(),
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
