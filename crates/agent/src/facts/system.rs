use wright_model::OperatingSystem;

use super::{Machine, hardware::Identity};

/// `/etc/os-release`, as os-release(5) describes it.
pub(super) fn operating_system(machine: &Machine) -> OperatingSystem {
    let release = machine.text("etc/os-release");
    let said = |wanted: &str| {
        let mut lines = release.lines().filter_map(|line| line.split_once('='));
        let found = lines.find(|(name, _)| *name == wanted);
        found.map_or_else(String::new, |(_, value)| {
            value.trim().trim_matches(['"', '\'']).to_owned()
        })
    };
    OperatingSystem {
        name: said("ID"),
        version: said("VERSION_ID"),
    }
}

/// Whose firmware says so is a machine of which hypervisor.
const HYPERVISORS: [(&str, &str); 8] = [
    ("qemu", "kvm"),
    ("vmware", "vmware"),
    ("innotek", "virtualbox"),
    ("xen", "xen"),
    ("microsoft corporation", "hyper-v"),
    ("amazon ec2", "amazon"),
    ("google", "google"),
    ("alibaba", "alibaba"),
];

/// Files that those leave who make containers.
const CONTAINERS: [(&str, &str); 2] = [(".dockerenv", "docker"), ("run/.containerenv", "podman")];

/// What the machine runs in. The flag of the processor counts before what firmware says: some makers of
/// hypervisors make machines, too.
pub(super) fn virtualisation(machine: &Machine, identity: &Identity, cpuinfo: &str) -> String {
    let inside = CONTAINERS
        .into_iter()
        .find(|(file, _)| machine.path(file).exists());
    if let Some((_, container)) = inside {
        return container.to_owned();
    }
    let flags = cpuinfo.lines().find(|line| line.starts_with("flags"));
    let virtual_cpu =
        flags.is_some_and(|flags| flags.split_ascii_whitespace().any(|f| f == "hypervisor"));
    if !virtual_cpu {
        return String::new();
    }
    let said = format!("{} {}", identity.vendor, identity.product).to_lowercase();
    let known = HYPERVISORS
        .into_iter()
        .find(|(word, _)| said.contains(word));
    known
        .map_or("unknown hypervisor", |(_, name)| name)
        .to_owned()
}
