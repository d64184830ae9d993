use std::collections::BTreeSet;

use wright_model::{ByteSize, Cpu, Disk};

use super::Machine;

/// Who made a machine, as its firmware says.
#[derive(Debug, Default)]
pub(super) struct Identity {
    pub vendor: String,
    pub product: String,
    pub serial: String,
}

/// What firmware says where its maker had nothing to say.
const PLACEHOLDERS: [&str; 8] = [
    "to be filled by o.e.m.",
    "default string",
    "not specified",
    "not applicable",
    "system serial number",
    "system product name",
    "system manufacturer",
    "none",
];

pub(super) fn identity(machine: &Machine) -> Identity {
    let said = |name: &str| {
        let text = machine.text(&format!("sys/class/dmi/id/{name}"));
        let meant = !PLACEHOLDERS.contains(&text.to_lowercase().as_str());
        if meant { text } else { String::new() }
    };
    let mut identity = Identity {
        vendor: said("sys_vendor"),
        product: said("product_name"),
        // Only root may read it.
        serial: said("product_serial"),
    };
    // Machines without DMI, such as boards of ARM, have a device tree.
    if identity.product.is_empty() {
        identity.product = machine.text("proc/device-tree/model");
    }
    if identity.serial.is_empty() {
        identity.serial = machine.text("proc/device-tree/serial-number");
    }
    identity
}

pub(super) fn cpu(cpuinfo: &str) -> Cpu {
    let (mut cpu, mut cores) = (Cpu::default(), BTreeSet::new());
    let mut socket = "";
    for line in cpuinfo.lines() {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        match (name.trim_end(), value.trim()) {
            ("processor", _) => {
                cpu.count += 1;
                socket = "";
            }
            ("model name", model) if cpu.model.is_empty() => cpu.model = model.to_owned(),
            ("physical id", id) => socket = id,
            ("core id", id) => drop(cores.insert((socket, id))),
            _ => {}
        }
    }
    let sockets: BTreeSet<&str> = cores.iter().map(|(socket, _)| *socket).collect();
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    (cpu.cores, cpu.sockets) = (count(cores.len()), count(sockets.len()));
    cpu
}

/// What is plugged in, where the kernel counts it in blocks; else what it has for itself and others,
/// which is a little less.
pub(super) fn memory(machine: &Machine) -> ByteSize {
    const BLOCKS: &str = "sys/devices/system/memory";
    let size = machine.text(&format!("{BLOCKS}/block_size_bytes"));
    let size = u64::from_str_radix(&size, 16).unwrap_or(0);
    let names = machine.names(BLOCKS);
    let numbered = |name: &&String| {
        let number = name.strip_prefix("memory");
        number.is_some_and(|number| number.bytes().all(|b| b.is_ascii_digit()))
    };
    let blocks = names.iter().filter(numbered).count() as u64;
    if let Some(bytes) = size.checked_mul(blocks).filter(|bytes| *bytes > 0) {
        return ByteSize::from_bytes(bytes);
    }
    let meminfo = machine.text("proc/meminfo");
    let total = meminfo.lines().find_map(|line| {
        let rest = line.strip_prefix("MemTotal:")?;
        rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    });
    // It differs by some pages from one start to the next.
    ByteSize::from_bytes((total.unwrap_or(0) >> 10) << 20)
}

/// Disks that are devices, and not made of other disks or of memory.
pub(super) fn disks(machine: &Machine) -> Vec<Disk> {
    const SECTOR: u64 = 512;
    /// What a size may be at most.
    const LARGEST: u64 = 1 << 50;
    let all = machine.names("sys/block");
    let devices = all
        .into_iter()
        .filter(|name| machine.path(&format!("sys/block/{name}/device")).exists());
    let disk = |name: String| {
        let said = |file: &str| machine.text(&format!("sys/block/{name}/{file}"));
        let sectors: u64 = said("size").parse().unwrap_or(0);
        // Where it stands differs: SCSI and NVMe below the device, virtio at the disk.
        let serials = ["device/serial", "serial", "device/wwid", "wwid"];
        let serial = serials
            .into_iter()
            .map(said)
            .find(|serial| !serial.is_empty());
        Disk {
            size: ByteSize::from_bytes(sectors.saturating_mul(SECTOR).min(LARGEST)),
            model: said("device/model"),
            serial: serial.unwrap_or_default(),
            rotates: said("queue/rotational") == "1",
            name,
        }
    };
    // A drive without a medium.
    devices
        .map(disk)
        .filter(|disk| disk.size.bytes() > 0)
        .collect()
}
