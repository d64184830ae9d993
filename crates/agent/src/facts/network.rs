use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use wright_model::NetworkInterface;

use super::Machine;

/// Interfaces that are devices: bridges, tunnels and what containers have come and go.
pub(super) fn interfaces(machine: &Machine) -> Vec<NetworkInterface> {
    let all = machine.names("sys/class/net").into_iter();
    let devices = all.filter(|name| {
        let device = machine.path(&format!("sys/class/net/{name}/device"));
        device.exists()
    });
    let interface = |name: String| {
        let said = |file: &str| machine.text(&format!("sys/class/net/{name}/{file}"));
        NetworkInterface {
            mac: said("address"),
            // -1 while there is no link, or where there is no telling.
            speed: said("speed").parse().unwrap_or(0),
            name,
        }
    };
    devices.map(interface).collect()
}

/// Addresses that others may reach: none of the loopback, none that only a link knows.
pub(super) fn addresses(machine: &Machine) -> Vec<IpAddr> {
    let trie = machine.text("proc/net/fib_trie");
    let v4 = local_v4(&trie).filter(|address| !address.is_loopback() && !address.is_link_local());
    let table = machine.text("proc/net/if_inet6");
    let v6 = table.lines().filter_map(global_v6);
    let all: BTreeSet<IpAddr> = v4.map(IpAddr::from).chain(v6.map(IpAddr::from)).collect();
    all.into_iter().collect()
}

/// The addresses in the kernel's routes that are its own: a leaf `|-- ADDRESS`, and below it
/// `/32 host LOCAL`.
fn local_v4(trie: &str) -> impl Iterator<Item = Ipv4Addr> {
    let mut leaf = None;
    trie.lines().filter_map(move |line| {
        let line = line.trim_start();
        if let Some(address) = line.strip_prefix("|-- ") {
            leaf = address.parse().ok();
            return None;
        }
        leaf.filter(|_| line == "/32 host LOCAL")
    })
}

/// A line of `if_inet6`: the address as 32 digits, interface, length, scope, flags, name.
fn global_v6(line: &str) -> Option<Ipv6Addr> {
    const GLOBAL: &str = "00";
    /// RFC 4941: those that are used for a day.
    const TEMPORARY: u32 = 0x01;
    let mut words = line.split_ascii_whitespace();
    let address = u128::from_str_radix(words.next()?, 16).ok()?;
    let scope = words.nth(2)?;
    let flags = u32::from_str_radix(words.next()?, 16).ok()?;
    (scope == GLOBAL && flags & TEMPORARY == 0).then(|| address.into())
}
