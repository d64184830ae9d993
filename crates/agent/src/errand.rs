//! Work on packages that a child of the agent does.
//!
//! Unpacking and hashing need megabytes for a moment, and an allocator that has them keeps them:
//! what a child takes goes with it, so the agent stays small. It also reads the archives, whose
//! bytes come from outside, and keeps that off the agent's one thread.

use std::{
    fs::File,
    io::{self, Write as _},
    path::PathBuf,
    process::Stdio,
    thread,
};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use wright_model::{Digest, PackageId};
use wright_package::Keyring;
use wright_protocol::{Blame, Fault};

use crate::{
    Settings, command,
    error::{host_fault, package_fault},
    launch::{NOT_RUN, Request},
};

/// What the child is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Errand {
    /// Bring the archive to the disk and prove that it is the package and that a trusted key
    /// signed it.
    Verify {
        archive: PathBuf,
        package: PackageId,
        /// As text.
        signature: String,
        /// The directory of the trusted keys.
        keys: PathBuf,
    },
    /// Unpack the archive; nothing is done where it is unpacked already.
    Unpack {
        archive: PathBuf,
        to: PathBuf,
        digest: Digest,
    },
    /// Compare an unpacked package with the list in its archive.
    Checksum {
        directory: PathBuf,
        archive: PathBuf,
    },
}

/// What was found, a line each; nothing for errands that only do.
type Found = Result<Vec<String>, Fault>;

impl Errand {
    /// Has a child do it. Given up, the child ends, but not at once.
    pub(crate) async fn run(self, settings: &Settings) -> Found {
        let broken = |why: String| {
            Fault::new(
                Blame::Host,
                format!("the work on a package broke off: {why}"),
            )
        };
        let failed = |error: io::Error| broken(error.to_string());
        let mut child = command::launcher(settings)
            .map_err(failed)?
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let (Some(mut asks), Some(mut says)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(broken("no pipe to the child".to_owned()));
        };
        let line = Request::Do(self).to_line().map_err(failed)?;
        asks.write_all(&line).await.map_err(failed)?;
        let mut answer = Vec::new();
        says.read_to_end(&mut answer).await.map_err(failed)?;
        let status = child.wait().await.map_err(failed)?;
        // Open until here: its end would tell the child that nobody waits.
        drop(asks);
        serde_json::from_slice(&answer).unwrap_or_else(|_| Err(broken(status.to_string())))
    }

    /// Does it in this process, which ends if its standard input does, and says on standard output
    /// how it went.
    pub(crate) fn perform_as_child(self) -> io::Result<()> {
        thread::Builder::new().spawn(|| {
            let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
            std::process::exit(NOT_RUN.into());
        })?;
        let answer = serde_json::to_vec(&self.perform())?;
        io::stdout().write_all(&answer)
    }

    fn perform(self) -> Found {
        match self {
            Errand::Verify {
                archive,
                package,
                signature,
                keys,
            } => {
                let synced = File::open(&archive).and_then(|file| file.sync_all());
                synced.map_err(host_fault("write", &archive))?;
                let signature = signature.parse().map_err(|error| {
                    Fault::new(
                        Blame::Package,
                        format!("the signature of {package}: {error}"),
                    )
                })?;
                let keyring = Keyring::load(&keys).map_err(package_fault)?;
                wright_package::verify(&archive, &package, &signature, &keyring)
                    .map_err(package_fault)?;
                Ok(Vec::new())
            }
            Errand::Unpack {
                archive,
                to,
                digest,
            } => {
                // The child of an agent that was killed may be about to end only now.
                let alone = File::open(&archive).and_then(|file| {
                    Ok(flock(&file, FlockOperation::LockExclusive).map(|()| file)?)
                });
                let _alone = alone.map_err(host_fault("read", &archive))?;
                if !to.exists() {
                    wright_package::unpack(&archive, &to, &digest).map_err(package_fault)?;
                }
                Ok(Vec::new())
            }
            Errand::Checksum { directory, archive } => {
                // The list in the archive was signed; the one beside the files could be changed
                // with them.
                let found = match wright_package::read_listing(&archive) {
                    Ok(listing) => wright_package::checksum_against(&directory, &listing),
                    Err(_) => wright_package::checksum(&directory),
                };
                let found = found.map_err(package_fault)?;
                Ok(found.iter().map(ToString::to_string).collect())
            }
        }
    }
}
