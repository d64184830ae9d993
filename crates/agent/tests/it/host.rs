//! A host of its own for a test: a directory, an executor, packages made of shell scripts.

use std::{
    collections::BTreeMap,
    fs,
    io::ErrorKind,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;
use tokio::sync::mpsc;
use wright_agent::{Archive, ArchiveSource, Executor, InstanceDirs, Layout, Order, Settings};
use wright_model::{
    ByteSize, CheckKind, ConfigFile, CpuShare, Digest, InstanceId, InstanceSpec, InstanceStatus,
    Limits, PackageId, Phase, Probe, Span,
};
use wright_package::PrivateKey;
use wright_protocol::{Answer, Blame, Fault, Task, TaskAnswer};

/// Nothing that is waited for takes nearly as long on a machine that works.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Tests run at the same time and must not kill each other's users.
fn uid_base() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    300_000 + std::process::id() % 20_000 * 1000 + NEXT.fetch_add(10, Ordering::Relaxed)
}

/// Archives from a directory, as the server has them.
pub struct Shelf {
    directory: PathBuf,
}

impl Shelf {
    pub fn in_directory(directory: PathBuf) -> Arc<Self> {
        Arc::new(Shelf { directory })
    }
}

#[async_trait]
impl ArchiveSource for Shelf {
    async fn open(&self, digest: &Digest) -> Result<Archive, Fault> {
        let read = |suffix: &str| {
            fs::read(self.directory.join(format!("{digest}{suffix}")))
                .map_err(|error| Fault::new(Blame::Package, error.to_string()))
        };
        let (signature, bytes) = (read(".sig")?, read("")?);
        let parts: Vec<_> = bytes
            .chunks(1 << 16)
            .map(|part| Ok(Bytes::copy_from_slice(part)))
            .collect();
        Ok(Archive {
            signature,
            data: futures::stream::iter(parts).boxed(),
        })
    }
}

/// The settings of an agent with this directory.
pub fn settings(home: PathBuf, uid_base: u32) -> Settings {
    let mut settings = Settings::new(home, "h1".parse().unwrap(), [127, 0, 0, 1].into());
    settings.uid_base = Some(uid_base);
    settings.launcher = vec![env!("CARGO_BIN_EXE_wright-launch").into()];
    settings
}

pub struct TestHost {
    pub scratch: TempDir,
    pub settings: Settings,
    pub key: PrivateKey,
    executor: Option<Executor>,
    keys: AtomicU32,
}

impl TestHost {
    pub async fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let home = scratch.path().join("host");
        Self::in_directory(scratch, home).await
    }

    pub async fn in_directory(scratch: TempDir, home: PathBuf) -> Self {
        let settings = settings(home, uid_base());
        let key = PrivateKey::generate();
        let keys = settings.layout().keys();
        fs::create_dir_all(&keys).unwrap();
        key.public().save_in(&keys).unwrap();
        fs::create_dir(scratch.path().join("shelf")).unwrap();
        let mut host = TestHost {
            scratch,
            settings,
            key,
            executor: None,
            keys: AtomicU32::new(0),
        };
        host.open().await;
        host
    }

    async fn open(&mut self) {
        let shelf = Shelf::in_directory(self.shelf());
        self.executor = Some(Executor::open(self.settings.clone(), shelf).await.unwrap());
    }

    /// The agent ends, programs go on.
    pub fn leave(&mut self) {
        self.executor.take().unwrap().detach();
    }

    /// Another agent takes up the directory.
    pub async fn come_back(&mut self) {
        self.open().await;
    }

    pub fn executor(&self) -> &Executor {
        self.executor.as_ref().unwrap()
    }

    pub fn shelf(&self) -> PathBuf {
        self.scratch.path().join("shelf")
    }

    pub fn layout(&self) -> Layout {
        self.settings.layout()
    }

    pub fn dirs(&self) -> InstanceDirs {
        self.layout().instance(&id())
    }

    /// Builds, signs and shelves a package made of a manifest's lines and scripts.
    pub fn package(&self, version: &str, manifest: &str, scripts: &[(&str, &str)]) -> PackageId {
        let source = tempfile::tempdir().unwrap();
        let manifest = format!("name = \"demo\"\nversion = \"{version}\"\n{manifest}\n");
        fs::write(source.path().join("package.toml"), manifest).unwrap();
        for (path, text) in scripts {
            let file = source.path().join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, format!("#!/bin/sh\n{text}\n")).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        self.shelve(source.path())
    }

    pub fn shelve(&self, source: &Path) -> PackageId {
        let out = tempfile::tempdir().unwrap();
        let built = wright_package::build(source, &[], out.path()).unwrap();
        let on_shelf = self.shelf().join(built.id.digest.to_string());
        fs::copy(&built.archive, &on_shelf).unwrap();
        let signature = self.key.sign(&built.id.digest).to_string();
        fs::write(on_shelf.with_extension("sig"), signature).unwrap();
        built.id
    }

    /// Does a task under a key of its own.
    pub async fn act(&self, task: Task) -> TaskAnswer {
        let key = format!("key-{}", self.keys.fetch_add(1, Ordering::Relaxed));
        self.act_as(&key, task).await
    }

    pub async fn act_as(&self, key: &str, task: Task) -> TaskAnswer {
        let order = Order {
            key: key.to_owned(),
            task,
            deadline: Some(PATIENCE),
            fence: None,
            after: None,
        };
        let (output, mut unread) = mpsc::channel(16);
        let reader = tokio::spawn(async move { while unread.recv().await.is_some() {} });
        let answer = self.executor().execute(order, output).await;
        reader.abort();
        answer
    }

    pub async fn install(&self, spec: &InstanceSpec) -> TaskAnswer {
        self.act(Task::Install {
            spec: Box::new(spec.clone()),
        })
        .await
    }

    pub async fn configure(&self, spec: &InstanceSpec) -> TaskAnswer {
        self.act(Task::Configure {
            spec: Box::new(spec.clone()),
        })
        .await
    }

    pub async fn start(&self) -> TaskAnswer {
        self.act(Task::Start { instance: id() }).await
    }

    pub async fn await_ready(&self) -> TaskAnswer {
        self.act(Task::AwaitReady { instance: id() }).await
    }

    pub async fn stop(&self) -> TaskAnswer {
        self.act(Task::Stop { instance: id() }).await
    }

    pub async fn uninstall(&self) -> TaskAnswer {
        self.act(Task::Uninstall { instance: id() }).await
    }

    /// Brings an instance to run and be ready.
    pub async fn bring_up(&self, spec: &InstanceSpec) -> Answer {
        self.install(spec).await.unwrap();
        self.configure(spec).await.unwrap();
        self.start().await.unwrap();
        self.await_ready().await.unwrap()
    }

    pub fn status(&self) -> InstanceStatus {
        self.executor()
            .statuses()
            .into_iter()
            .find(|status| status.id == id())
            .unwrap()
    }

    /// Waits until the instance is seen so.
    pub async fn until(&self, wanted: impl Fn(&InstanceStatus) -> bool) -> InstanceStatus {
        let wait = async {
            loop {
                let status = self.status();
                if wanted(&status) {
                    return status;
                }
                self.executor().changes().await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, wait).await;
        waited.unwrap_or_else(|_| panic!("never seen; last: {:?}", self.status()))
    }

    pub fn pid(&self) -> u32 {
        self.status().pid.unwrap()
    }
}

/// No test leaves a process or a control group behind, not even one that fails.
impl Drop for TestHost {
    fn drop(&mut self) {
        let statuses = self
            .executor
            .iter()
            .flat_map(|executor| executor.statuses());
        let pids: Vec<_> = statuses.filter_map(|status| status.pid).collect();
        for pid in pids {
            if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                let _ = kill_process_group(pid, Signal::KILL);
            }
        }
        let place = Digest::of(self.dirs().home.as_os_str().as_encoded_bytes()).short();
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        for line in own.lines() {
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(controller), Some(path)) = (parts.next(), parts.next()) else {
                continue;
            };
            let parent = Path::new("/sys/fs/cgroup")
                .join(controller)
                .join(&path[1..]);
            let group = parent.join(format!("wright-shop.demo-1-{place}"));
            // The kernel empties the group a moment after the kill.
            while fs::remove_dir(&group).is_err_and(|e| e.kind() == ErrorKind::ResourceBusy) {
                std::thread::yield_now();
            }
        }
    }
}

pub fn id() -> InstanceId {
    "shop/demo-1".parse().unwrap()
}

/// A package whose program says that it is up and goes on.
pub const STAYS: (&str, &str) = (
    "bin/demo",
    "echo $$ started; touch \"$WRIGHT_RUN/up\"; exec sleep 1000",
);
pub const RUN: &str = "run = [\"bin/demo\"]";

/// Ready when the program has said that it is up.
pub fn is_up() -> CheckKind {
    CheckKind::Command(vec!["test".into(), "-e".into(), "{run}/up".into()])
}

pub fn spec(package: &PackageId, ready: CheckKind) -> InstanceSpec {
    InstanceSpec {
        id: id(),
        app: "demo".parse().unwrap(),
        package: package.clone(),
        host: "h1".parse().unwrap(),
        address: [127, 0, 0, 1].into(),
        ports: BTreeMap::new(),
        limits: Limits {
            cpu: CpuShare::from_millis(100),
            memory: ByteSize::from_bytes(64 << 20),
        },
        files: Vec::new(),
        env: BTreeMap::new(),
        store: false,
        ready: Probe {
            check: ready,
            every: Span::from_millis(200),
            timeout: Span::from_secs(5),
        },
        ready_within: Span::from_secs(20),
    }
}

pub fn file(path: &str, content: &str) -> ConfigFile {
    ConfigFile {
        path: path.to_owned(),
        content: content.to_owned(),
    }
}

pub fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')')
        .next()
        .is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The names in a directory; none where it is not there.
pub fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

pub fn is_running(status: &InstanceStatus) -> bool {
    matches!(status.phase, Phase::Starting | Phase::Ready)
}
