use std::{fs, path::Path};

use tempfile::TempDir;

use super::*;

/// A machine of these files; a path that ends in `/` is a directory.
fn machine(files: &[(&str, &str)]) -> (TempDir, Machine) {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        if path.to_string_lossy().ends_with('/') {
            fs::create_dir_all(&path).unwrap();
            continue;
        }
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).unwrap();
        fs::write(path, text).unwrap();
    }
    let machine = Machine::below(root.path());
    (root, machine)
}

#[test]
fn a_machine_of_metal_is_read_whole() {
    let cpu = |number, socket, core| {
        format!(
            "processor\t: {number}\nmodel name\t: Xeon 8380\nphysical id\t: {socket}\ncore id\t\t: {core}\nflags\t\t: fpu vme\n\n"
        )
    };
    let cpuinfo = [cpu(0, 0, 0), cpu(1, 0, 0), cpu(2, 1, 0), cpu(3, 1, 0)].concat();
    let (_root, machine) = machine(&[
        ("proc/cpuinfo", &cpuinfo),
        (
            "proc/meminfo",
            "MemTotal:       32780444 kB\nMemFree: 1 kB\n",
        ),
        ("proc/sys/kernel/osrelease", "6.1.0-18-amd64\n"),
        ("etc/os-release", "ID=debian\nVERSION_ID=\"12\"\n"),
        ("sys/class/dmi/id/sys_vendor", "Dell Inc.\n"),
        ("sys/class/dmi/id/product_name", "PowerEdge R650\n"),
        ("sys/class/dmi/id/product_serial", "7XK2P93\n"),
        ("sys/devices/system/memory/block_size_bytes", "8000000\n"),
        ("sys/devices/system/memory/memory0/", ""),
        ("sys/devices/system/memory/memory7/", ""),
        ("sys/devices/system/memory/auto_online_blocks", "online\n"),
        ("sys/block/sda/size", "1000\n"),
        ("sys/block/sda/device/model", "ST4000NM  \n"),
        ("sys/block/sda/device/serial", "ZC1\n"),
        ("sys/block/sda/queue/rotational", "1\n"),
        ("sys/block/loop0/size", "1000\n"),
        ("sys/block/sr0/device/model", "DVD\n"),
        ("sys/block/sr0/size", "0\n"),
        ("sys/class/net/eno1/address", "aa:bb:cc:00:11:22\n"),
        ("sys/class/net/eno1/speed", "25000\n"),
        ("sys/class/net/eno1/device/", ""),
        ("sys/class/net/eno2/address", "aa:bb:cc:00:11:23\n"),
        ("sys/class/net/eno2/speed", "-1\n"),
        ("sys/class/net/eno2/device/", ""),
        ("sys/class/net/docker0/address", "02:42:00:00:00:00\n"),
        (
            "proc/net/fib_trie",
            "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 127.0.0.1\n        /32 host LOCAL\n     |-- 10.0.0.0\n        /24 link UNICAST\n     |-- 10.0.0.7\n        /32 host LOCAL\nLocal:\n     |-- 10.0.0.7\n        /32 host LOCAL\n     |-- 10.0.0.255\n        /32 link BROADCAST\n",
        ),
        (
            "proc/net/if_inet6",
            "00000000000000000000000000000001 01 80 10 80 lo\n20010db8000000000000000000000007 02 40 00 80 eno1\n20010db8000000000000000000000bad 02 40 00 01 eno1\nfe8000000000000000fc00fffe000001 02 40 20 80 eno1\n",
        ),
    ]);
    let facts = machine.facts();
    let shown = serde_json::to_value(&facts).unwrap();
    assert_eq!(
        shown,
        serde_json::json!({
            "vendor": "Dell Inc.", "product": "PowerEdge R650", "serial": "7XK2P93",
            "cpu": { "model": "Xeon 8380", "count": 4, "cores": 2, "sockets": 2 },
            "memory": "256MiB",
            "disks": [{ "name": "sda", "size": "500KiB", "model": "ST4000NM", "serial": "ZC1", "rotates": true }],
            "interfaces": [
                { "name": "eno1", "mac": "aa:bb:cc:00:11:22", "speed": 25000 },
                { "name": "eno2", "mac": "aa:bb:cc:00:11:23" },
            ],
            "addresses": ["10.0.0.7", "2001:db8::7"],
            "os": { "name": "debian", "version": "12" },
            "kernel": "6.1.0-18-amd64",
        })
    );
}

#[test]
fn memory_that_is_not_counted_in_blocks_is_told_without_what_changes_at_each_start() {
    for total in ["1010000", "1010400"] {
        let (_root, machine) = machine(&[("proc/meminfo", &format!("MemTotal: {total} kB"))]);
        assert_eq!(machine.facts().memory.to_string(), "986MiB");
    }
}

#[test]
fn what_firmware_says_for_want_of_anything_else_is_not_told() {
    let (_root, machine) = machine(&[
        (
            "sys/class/dmi/id/product_serial",
            "To Be Filled By O.E.M.\n",
        ),
        ("proc/device-tree/model", "Raspberry Pi 4\0"),
    ]);
    let facts = machine.facts();
    assert_eq!(
        (facts.serial.as_str(), facts.product.as_str()),
        ("", "Raspberry Pi 4")
    );
}

#[test]
fn it_is_told_what_a_machine_runs_in() {
    let flags = ("proc/cpuinfo", "processor : 0\nflags : fpu hypervisor\n");
    let metal = ("proc/cpuinfo", "processor : 0\nflags : fpu\n");
    let vendor = |vendor| ("sys/class/dmi/id/sys_vendor", vendor);
    let cases: [(&[(&str, &str)], &str); 5] = [
        (&[flags, vendor("QEMU")], "kvm"),
        (&[flags, vendor("Who Knows")], "unknown hypervisor"),
        (&[metal, vendor("Microsoft Corporation")], ""),
        (&[flags, (".dockerenv", "")], "docker"),
        (&[metal, ("run/.containerenv", "")], "podman"),
    ];
    for (files, wanted) in cases {
        let (_root, machine) = machine(files);
        assert_eq!(machine.facts().virtualisation, wanted, "{files:?}");
    }
}

#[test]
fn the_machine_that_runs_this_has_a_kernel_processors_and_memory_and_is_twice_the_same() {
    let machine = Machine::own();
    let facts = machine.facts();
    assert!(!facts.kernel.is_empty());
    assert!(facts.cpu.count > 0);
    assert!(facts.memory.bytes() > 1 << 20);
    assert_eq!(facts, machine.facts());
}
