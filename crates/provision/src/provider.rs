use std::net::IpAddr;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use wright_model::{Capacity, Name};

use crate::ProvisionError;

/// What is asked of a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostWant {
    /// The host's name, unique within the installation.
    pub name: Name,
    /// What it should carry; `None`: what the provider gives by default.
    pub capacity: Option<Capacity>,
}

/// A host that a provider made or would make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadeHost {
    /// Its name.
    pub name: Name,
    /// Where its programs listen.
    pub address: IpAddr,
    /// What it can carry.
    pub capacity: Capacity,
}

/// What came of trying to bring a host back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revival {
    /// It is there, or on its way: its agent will call.
    Revived,
    /// It will never come back.
    Gone,
}

/// Where hosts come from.
///
/// What every provider promises:
/// - A host is up when its agent calls the server with an identity for the host's name; making
///   sure that it does, again and again, is the provider's task, not the server's.
/// - Every call may be repeated, also by another server after the first one died half-way, and
///   ends in the same state. Calls for different hosts may run at once.
/// - After [`Provider::kill`] has succeeded nothing that ran on the host runs any more, nor will it
///   ever (it is fenced): its instances may be started elsewhere. This holds although the host's
///   own software cannot be asked (a machine is powered off, a container is removed).
/// - [`Provider::is_gone`] says yes only when that is certain.
#[async_trait]
pub trait Provider: Send + Sync {
    /// The provider's name, as recorded with its hosts.
    fn name(&self) -> Name;

    /// What a host would be like, without making it.
    ///
    /// # Errors
    /// Where there can be no such host.
    fn describe(&self, want: &HostWant) -> Result<MadeHost, ProvisionError>;

    /// Makes a host, or takes it over if it is there, and sees to it that its agent runs.
    ///
    /// # Errors
    /// Where there can be no such host, it is dead, or it cannot be made; then nothing half-made
    /// runs.
    async fn create(&self, want: &HostWant) -> Result<MadeHost, ProvisionError>;

    /// The hosts there are, by name; dead ones are not among them.
    ///
    /// # Errors
    /// Where that cannot be found out.
    async fn list(&self) -> Result<Vec<MadeHost>, ProvisionError>;

    /// Tries to bring a silent host back, in whatever way the provider has.
    ///
    /// # Errors
    /// Where it cannot be told now whether it comes back.
    async fn revive(&self, host: &Name) -> Result<Revival, ProvisionError>;

    /// Whether it is certain that a host has died and will never come back.
    async fn is_gone(&self, host: &Name) -> bool;

    /// Pulls the plug: ends the host at once and for good, without asking it.
    ///
    /// # Errors
    /// Where something may still run there; the host is then not fenced.
    async fn kill(&self, host: &Name) -> Result<(), ProvisionError>;

    /// Gives a host back: ends everything and leaves nothing. A host that is not there is done.
    ///
    /// # Errors
    /// Where something stays.
    async fn destroy(&self, host: &Name) -> Result<(), ProvisionError>;
}
