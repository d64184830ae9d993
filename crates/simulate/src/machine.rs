//! The machines that simulated hosts are: drawn whenever they are asked for, and never kept.

use rand::RngExt as _;
use wright_model::{ByteSize, Cpu, Disk, Facts, Name, NetworkInterface, OperatingSystem};

use crate::Chance;

/// Made by whom, called what; sockets, cores of each, memory in GiB, disks in GiB.
type Model = (&'static str, &'static str, &'static str, u32, u32, u64, u64);

/// What stands in a data centre.
const MODELS: [Model; 4] = [
    (
        "Dell Inc.",
        "PowerEdge R650",
        "Intel(R) Xeon(R) Gold 6338",
        2,
        32,
        512,
        1_920,
    ),
    (
        "HPE",
        "ProLiant DL365 Gen11",
        "AMD EPYC 9354",
        2,
        32,
        768,
        3_840,
    ),
    (
        "Supermicro",
        "AS-1115CS-TNR",
        "AMD EPYC 9124",
        1,
        16,
        128,
        960,
    ),
    (
        "Lenovo",
        "ThinkSystem SR630",
        "Intel(R) Xeon(R) Silver 4314",
        1,
        16,
        64,
        480,
    ),
];

/// The same for a name and a seed, always.
pub(crate) fn of(name: &Name, chance: Chance) -> Facts {
    let mut rng = chance.of(&[name.as_str(), "machine"]);
    let (vendor, product, cpu, sockets, cores, memory, disk) =
        MODELS[rng.random_range(0..MODELS.len())];
    let serial: u32 = rng.random();
    let mac = |port: u32| {
        let [a, b, c, d] = serial.wrapping_add(port).to_be_bytes();
        // A prefix that nobody makes: it is assigned locally (IEEE 802, 8.2.2).
        format!("02:77:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
    };
    let interface = |port: u32| NetworkInterface {
        name: format!("eno{}", port + 1),
        mac: mac(port),
        speed: 25_000,
    };
    let disk = |number: u32| Disk {
        name: format!("nvme{number}n1"),
        size: ByteSize::from_bytes(disk << 30),
        model: "simulated".to_owned(),
        serial: format!("S{:08X}", serial.rotate_left(number + 1)),
        rotates: false,
    };
    Facts {
        agent: env!("CARGO_PKG_VERSION").to_owned(),
        vendor: vendor.to_owned(),
        product: product.to_owned(),
        serial: format!("{serial:08X}"),
        cpu: Cpu {
            model: cpu.to_owned(),
            count: sockets * cores * 2,
            cores: sockets * cores,
            sockets,
        },
        memory: ByteSize::from_bytes(memory << 30),
        disks: (0..2).map(disk).collect(),
        interfaces: (0..2).map(interface).collect(),
        os: OperatingSystem {
            name: "debian".to_owned(),
            version: "12".to_owned(),
        },
        kernel: "6.1.0-18-amd64".to_owned(),
        ..Facts::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_always_the_same_machine_and_no_two_are_one_in_a_kilobyte_each() {
        let name = |number: u32| format!("h{number}").parse::<Name>().unwrap();
        let of = |number, seed| of(&name(number), Chance::new(seed));
        assert_eq!(of(1, 7), of(1, 7));
        assert_ne!(of(1, 7), of(1, 8));
        let serials: std::collections::BTreeSet<String> =
            (0..1000).map(|number| of(number, 7).serial).collect();
        assert_eq!(serials.len(), 1000);
        assert!(serde_json::to_vec(&of(1, 7)).unwrap().len() <= 1024);
    }
}
