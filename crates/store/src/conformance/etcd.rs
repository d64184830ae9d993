//! Real etcd members on this machine's loopback, for tests of this engine and of what uses it.

use std::{
    ffi::OsStr,
    io::{self, BufRead as _, BufReader},
    net::Ipv4Addr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        atomic::{AtomicU16, Ordering},
        mpsc,
    },
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// What etcd must be started with, so that the largest commit fits.
pub const MAX_TXN_OPS: &str = "--max-txn-ops=4096";
/// Where a member listens, on an address of its own.
const CLIENTS: u16 = 2379;
const PEERS: u16 = 2380;
/// What etcd says when it serves clients: with this, securely or insecurely.
const READY: &str = "serving client traffic ";

/// Members of one cluster, in a temporary directory. Dropping it ends and removes them.
#[derive(Debug)]
pub struct EtcdCluster {
    members: Vec<EtcdMember>,
    scheme: &'static str,
    _directory: TempDir,
}

/// How long a member may say nothing while it starts.
const SILENCE: Duration = Duration::from_secs(20);

/// One member.
#[derive(Debug)]
pub struct EtcdMember {
    address: Ipv4Addr,
    arguments: Vec<String>,
    child: Option<Child>,
    /// What it says until it serves.
    log: Option<mpsc::Receiver<String>>,
}

impl EtcdCluster {
    /// Starts so many members with further arguments of etcd, and waits until they answer.
    ///
    /// # Errors
    /// Where etcd is not installed, with what installs it, or does not start.
    pub fn start(members: u8, arguments: &[&str]) -> io::Result<Self> {
        Self::start_with(members, arguments, None)
    }

    /// Starts members that speak TLS to clients, with a directory that has `ca.pem`, `server.pem` and
    /// `server.key`, and ask clients for certificates. `addresses` of the members come from
    /// [`EtcdCluster::addresses`], which the certificate must name.
    ///
    /// # Errors
    /// As [`EtcdCluster::start`].
    pub fn start_tls(
        addresses: &[Ipv4Addr],
        certificates: &Path,
        arguments: &[&str],
    ) -> io::Result<Self> {
        let of = |name: &str| certificates.join(name).display().to_string();
        let (ca, cert, key) = (of("ca.pem"), of("server.pem"), of("server.key"));
        let mut arguments = arguments.to_vec();
        let tls = [
            "--trusted-ca-file",
            &ca,
            "--cert-file",
            &cert,
            "--key-file",
            &key,
        ];
        arguments.extend(tls);
        arguments.push("--client-cert-auth");
        Self::start_with(0, &arguments, Some(addresses))
    }

    /// Addresses on the loopback that no other test of this machine has.
    pub fn addresses(members: u8) -> Vec<Ipv4Addr> {
        static NEXT: AtomicU16 = AtomicU16::new(1);
        let process = std::process::id();
        let address = |_| {
            // 127.100.0.0 and up: the process and the member tell one from the other.
            let [member, _] = NEXT.fetch_add(1, Ordering::Relaxed).to_le_bytes();
            let [low, high, ..] = process.to_le_bytes();
            Ipv4Addr::new(127, 100 + (high & 0x7f), low, member)
        };
        (0..members).map(address).collect()
    }

    fn start_with(members: u8, arguments: &[&str], tls: Option<&[Ipv4Addr]>) -> io::Result<Self> {
        let directory = tempfile::tempdir()?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let addresses = tls.map_or_else(|| Self::addresses(members), <[_]>::to_vec);
        let cluster: Vec<String> = addresses
            .iter()
            .enumerate()
            .map(|(member, address)| format!("m{member}=http://{address}:{PEERS}"))
            .collect();
        let mut members = Vec::new();
        for (member, address) in addresses.iter().enumerate() {
            let data = directory.path().join(format!("m{member}"));
            let (clients, peers) = (
                format!("{scheme}://{address}:{CLIENTS}"),
                format!("http://{address}:{PEERS}"),
            );
            let mut all: Vec<String> = [
                ("name", format!("m{member}")),
                ("data-dir", data.display().to_string()),
                ("listen-client-urls", clients.clone()),
                ("advertise-client-urls", clients),
                ("listen-peer-urls", peers.clone()),
                ("initial-advertise-peer-urls", peers),
                ("initial-cluster", cluster.join(",")),
                ("heartbeat-interval", "50".to_owned()),
                ("election-timeout", "500".to_owned()),
                ("logger", "zap".to_owned()),
            ]
            .into_iter()
            .flat_map(|(name, value)| [format!("--{name}"), value])
            .collect();
            all.push(MAX_TXN_OPS.to_owned());
            all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
            members.push(EtcdMember {
                address: *address,
                arguments: all,
                child: None,
                log: None,
            });
        }
        let mut cluster = EtcdCluster {
            members,
            scheme,
            _directory: directory,
        };
        for member in &mut cluster.members {
            member.spawn()?;
        }
        for member in &mut cluster.members {
            member.wait()?;
        }
        Ok(cluster)
    }

    /// The URL for [`crate::open`], without options.
    pub fn url(&self) -> String {
        let hosts = self
            .members
            .iter()
            .map(|member| format!("{}:{CLIENTS}", member.address));
        format!("etcd://{}", hosts.collect::<Vec<_>>().join(","))
    }

    /// One member, counted from 0.
    pub fn member(&mut self, member: usize) -> &mut EtcdMember {
        &mut self.members[member]
    }

    /// Runs `etcdctl` on the first member, and answers with what it says.
    ///
    /// # Errors
    /// Where it fails: what it says.
    pub fn etcdctl(&self, arguments: &[impl AsRef<OsStr>]) -> io::Result<String> {
        let endpoint = format!("{}://{}:{CLIENTS}", self.scheme, self.members[0].address);
        let output = Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &endpoint])
            .args(arguments)
            .output()
            .map_err(|error| not_installed("etcdctl", &error))?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(io::Error::other(
                String::from_utf8_lossy(&output.stderr).into_owned(),
            ))
        }
    }
}

impl EtcdMember {
    fn spawn(&mut self) -> io::Result<()> {
        let mut child = Command::new("etcd")
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| not_installed("etcd", &error))?;
        let (sender, log) = mpsc::channel();
        if let Some(said) = child.stderr.take() {
            // Reads to the end, so that etcd never waits for a full pipe.
            std::thread::spawn(move || {
                for line in BufReader::new(said).lines().map_while(Result::ok) {
                    // After it has started, nobody reads its log.
                    let _ = sender.send(line);
                }
            });
        }
        self.child = Some(child);
        self.log = Some(log);
        Ok(())
    }

    /// Until it serves clients, which it does once it has found a leader.
    fn wait(&mut self) -> io::Result<()> {
        let Some(log) = self.log.take() else {
            return Ok(());
        };
        let mut said = Vec::new();
        loop {
            match log.recv_timeout(SILENCE) {
                Ok(line) if line.contains(READY) => return Ok(()),
                Ok(line) => said.push(line),
                Err(_) => {
                    let said = said.join("\n");
                    return Err(io::Error::other(format!("etcd did not start: {said}")));
                }
            }
        }
    }

    /// SIGKILL.
    ///
    /// # Errors
    /// Of the system.
    pub fn kill(&mut self) -> io::Result<()> {
        match self.child.take() {
            Some(mut child) => child.kill().and_then(|()| child.wait().map(drop)),
            None => Ok(()),
        }
    }

    /// SIGSTOP: it freezes, and its connections stay.
    ///
    /// # Errors
    /// Of the system.
    pub fn freeze(&self) -> io::Result<()> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// Of the system.
    pub fn thaw(&self) -> io::Result<()> {
        self.signal(Signal::CONT)
    }

    /// Starts it again on its data, and waits until it answers.
    ///
    /// # Errors
    /// Where it does not.
    pub fn restart(&mut self) -> io::Result<()> {
        self.kill()?;
        self.spawn()?;
        self.wait()
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        let id = self
            .child
            .as_ref()
            .and_then(|child| i32::try_from(child.id()).ok());
        match id.and_then(Pid::from_raw) {
            Some(id) => Ok(kill_process(id, signal)?),
            None => Err(io::Error::other("the member does not run")),
        }
    }
}

impl Drop for EtcdMember {
    fn drop(&mut self) {
        // A member that has ended by itself is no reason to fail.
        let _ = self.kill();
    }
}

fn not_installed(program: &str, error: &io::Error) -> io::Error {
    let text = format!("{program}: {error}; run: apt-get install -y etcd-server etcd-client");
    io::Error::new(error.kind(), text)
}
