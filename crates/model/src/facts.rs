use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::ByteSize;

/// What an agent finds out about its host by itself. What it cannot find out is empty, and left out.
///
/// Nothing here changes by the minute: two that are equal are written the same way, so that their
/// digests tell whether anything changed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// The version of the agent.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub agent: String,
    /// Who made the machine.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub vendor: String,
    /// What its maker calls it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub product: String,
    /// Its serial number.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub serial: String,
    /// What it runs in: `kvm`, `vmware`, …, `docker`, `podman`, …; empty on bare metal.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub virtualisation: String,
    /// Its processors.
    pub cpu: Cpu,
    /// Its memory; 0 where not known.
    pub memory: ByteSize,
    /// Its disks, by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub disks: Vec<Disk>,
    /// Its network interfaces that are devices, by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<NetworkInterface>,
    /// Its addresses that others reach it by, and that of its agent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<IpAddr>,
    /// Its operating system.
    pub os: OperatingSystem,
    /// The version of its kernel.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kernel: String,
    /// The packages that its instances are of, `name@version`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<String>,
    /// The instances that it has, `site/name`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub instances: Vec<String>,
}

/// Processors.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Cpu {
    /// What their maker calls them.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub model: String,
    /// How many the kernel has: threads of cores count.
    pub count: u32,
    /// Cores of all sockets; 0 where not known.
    #[serde(skip_serializing_if = "is_zero")]
    pub cores: u32,
    /// Sockets; 0 where not known.
    #[serde(skip_serializing_if = "is_zero")]
    pub sockets: u32,
}

/// A disk.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Disk {
    /// As the kernel calls it, such as `sda`.
    pub name: String,
    /// How much it holds.
    pub size: ByteSize,
    /// What its maker calls it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub model: String,
    /// Its serial number.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub serial: String,
    /// Whether it turns.
    pub rotates: bool,
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkInterface {
    /// As the kernel calls it, such as `eth0`.
    pub name: String,
    /// Its MAC address.
    pub mac: String,
    /// Mbit/s; 0 where not known.
    #[serde(skip_serializing_if = "is_zero")]
    pub speed: u32,
}

/// An operating system.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct OperatingSystem {
    /// As it calls itself, such as `debian`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its version, such as `12`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}
