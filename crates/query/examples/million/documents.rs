//! Twelve kinds of thirty fields each, of anybody's data centre; the same for the same number.

use serde_json::{Value as Json, json};

/// A reference: the field, the kind it leads to, and what the relation is called from there.
pub type Refers = (&'static str, &'static str, &'static str);

/// The kinds; what they refer to goes first.
pub const KINDS: [(&str, Option<Refers>); 12] = [
    ("hall", None),
    ("cabinet", Some(("hall", "hall", "cabinets"))),
    ("machine", Some(("cabinet", "cabinet", "machines"))),
    ("program", Some(("machine", "machine", "programs"))),
    ("endpoint", None),
    ("switch", None),
    ("port", None),
    ("disk", None),
    ("licence", None),
    ("offer", None),
    ("duct", None),
    ("agreement", None),
];

/// The fields that all kinds have, with their types. With a reference or `rack_unit` they are thirty.
pub const FIELDS: [(&str, &str); 29] = [
    ("model", "text"),
    ("serial", "text"),
    ("asset", "text"),
    ("address", "address"),
    ("mac", "mac"),
    ("status", "text"),
    ("environment", "text"),
    ("team", "text"),
    ("owner", "text"),
    ("site", "text"),
    ("cores", "integer"),
    ("memory", "bytes"),
    ("units", "integer"),
    ("weight", "float"),
    ("power", "integer"),
    ("price", "integer"),
    ("bought", "time"),
    ("seen", "time"),
    ("virtual", "boolean"),
    ("monitored", "boolean"),
    ("firmware", "text"),
    ("os", "text"),
    ("kernel", "text"),
    ("vendor", "text"),
    ("contract", "text"),
    ("tags", "list"),
    ("description", "text"),
    ("priority", "integer"),
    ("position", "integer"),
];

/// Spreads numbers (SplitMix64).
pub fn mixed(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The name of one.
pub fn name(kind: &str, number: u64) -> String {
    format!("{kind}-{number:07}")
}

/// How many halls, cabinets and so on there are where each kind has `each`: none is without a target.
pub fn targets(kind: &str, each: u64) -> u64 {
    match kind {
        "hall" => each.clamp(1, 500),
        "cabinet" => (each / 20).max(1),
        _ => each.max(1),
    }
}

/// One of a kind.
pub fn body(kind: &str, number: u64, each: u64) -> Json {
    let at = KINDS.iter().position(|(own, _)| *own == kind).unwrap_or(0);
    let unique = number * 12 + at as u64;
    let chance = |salt: u64, of: u64| mixed(unique * 64 + salt) % of;
    let one = |salt, among: &[&'static str]| {
        among[usize::try_from(chance(salt, among.len() as u64)).unwrap_or(0)]
    };
    let words = [
        "edge", "core", "backup", "web", "batch", "cache", "legacy", "gpu", "lab", "spare",
    ];
    let word = |salt| one(salt, &words);
    let [a, b, c, d] = u32::try_from(unique).unwrap_or(0).to_be_bytes();
    let mut body = json!({
        "model": one(1, &["compute", "storage", "network", "gpu"]),
        "serial": format!("SN{:016X}", mixed(unique)),
        "asset": format!("A-{unique:08}"),
        "address": format!("10.{b}.{c}.{d}"),
        "mac": format!("02:00:{a:02x}:{b:02x}:{c:02x}:{d:02x}"),
        "status": one(2, &["active", "active", "active", "planned", "broken", "retired"]),
        "environment": one(3, &["production", "staging", "test"]),
        "team": format!("team-{:02}", chance(4, 60)),
        "owner": format!("user{:04}", chance(5, 2000)),
        "site": format!("site-{}", chance(6, 12)),
        "cores": 4 << chance(7, 5),
        "memory": format!("{}GiB", 8 << chance(8, 6)),
        "units": 1 + chance(9, 4),
        "weight": chance(10, 4000) as f64 / 100.0,
        "power": 100 + chance(11, 900),
        "price": chance(12, 1_000_000),
        "bought": format!("20{}-{:02}-{:02}T00:00:00Z", 15 + chance(13, 11), 1 + chance(14, 12), 1 + chance(15, 28)),
        "seen": format!("2026-11-{:02}T{:02}:{:02}:{:02}Z", 1 + chance(16, 20), chance(17, 24), chance(18, 60), chance(19, 60)),
        "virtual": chance(20, 5) == 0,
        "monitored": chance(21, 20) != 0,
        "firmware": format!("{}.{}.{}", chance(22, 4), chance(23, 10), chance(24, 20)),
        "os": one(25, &["debian-12", "debian-13", "rocky-9", "none"]),
        "kernel": format!("6.{}.{}", chance(26, 12), chance(27, 60)),
        "vendor": format!("vendor {}", chance(28, 25)),
        "contract": format!("C{:05}", chance(29, 5000)),
        "tags": [word(30), word(31)],
        "description": format!("{} {} for {} in {}", word(32), word(33), word(34), word(35)),
        "priority": chance(36, 10),
        "position": chance(37, 42),
    });
    match KINDS[at].1 {
        Some((field, to, _)) => body[field] = name(to, chance(40, targets(to, each))).into(),
        None => body["rack_unit"] = chance(41, 48).into(),
    }
    body
}
