//! The embedded provider: hosts are agents on this machine.

mod agent;
mod files;
mod leftovers;
mod process;
mod supervise;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io,
    net::{IpAddr, Ipv4Addr, TcpListener},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use procfs::Current;
use tokio::sync::Mutex as AsyncMutex;
use wright_model::{ByteSize, Capacity, CpuShare, Name};
use wright_pki::Authority;

use self::{
    agent::{Agent, THIS_PROGRAM},
    files::HostFiles,
    leftovers::Leftovers,
    supervise::Supervision,
};
use crate::{HostWant, MadeHost, Provider, ProvisionError, Revival};

/// Where an agent answers route lookups, on its host's address.
pub const LOOKUP_PORT: u16 = 7070;

/// The largest host number: the address is `127.NETWORK.0.N`.
const MOST: u8 = 250;

const DEFAULT_CPU: CpuShare = CpuShare::from_millis(4000);
const LEAST_MEMORY: u64 = 1 << 30;
const MEMORY_STEP: u64 = 64 << 20;

/// How the embedded provider is set up.
#[derive(Clone)]
pub struct LocalSettings {
    /// Where the hosts' directories are.
    pub directory: PathBuf,
    /// The second octet of the hosts' addresses: `127.NETWORK.0.N`. Installations on one machine
    /// need networks of their own.
    pub network: u8,
    /// How many hosts share this machine's memory.
    pub count: u16,
    /// The server's URL, for the agents.
    pub server: String,
    /// Issues the agents' identities.
    pub authority: Arc<Authority>,
    /// A directory with the public keys whose packages the hosts take.
    pub keys: PathBuf,
}

/// Hosts `h1` to `h250` on this machine. Each is an agent process with a loopback address and a
/// directory of its own; it needs no privilege.
///
/// An agent that ends is started again, with growing back-off. Agents live on when the provider is
/// dropped or its process dies; [`Provider::create`] takes them over.
pub struct Local {
    settings: LocalSettings,
    command: Vec<OsString>,
    hosts: Mutex<BTreeMap<Name, Arc<AsyncMutex<Option<Supervision>>>>>,
}

impl Local {
    /// A provider whose agents are this program's `agent` subcommand.
    pub fn new(settings: LocalSettings) -> Self {
        // Not the path it was started from: that may hold another version by now, or nothing.
        let command = vec![THIS_PROGRAM.into(), "agent".into()];
        Local {
            settings,
            command,
            hosts: Mutex::default(),
        }
    }

    /// The same with another agent program: the program and its first arguments. It gets `--home`,
    /// `--name`, `--address`, `--server` and, as root, `--uid-base` after these.
    #[must_use]
    pub fn with_agent_command(self, command: Vec<OsString>) -> Self {
        Local { command, ..self }
    }

    /// What is known of a host here; locked while something is done with it.
    fn slot(&self, host: &Name) -> Arc<AsyncMutex<Option<Supervision>>> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.entry(host.clone()).or_default().clone()
    }

    fn files(&self, host: &Name) -> Result<HostFiles, ProvisionError> {
        HostFiles::new(&self.settings.directory, host)
    }

    fn number(&self, host: &Name) -> Result<u8, ProvisionError> {
        let digits = host
            .as_str()
            .strip_prefix('h')
            .filter(|digits| !digits.starts_with('0'));
        let number = digits.and_then(|digits| digits.parse().ok());
        number
            .filter(|number| (1..=MOST).contains(number))
            .ok_or_else(|| ProvisionError::BadName {
                name: host.clone(),
                expected: format!("the hosts of this machine are h1 to h{MOST}"),
            })
    }

    fn agent(&self, host: &MadeHost) -> Result<Agent, ProvisionError> {
        Ok(Agent {
            host: host.name.clone(),
            address: host.address,
            files: self.files(&host.name)?,
            command: self.command.clone(),
            server: self.settings.server.clone(),
            uid_base: uid_base(self.settings.network, self.number(&host.name)?),
        })
    }

    /// Starts the agent of a host, or takes over the one that runs, and looks after it.
    async fn look_after(&self, host: &MadeHost) -> Result<Supervision, ProvisionError> {
        let agent = self.agent(host)?;
        agent.files.trust_keys(&self.settings.keys)?;
        let running = match agent.find().await? {
            Some(running) => running,
            None => {
                free(host.address, LOOKUP_PORT)?;
                let identity = self.settings.authority.issue_agent(&host.name);
                agent.files.write_identity(&host.name, identity)?;
                agent.spawn()?
            }
        };
        Ok(Supervision::begin(agent, running))
    }

    /// Ends everything that runs from a host's directory; its agent first, so that it does not
    /// start again what is ended.
    async fn end_all(&self, host: &Name, files: &HostFiles) -> Result<(), ProvisionError> {
        // Twice: until it is killed, the agent may begin something that the first look missed.
        for _ in 0..2 {
            let leftovers = Leftovers::of(files);
            leftovers.kill(host).await?;
            leftovers.remove_groups();
        }
        Ok(())
    }
}

/// The first of a host's user ids. Above the ranges that systemd gives to containers and below 2³¹
/// (systemd's UIDS-GIDS.md); 1,000 for each host, so that no two hosts of a machine share one.
fn uid_base(network: u8, number: u8) -> u32 {
    2_000_000_000 + u32::from(network) * 256_000 + u32::from(number) * 1_000
}

/// Whether a host could listen there.
fn free(address: IpAddr, port: u16) -> Result<(), ProvisionError> {
    match TcpListener::bind((address, port)) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            Err(ProvisionError::AddressInUse { address, port })
        }
        Err(source) => Err(ProvisionError::Address { address, source }),
    }
}

fn default_memory(total: u64, count: u16) -> ByteSize {
    let share = total / u64::from(count.max(1));
    ByteSize::from_bytes((share - share % MEMORY_STEP).max(LEAST_MEMORY))
}

#[async_trait]
impl Provider for Local {
    fn name(&self) -> Name {
        #[allow(clippy::expect_used, reason = "a constant that is a name")]
        "local".parse().expect("a name")
    }

    fn describe(&self, want: &HostWant) -> Result<MadeHost, ProvisionError> {
        let number = self.number(&want.name)?;
        let capacity = match want.capacity {
            Some(capacity) => capacity,
            None => {
                let memory = procfs::Meminfo::current().map_err(|error| {
                    ProvisionError::Other(format!("cannot read the memory's size: {error}"))
                })?;
                let memory = default_memory(memory.mem_total, self.settings.count);
                Capacity {
                    cpu: DEFAULT_CPU,
                    memory,
                }
            }
        };
        let address = Ipv4Addr::new(127, self.settings.network, 0, number).into();
        Ok(MadeHost {
            name: want.name.clone(),
            address,
            capacity,
        })
    }

    async fn create(&self, want: &HostWant) -> Result<MadeHost, ProvisionError> {
        let slot = self.slot(&want.name);
        let mut supervision = slot.lock().await;
        let files = self.files(&want.name)?;
        if files.is_dead() {
            return Err(ProvisionError::Dead(want.name.clone()));
        }
        let host = match files.made()? {
            Some(made) => made,
            None => {
                let described = self.describe(want)?;
                files.make(&described)?;
                described
            }
        };
        if supervision.is_none() {
            *supervision = Some(self.look_after(&host).await?);
        }
        Ok(host)
    }

    async fn list(&self) -> Result<Vec<MadeHost>, ProvisionError> {
        let hosts = HostFiles::all(&self.settings.directory)?;
        let alive = hosts.into_iter().filter(|files| !files.is_dead());
        alive.filter_map(|files| files.made().transpose()).collect()
    }

    async fn revive(&self, host: &Name) -> Result<Revival, ProvisionError> {
        let slot = self.slot(host);
        let mut supervision = slot.lock().await;
        let files = self.files(host)?;
        let made = if files.is_dead() { None } else { files.made()? };
        let Some(made) = made else {
            return Ok(Revival::Gone);
        };
        if supervision.is_none() {
            *supervision = Some(self.look_after(&made).await?);
        }
        Ok(Revival::Revived)
    }

    async fn is_gone(&self, host: &Name) -> bool {
        self.files(host).is_ok_and(|files| files.is_dead())
    }

    async fn kill(&self, host: &Name) -> Result<(), ProvisionError> {
        self.number(host)?;
        let slot = self.slot(host);
        let mut supervision = slot.lock().await;
        let files = self.files(host)?;
        // Before anything is ended: whoever dies in between must not bring it back.
        files.mark_dead()?;
        if let Some(supervision) = supervision.take() {
            supervision.end().await;
        }
        self.end_all(host, &files).await
    }

    async fn destroy(&self, host: &Name) -> Result<(), ProvisionError> {
        let slot = self.slot(host);
        let mut supervision = slot.lock().await;
        let files = self.files(host)?;
        if let Some(supervision) = supervision.take() {
            supervision.end().await;
        }
        self.end_all(host, &files).await?;
        files.remove()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_shared_in_steps_and_never_less_than_a_gibibyte() {
        assert_eq!(default_memory(33 << 30, 8).to_string(), "4224MiB");
        assert_eq!(default_memory(4 << 30, 8).to_string(), "1GiB");
        assert_eq!(default_memory(4 << 30, 0).to_string(), "4GiB");
    }

    #[test]
    fn no_two_hosts_share_a_user_id_and_none_is_out_of_range() {
        assert!(uid_base(77, 1) + 1_000 <= uid_base(77, 2));
        assert!(uid_base(77, MOST) + 1_000 <= uid_base(78, 1));
        assert!(uid_base(255, MOST) + 1_000 < 1 << 31);
    }
}
