//! Agents that are killed, as processes of their own: what a hook has done it does not do again.

use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use rustix::process::{Pid, Signal, kill_process};
use wright_agent::{Executor, Order};
use wright_model::{InstanceSpec, Operation, PackageId};
use wright_protocol::{Blame, Task, TaskAnswer};

use crate::host::{self, PATIENCE, STAYS, Shelf, TestHost, id, is_up, names};

const HOME: &str = "WRIGHT_TEST_HOME";
const SHELF: &str = "WRIGHT_TEST_SHELF";
const USERS: &str = "WRIGHT_TEST_USERS";
/// Before an answer on the agent's standard output, where the test harness writes too.
const ANSWER: &str = "answer: ";

/// Does the tasks that it reads from standard input.
#[tokio::test]
#[ignore = "the agent of the other tests here"]
async fn agent() {
    let (Some(home), Some(shelf)) = (env::var_os(HOME), env::var_os(SHELF)) else {
        return;
    };
    let users = env::var(USERS).unwrap().parse().unwrap();
    let settings = host::settings(home.into(), users);
    let executor = Executor::open(settings, Shelf::in_directory(shelf.into()))
        .await
        .unwrap();
    let (sender, mut orders) = tokio::sync::mpsc::channel(16);
    thread::spawn(move || {
        for line in std::io::stdin().lines() {
            let order: (String, Task) = serde_json::from_str(&line.unwrap()).unwrap();
            sender.blocking_send(order).unwrap();
        }
    });
    while let Some((key, task)) = orders.recv().await {
        let order = Order {
            key,
            task,
            deadline: Some(PATIENCE),
            fence: None,
            after: None,
        };
        let executor = executor.clone();
        tokio::spawn(async move {
            let (output, _unread) = tokio::sync::mpsc::channel(16);
            let answer = executor.execute(order, output).await;
            println!("{ANSWER}{}", serde_json::to_string(&answer).unwrap());
        });
    }
    executor.detach();
}

/// A running agent.
struct Agent {
    child: Child,
    orders: ChildStdin,
    answers: Receiver<TaskAnswer>,
}

impl Agent {
    fn start(host: &TestHost) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture", "killed::agent"])
            .env(HOME, &host.settings.home)
            .env(SHELF, host.shelf())
            .env(USERS, host.settings.uid_base.unwrap().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let orders = child.stdin.take().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, answers) = mpsc::channel();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                // The harness does not end its line before a test ends.
                if let Some((_, answer)) = line.split_once(ANSWER) {
                    let _ = sender.send(serde_json::from_str(answer).unwrap());
                }
            }
        });
        Agent {
            child,
            orders,
            answers,
        }
    }

    fn ask(&mut self, key: &str, task: &Task) {
        let order = serde_json::to_string(&(key, task)).unwrap();
        writeln!(self.orders, "{order}").unwrap();
    }

    fn answer(&self) -> TaskAnswer {
        self.answers.recv_timeout(PATIENCE).unwrap()
    }

    fn act(&mut self, key: &str, task: &Task) -> TaskAnswer {
        self.ask(key, task);
        self.answer()
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).unwrap();
        kill_process(pid, signal).unwrap();
    }
}

/// `kill -9`.
impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A host whose package has a hook for everything. A hook says what it is in a file, and ends once
/// another file is there.
struct Hooked {
    host: TestHost,
    spec: InstanceSpec,
}

const HOOKS: [Operation; 5] = [
    Operation::Install,
    Operation::Stop,
    Operation::Restart,
    Operation::Diskclear,
    Operation::Uninstall,
];

impl Hooked {
    async fn new() -> Self {
        let mut host = TestHost::new().await;
        host.leave();
        let package = Self::package(&host);
        let spec = host::spec(&package, is_up());
        let hooked = Hooked { host, spec };
        fs::write(hooked.effects(), "").unwrap();
        fs::set_permissions(hooked.effects(), fs::Permissions::from_mode(0o666)).unwrap();
        hooked.release();
        hooked
    }

    fn package(host: &TestHost) -> PackageId {
        let at = host.scratch.path().display();
        let hook = format!(
            "echo $1 >> {at}/effects\n\
             while [ ! -e {at}/go ]; do sleep 0.01; done\n\
             if [ -e {at}/fail ]; then echo no space for the index; exit 4; fi\n\
             case $1 in stop) kill $(cat \"$WRIGHT_RUN/pid\") ;; esac"
        );
        let program = format!("echo $$ > \"$WRIGHT_RUN/pid\"\n{}", STAYS.1);
        let mut manifest = host::RUN.to_owned();
        for operation in HOOKS {
            manifest.push_str(&format!(
                "\n[operations.{operation}]\ncommand = [\"hooks/all\", \"{operation}\"]\ntimeout = \"60s\""
            ));
        }
        host.package(
            "1.0.0",
            &manifest,
            &[(STAYS.0, &program), ("hooks/all", &hook)],
        )
    }

    fn effects(&self) -> PathBuf {
        self.host.scratch.path().join("effects")
    }

    fn runs(&self, operation: Operation) -> usize {
        let effects = fs::read_to_string(self.effects()).unwrap();
        let name = operation.to_string();
        effects.lines().filter(|line| *line == name).count()
    }

    /// Hooks wait from now on.
    fn hold(&self) {
        fs::remove_file(self.host.scratch.path().join("go")).unwrap();
    }

    fn release(&self) {
        fs::write(self.host.scratch.path().join("go"), "").unwrap();
    }

    fn fail(&self) {
        fs::write(self.host.scratch.path().join("fail"), "").unwrap();
    }

    fn task(&self, operation: Operation) -> Task {
        let spec = Box::new(self.spec.clone());
        match operation {
            Operation::Install => Task::Install { spec },
            Operation::Start => Task::Start { instance: id() },
            Operation::Stop => Task::Stop { instance: id() },
            Operation::Uninstall => Task::Uninstall { instance: id() },
            operation => Task::Operate {
                instance: id(),
                operation,
            },
        }
    }

    /// Brings it to where the hook of this operation can be run.
    fn bring_before(&self, operation: Operation, agent: &mut Agent) {
        if operation == Operation::Install {
            return;
        }
        let spec = Box::new(self.spec.clone());
        let before = [
            Task::Install { spec: spec.clone() },
            Task::Configure { spec },
            Task::Start { instance: id() },
            Task::AwaitReady { instance: id() },
        ];
        for (number, task) in before.iter().enumerate() {
            agent.act(&format!("before/{number}"), task).unwrap();
        }
        if operation == Operation::Uninstall {
            agent.act("stopped", &self.task(Operation::Stop)).unwrap();
        }
    }

    fn hook_begins(&self, operation: Operation, before: usize) {
        wait(|| self.runs(operation) > before);
    }

    fn endings(&self) -> Vec<String> {
        let names = names(&self.host.layout().agent().join("hooks"));
        names
            .into_iter()
            .filter(|name| !name.starts_with('.'))
            .collect()
    }

    /// Has an agent killed when the hook has ended and the agent does not know it yet.
    fn die_after(&self, operation: Operation, key: &str) {
        let mut agent = Agent::start(&self.host);
        self.bring_before(operation, &mut agent);
        let before = self.runs(operation);
        self.hold();
        agent.ask(key, &self.task(operation));
        self.hook_begins(operation, before);
        agent.signal(Signal::STOP);
        self.release();
        wait(|| !self.endings().is_empty());
    }

    /// Nothing is left running, and nothing noted of how hooks ended.
    async fn finish(mut self) {
        self.host.come_back().await;
        self.host.uninstall().await.unwrap();
        assert!(self.endings().is_empty(), "{:?}", self.endings());
    }
}

fn wait(mut until: impl FnMut() -> bool) {
    let started = Instant::now();
    while !until() {
        assert!(started.elapsed() < PATIENCE, "it never happens");
        thread::yield_now();
    }
}

#[tokio::test]
async fn an_agent_killed_while_a_hook_runs_waits_for_it_when_it_is_back() {
    for operation in HOOKS {
        let hooked = Hooked::new().await;
        let mut agent = Agent::start(&hooked.host);
        hooked.bring_before(operation, &mut agent);
        let before = hooked.runs(operation);
        hooked.hold();
        agent.ask("a", &hooked.task(operation));
        hooked.hook_begins(operation, before);
        drop(agent);
        let mut agent = Agent::start(&hooked.host);
        agent.ask("a", &hooked.task(operation));
        let early = agent.answers.recv_timeout(Duration::from_millis(300));
        assert_eq!(early, Err(RecvTimeoutError::Timeout), "{operation}");
        hooked.release();
        agent.answer().unwrap();
        assert_eq!(hooked.runs(operation), before + 1, "{operation}");
        drop(agent);
        hooked.finish().await;
    }
}

#[tokio::test]
async fn an_agent_killed_between_a_hooks_end_and_its_record_finds_how_it_ended() {
    for operation in HOOKS {
        let hooked = Hooked::new().await;
        hooked.die_after(operation, "a");
        let runs = hooked.runs(operation);
        let mut agent = Agent::start(&hooked.host);
        agent.act("a", &hooked.task(operation)).unwrap();
        assert_eq!(hooked.runs(operation), runs, "{operation}");
        drop(agent);
        hooked.finish().await;
    }
}

#[tokio::test]
async fn an_install_that_succeeded_unseen_counts_for_every_key() {
    let hooked = Hooked::new().await;
    hooked.die_after(Operation::Install, "a");
    let mut agent = Agent::start(&hooked.host);
    for key in ["b", "a"] {
        agent.act(key, &hooked.task(Operation::Install)).unwrap();
        assert_eq!(hooked.runs(Operation::Install), 1);
    }
    drop(agent);
    hooked.finish().await;
}

#[tokio::test]
async fn what_does_not_last_is_done_again_for_another_key() {
    let hooked = Hooked::new().await;
    hooked.die_after(Operation::Diskclear, "a");
    let mut agent = Agent::start(&hooked.host);
    for key in ["b", "a"] {
        agent.act(key, &hooked.task(Operation::Diskclear)).unwrap();
        assert_eq!(hooked.runs(Operation::Diskclear), 2);
    }
    drop(agent);
    hooked.finish().await;
}

#[tokio::test]
async fn a_failure_that_nobody_saw_is_answered_and_not_repeated() {
    let hooked = Hooked::new().await;
    hooked.fail();
    hooked.die_after(Operation::Install, "a");
    let mut agent = Agent::start(&hooked.host);
    let install = hooked.task(Operation::Install);
    let fault = agent.act("a", &install).unwrap_err();
    assert_eq!(fault.blame, Blame::Program);
    assert_eq!(fault.evidence, ["no space for the index"]);
    assert_eq!(hooked.runs(Operation::Install), 1);
    agent.act("b", &install).unwrap_err();
    assert_eq!(hooked.runs(Operation::Install), 2, "another attempt");
    drop(agent);
    hooked.finish().await;
}

#[tokio::test]
async fn agents_killed_at_random_moments_run_every_hook_once() {
    let seed = 20_261_121;
    let mut random = StdRng::seed_from_u64(seed);
    let hooked = Hooked::new().await;
    let spec = Box::new(hooked.spec.clone());
    let mut steps = vec![
        Task::Install { spec: spec.clone() },
        Task::Configure { spec },
    ];
    let hooks = [
        Operation::Start,
        Operation::Restart,
        Operation::Diskclear,
        Operation::Stop,
        Operation::Uninstall,
    ];
    steps.extend(hooks.map(|operation| hooked.task(operation)));
    let mut kills = 0;
    let rounds = 6;
    for round in 0..rounds {
        for (number, task) in steps.iter().enumerate() {
            let key = format!("round-{round}/{number}");
            // Later each time, so that a slow machine gets there too.
            for tries in 0.. {
                let mut agent = Agent::start(&hooked.host);
                agent.ask(&key, task);
                let moment = random.random_range(5..120 + 20 * tries);
                let moment = Duration::from_millis(moment);
                match agent.answers.recv_timeout(moment) {
                    Ok(answer) => {
                        answer.unwrap();
                        break;
                    }
                    Err(RecvTimeoutError::Timeout) => kills += 1,
                    Err(error) => panic!("the agent ended by itself: {error}"),
                }
            }
        }
    }
    println!("seed {seed}: {kills} kills");
    assert!(kills > 0, "no agent was killed in its work");
    for operation in HOOKS {
        assert_eq!(hooked.runs(operation), rounds, "{operation}, seed {seed}");
    }
    hooked.finish().await;
}
