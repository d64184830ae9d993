//! What tasks do to a host that is not there.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use wright_agent::{Effects, Order, Output, Usage};
use wright_model::{Check, CheckKind, Digest, Facts, InstanceId, InstanceStatus, Name, Phase};
use wright_protocol::{Answer, Blame, Fault, Observation, Task, TaskAnswer};

use crate::{Chance, Fate, Operation, Profile, machine};

/// A host that exists in this process's memory only.
pub struct SimulatedHost {
    name: Name,
    profile: Arc<Profile>,
    chance: Chance,
    /// How many times as long everything takes here.
    factor: f64,
    fetched: AtomicU32,
    instances: Mutex<BTreeMap<InstanceId, Instance>>,
    changed: Mutex<BTreeSet<InstanceId>>,
    news: Notify,
}

struct Instance {
    phase: watch::Sender<Phase>,
    since: Timestamp,
    spec: Option<Digest>,
    /// Raised by every start and stop: a program that was stopped meanwhile does not become ready.
    life: u32,
    /// How often each operation was drawn for it.
    drawn: BTreeMap<Operation, u32>,
}

impl Instance {
    fn new() -> Self {
        Instance {
            phase: watch::Sender::new(Phase::Installed),
            since: Timestamp::now(),
            spec: None,
            life: 0,
            drawn: BTreeMap::new(),
        }
    }

    fn status(&self, id: &InstanceId) -> InstanceStatus {
        InstanceStatus {
            spec_digest: self.spec,
            ..InstanceStatus::new(id.clone(), *self.phase.borrow(), self.since)
        }
    }
}

/// Held for a few instructions only.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn said(message: impl Into<String>) -> TaskAnswer {
    Ok(Answer {
        message: message.into(),
        ..Answer::default()
    })
}

impl SimulatedHost {
    /// A host without instances.
    pub fn new(name: Name, profile: Arc<Profile>, chance: Chance) -> Self {
        let factor = match Fate::of(name.as_str(), &profile, chance) {
            Fate::Slow => profile.slow_factor,
            _ => 1.0,
        };
        SimulatedHost {
            name,
            profile,
            chance,
            factor,
            fetched: AtomicU32::new(0),
            instances: Mutex::default(),
            changed: Mutex::default(),
            news: Notify::new(),
        }
    }

    fn no_instance(&self, id: &InstanceId) -> Fault {
        Fault::new(
            Blame::Request,
            format!("there is no instance {id} on host {}", self.name),
        )
    }

    fn with<T>(&self, id: &InstanceId, act: impl FnOnce(&mut Instance) -> T) -> Result<T, Fault> {
        let mut instances = locked(&self.instances);
        let instance = instances.get_mut(id).ok_or_else(|| self.no_instance(id))?;
        Ok(act(instance))
    }

    fn tell(&self, id: &InstanceId) {
        locked(&self.changed).insert(id.clone());
        self.news.notify_one();
    }

    fn enter(&self, id: &InstanceId, phase: Phase) -> Result<u32, Fault> {
        let life = self.with(id, |instance| {
            instance.since = Timestamp::now();
            instance.life += 1;
            instance.phase.send_replace(phase);
            instance.life
        })?;
        self.tell(id);
        Ok(life)
    }

    /// How long an operation takes here this time, and whether it fails.
    fn draw(&self, operation: Operation, subject: &str, nth: u32) -> crate::chance::Drawn {
        let behaviour = self.profile.behaviour(operation);
        if behaviour == crate::Behaviour::default() {
            return crate::chance::Drawn {
                takes: Duration::ZERO,
                fails: false,
            };
        }
        let nth = nth.to_string();
        let purpose = [self.name.as_str(), operation.word(), subject, &nth];
        let mut drawn = behaviour.draw(&mut self.chance.of(&purpose));
        drawn.takes = drawn.takes.mul_f64(self.factor);
        drawn
    }

    fn draw_for(&self, operation: Operation, id: &InstanceId) -> crate::chance::Drawn {
        let count = |instance: &mut Instance| {
            let nth = instance.drawn.entry(operation).or_default();
            *nth += 1;
            *nth
        };
        let nth = self.with(id, count).unwrap_or(0);
        self.draw(operation, id.name.as_str(), nth)
    }

    /// Lets an operation's time pass; where it fails, the failure.
    async fn pass(&self, operation: Operation, id: &InstanceId) -> Result<(), Fault> {
        let drawn = self.draw_for(operation, id);
        self.spend(drawn, operation, id.name.as_str()).await
    }

    async fn spend(
        &self,
        drawn: crate::chance::Drawn,
        operation: Operation,
        subject: &str,
    ) -> Result<(), Fault> {
        if !drawn.takes.is_zero() {
            tokio::time::sleep(drawn.takes).await;
        }
        if drawn.fails {
            let message = format!("{} of {subject} failed (simulated)", operation.word());
            return Err(Fault::new(Blame::Passing, message));
        }
        Ok(())
    }

    async fn start(self: Arc<Self>, id: InstanceId) -> TaskAnswer {
        self.pass(Operation::Start, &id).await?;
        let life = self.enter(&id, Phase::Starting)?;
        let drawn = self.draw_for(Operation::Ready, &id);
        let host = self.clone();
        let becomes_ready = async move {
            if !drawn.takes.is_zero() {
                tokio::time::sleep(drawn.takes).await;
            }
            let ready = host.with(&id, |instance| {
                let same = instance.life == life;
                if same {
                    instance.since = Timestamp::now();
                    instance.phase.send_replace(Phase::Ready);
                }
                same
            });
            if ready == Ok(true) {
                host.tell(&id);
            }
        };
        if drawn.takes.is_zero() {
            becomes_ready.await;
        } else {
            tokio::spawn(becomes_ready);
        }
        said("it runs (simulated)")
    }

    async fn await_ready(&self, id: &InstanceId) -> TaskAnswer {
        let mut phase = self.with(id, |instance| instance.phase.subscribe())?;
        let reached = phase
            .wait_for(|phase| *phase != Phase::Starting)
            .await
            .map(|phase| *phase);
        match reached {
            Ok(Phase::Ready) => said("ready (simulated)"),
            Ok(_) => Err(Fault::new(Blame::Program, format!("{id} does not run"))),
            Err(_) => Err(Fault::new(Blame::Request, format!("{id} was uninstalled"))),
        }
    }

    async fn check(&self, id: &InstanceId, check: &Check) -> TaskAnswer {
        self.pass(Operation::Check, id).await?;
        Ok(Answer {
            observation: expected(&check.check),
            ..Answer::default()
        })
    }

    async fn uninstall(&self, id: &InstanceId) -> TaskAnswer {
        if self.with(id, |_| ()).is_ok() {
            self.pass(Operation::Uninstall, id).await?;
            locked(&self.instances).remove(id);
            self.tell(id);
        }
        said("it is gone (simulated)")
    }
}

/// The answer that a check hopes for, as far as it can be known: an expression over a body is not
/// solved.
fn expected(check: &CheckKind) -> Option<Observation> {
    let CheckKind::Http(http) = check else {
        return None;
    };
    let expect = &http.expect;
    Some(Observation {
        status: Some(expect.status.unwrap_or(200)),
        body: expect.contains.clone().unwrap_or_else(|| "{}".to_owned()),
    })
}

#[async_trait]
impl Effects for SimulatedHost {
    async fn perform(self: Arc<Self>, order: Order, _output: Output) -> TaskAnswer {
        match order.task {
            Task::Fetch { package } => {
                let nth = self.fetched.fetch_add(1, Ordering::Relaxed);
                let subject = package.to_string();
                let drawn = self.draw(Operation::Fetch, &subject, nth);
                self.spend(drawn, Operation::Fetch, &subject).await?;
                said(format!("{package} is here (simulated)"))
            }
            Task::Install { spec } => {
                locked(&self.instances)
                    .entry(spec.id.clone())
                    .or_insert_with(Instance::new);
                self.pass(Operation::Install, &spec.id).await?;
                self.tell(&spec.id);
                said("installed (simulated)")
            }
            Task::Configure { spec } => {
                self.pass(Operation::Configure, &spec.id).await?;
                self.with(&spec.id, |instance| instance.spec = Some(spec.digest()))?;
                said("configured (simulated)")
            }
            Task::Start { instance } => self.start(instance).await,
            Task::AwaitReady { instance } => self.await_ready(&instance).await,
            Task::Stop { instance } if self.with(&instance, |_| ()).is_err() => {
                said("it is not here (simulated)")
            }
            Task::Stop { instance } => {
                self.pass(Operation::Stop, &instance).await?;
                self.enter(&instance, Phase::Stopped)?;
                said("it ended (simulated)")
            }
            Task::Uninstall { instance } => self.uninstall(&instance).await,
            Task::Operate {
                instance,
                operation,
            } => {
                self.pass(Operation::Operate, &instance).await?;
                match operation {
                    wright_model::Operation::Start | wright_model::Operation::Restart => {
                        self.start(instance).await
                    }
                    wright_model::Operation::Stop => {
                        self.enter(&instance, Phase::Stopped)?;
                        said("it ended (simulated)")
                    }
                    _ => said(format!("{operation}: done (simulated)")),
                }
            }
            Task::Check { instance, check } => self.check(&instance, &check).await,
            Task::Logs { .. } => said(""),
            Task::Clear => {
                let gone = std::mem::take(&mut *locked(&self.instances));
                gone.keys().for_each(|id| self.tell(id));
                said("cleared (simulated)")
            }
        }
    }

    fn statuses(&self) -> Vec<InstanceStatus> {
        let instances = locked(&self.instances);
        instances
            .iter()
            .map(|(id, instance)| instance.status(id))
            .collect()
    }

    async fn changes(&self) -> (Vec<InstanceStatus>, Vec<InstanceId>) {
        loop {
            let taken = std::mem::take(&mut *locked(&self.changed));
            if taken.is_empty() {
                self.news.notified().await;
                continue;
            }
            let instances = locked(&self.instances);
            let (mut changed, mut removed) = (Vec::new(), Vec::new());
            for id in taken {
                match instances.get(&id) {
                    Some(instance) => changed.push(instance.status(&id)),
                    None => removed.push(id),
                }
            }
            return (changed, removed);
        }
    }

    /// All hosts share one process: what it uses is nobody's.
    fn usage(&self) -> Usage {
        Usage::default()
    }

    fn facts(&self) -> Facts {
        let instances = locked(&self.instances);
        Facts {
            instances: instances.keys().map(ToString::to_string).collect(),
            ..machine::of(&self.name, self.chance)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_not_there_can_be_ended_and_removed_as_on_a_real_host() {
        let profile = Arc::new(Profile::instant());
        let name: Name = "sim1".parse().unwrap();
        let host = Arc::new(SimulatedHost::new(name, profile, Chance::new(1)));
        let instance: InstanceId = "shop/web-1".parse().unwrap();
        for task in [
            Task::Stop {
                instance: instance.clone(),
            },
            Task::Uninstall { instance },
        ] {
            let order = Order {
                key: "job/step/1".to_owned(),
                task,
                deadline: None,
                fence: None,
                after: None,
            };
            host.clone()
                .perform(order, Output::nowhere())
                .await
                .unwrap();
        }
    }
}
