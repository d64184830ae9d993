//! Places, hardware, virtual machines and cables.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};

use super::{
    super::Row,
    dump::{Dump, Object},
    names::{Names, number, row, text, word},
};

const SITE: [(&str, &str); 3] = [
    ("staging", "planned"),
    ("decommissioning", "retired"),
    ("candidate", "planned"),
];
const RACK: [(&str, &str); 2] = [("available", "planned"), ("deprecated", "retired")];
const DEVICE: [(&str, &str); 2] = [("inventory", "offline"), ("decommissioning", "retired")];
const MACHINE: [(&str, &str); 2] = [("paused", "offline"), ("decommissioning", "retired")];
const CABLE: [(&str, &str); 2] = [("connected", "active"), ("decommissioning", "retired")];

/// Teams, suppliers, models, sites, rooms and racks.
pub(super) fn places(dump: &Dump, names: &mut Names) -> Vec<Row> {
    let mut rows = Vec::new();
    for it in dump.all("tenancy.tenant") {
        let name = names.give("team", "tenancy.tenant", it.pk, slug(it));
        let fields = [
            ("title", text(it, "name")),
            ("description", text(it, "description")),
        ];
        rows.push(row(dump, "tenancy.tenant", it, ("team", name), fields));
    }
    for it in dump.all("dcim.manufacturer") {
        let name = names.give("supplier", "dcim.manufacturer", it.pk, slug(it));
        let fields = [
            ("title", text(it, "name")),
            ("description", text(it, "description")),
        ];
        rows.push(row(
            dump,
            "dcim.manufacturer",
            it,
            ("supplier", name),
            fields,
        ));
    }
    for it in dump.all("dcim.devicetype") {
        let name = names.give("model", "dcim.devicetype", it.pk, slug(it));
        let fields = [
            (
                "supplier",
                names.refer(it, "manufacturer", "dcim.manufacturer"),
            ),
            ("part", text(it, "model")),
            ("sort", Some("other".into())),
            ("units", number(it, "u_height")),
            ("full_depth", it.truth("is_full_depth").map(Value::from)),
            ("description", text(it, "description")),
        ];
        rows.push(row(dump, "dcim.devicetype", it, ("model", name), fields));
    }
    for it in dump.all("dcim.site") {
        let name = names.give("site", "dcim.site", it.pk, slug(it));
        let fields = [
            ("status", word(it, "status", &SITE)),
            ("address", text(it, "physical_address")),
            ("latitude", number(it, "latitude")),
            ("longitude", number(it, "longitude")),
            ("time_zone", text(it, "time_zone")),
            ("team", names.refer(it, "tenant", "tenancy.tenant")),
            (
                "description",
                text(it, "description").or_else(|| text(it, "name")),
            ),
        ];
        let mut site = row(dump, "dcim.site", it, ("site", name), fields);
        let region = dump.text_of(it, "region", "dcim.region", "slug");
        let group = dump.text_of(it, "group", "dcim.sitegroup", "slug");
        for (label, value) in [("region", region), ("group", group)] {
            if let Some(value) = value {
                site.labels.insert(label.to_owned(), Some(value.to_owned()));
            }
        }
        rows.push(site);
    }
    rows.extend(rooms(dump, names));
    for it in dump.all("dcim.rack") {
        let site = it
            .refer("site")
            .and_then(|site| names.of("dcim.site", site));
        let called = format!("{}.{}", site.unwrap_or_default(), called(it));
        let room = names.refer(it, "location", "dcim.location");
        let room = room.or_else(|| Some(main_room(site?).into()));
        let name = names.give("rack", "dcim.rack", it.pk, &called);
        let millimetres = |field| {
            it.number(field)
                .filter(|_| it.text("outer_unit") == Some("mm"))
        };
        let fields = [
            ("room", room),
            ("label", text(it, "name")),
            (
                "units",
                it.number("u_height")
                    .map(|units| json!(units.round() as i64)),
            ),
            ("status", word(it, "status", &RACK)),
            (
                "width",
                millimetres("outer_width").map(|width| json!(width.round() as i64)),
            ),
            (
                "depth",
                millimetres("outer_depth").map(|depth| json!(depth.round() as i64)),
            ),
            ("serial", text(it, "serial")),
            ("asset", text(it, "asset_tag")),
            ("description", text(it, "description")),
        ];
        rows.push(row(dump, "dcim.rack", it, ("rack", name), fields));
    }
    rows
}

/// Locations; and for racks that are in none, one room of their site.
fn rooms(dump: &Dump, names: &mut Names) -> Vec<Row> {
    let mut rows = Vec::new();
    for it in dump.all("dcim.location") {
        let site = it
            .refer("site")
            .and_then(|site| names.of("dcim.site", site));
        let called = format!("{}.{}", site.unwrap_or_default(), slug(it));
        let name = names.give("room", "dcim.location", it.pk, &called);
        let fields = [
            ("site", names.refer(it, "site", "dcim.site")),
            ("label", text(it, "name")),
            ("status", word(it, "status", &SITE)),
            ("description", text(it, "description")),
        ];
        rows.push(row(dump, "dcim.location", it, ("room", name), fields));
    }
    let homeless = dump
        .all("dcim.rack")
        .filter(|rack| rack.value("location").is_none());
    let sites: BTreeMap<i64, &Object> = homeless
        .filter_map(|rack| Some((rack.refer("site")?, rack)))
        .collect();
    for (pk, _) in sites {
        let Some((site, it)) = names.of("dcim.site", pk).zip(dump.get("dcim.site", pk)) else {
            continue;
        };
        let fields = [("site", Some(site.into())), ("label", Some("main".into()))];
        let mut room = row(dump, "", it, ("room", main_room(site)), fields);
        room.labels.clear();
        rows.push(room);
    }
    rows
}

fn main_room(site: &str) -> String {
    format!("{site}.main")
}

/// Devices, clusters, virtual machines and their interfaces.
pub(super) fn machines(dump: &Dump, names: &mut Names) -> Vec<Row> {
    let mut rows = Vec::new();
    for it in dump.all("virtualization.cluster") {
        let name = names.give("cluster", "virtualization.cluster", it.pk, called(it));
        let site = names.refer(it, "site", "dcim.site");
        let fields = [
            (
                "site",
                site.or_else(|| names.refer(it, "_site", "dcim.site")),
            ),
            (
                "sort",
                dump.text_of(it, "type", "virtualization.clustertype", "name")
                    .map(Value::from),
            ),
            ("team", names.refer(it, "tenant", "tenancy.tenant")),
            ("description", text(it, "description")),
        ];
        rows.push(row(
            dump,
            "virtualization.cluster",
            it,
            ("cluster", name),
            fields,
        ));
    }
    for it in dump.all("dcim.device") {
        let nameless = format!("device-{}", it.pk);
        let name = names.give(
            "device",
            "dcim.device",
            it.pk,
            it.text("name").unwrap_or(&nameless),
        );
        let role = dump.text_of(it, "role", "dcim.devicerole", "name");
        let role = role.or_else(|| dump.text_of(it, "device_role", "dcim.devicerole", "name"));
        let fields = [
            ("model", names.refer(it, "device_type", "dcim.devicetype")),
            ("site", names.refer(it, "site", "dcim.site")),
            ("rack", names.refer(it, "rack", "dcim.rack")),
            ("position", number(it, "position")),
            ("face", text(it, "face")),
            ("role", role.map(Value::from)),
            ("status", word(it, "status", &DEVICE)),
            ("serial", text(it, "serial")),
            ("asset", text(it, "asset_tag")),
            ("address", primary(dump, it)),
            (
                "software",
                dump.text_of(it, "platform", "dcim.platform", "name")
                    .map(Value::from),
            ),
            ("team", names.refer(it, "tenant", "tenancy.tenant")),
            ("description", text(it, "description")),
        ];
        rows.push(row(dump, "dcim.device", it, ("device", name), fields));
    }
    // Until NetBox 4.1 disks were counted in gigabytes, since then in megabytes.
    let megabytes = dump.all("django.migrations").any(|it| {
        it.text("name")
            .is_some_and(|name| name.contains("convert_disk_size"))
    });
    for it in dump.all("virtualization.virtualmachine") {
        let name = names.give("vm", "virtualization.virtualmachine", it.pk, called(it));
        let bytes = |field, unit: &str| it.number(field).map(|size| json!(format!("{size}{unit}")));
        let fields = [
            (
                "cluster",
                names.refer(it, "cluster", "virtualization.cluster"),
            ),
            ("site", names.refer(it, "site", "dcim.site")),
            ("device", names.refer(it, "device", "dcim.device")),
            (
                "role",
                dump.text_of(it, "role", "dcim.devicerole", "name")
                    .map(Value::from),
            ),
            ("status", word(it, "status", &MACHINE)),
            ("cpus", number(it, "vcpus")),
            ("memory", bytes("memory", "MiB")),
            ("disk", bytes("disk", if megabytes { "MiB" } else { "GiB" })),
            ("address", primary(dump, it)),
            (
                "software",
                dump.text_of(it, "platform", "dcim.platform", "name")
                    .map(Value::from),
            ),
            ("team", names.refer(it, "tenant", "tenancy.tenant")),
            ("description", text(it, "description")),
        ];
        rows.push(row(
            dump,
            "virtualization.virtualmachine",
            it,
            ("vm", name),
            fields,
        ));
    }
    rows.extend(interfaces(dump, names));
    rows
}

/// The address that a machine is reached at.
fn primary(dump: &Dump, it: &Object) -> Option<Value> {
    let of = |field| dump.text_of(it, field, "ipam.ipaddress", "address");
    let address = of("primary_ip4").or_else(|| of("primary_ip6"))?;
    Some(address.split('/').next()?.into())
}

fn interfaces(dump: &Dump, names: &mut Names) -> Vec<Row> {
    let macs: HashMap<i64, &str> = dump
        .all("dcim.macaddress")
        .filter_map(|it| Some((it.pk, it.text("mac_address")?)))
        .collect();
    let mut rows = Vec::new();
    for (model, owner, of, field) in [
        ("dcim.interface", "dcim.device", "device", "device"),
        (
            "virtualization.vminterface",
            "virtualization.virtualmachine",
            "virtual_machine",
            "vm",
        ),
    ] {
        for it in dump.all(model) {
            let machine = names.refer(it, of, owner);
            let Some(machine) = machine.as_ref().and_then(Value::as_str) else {
                continue;
            };
            let name = names.give(
                "interface",
                model,
                it.pk,
                &format!("{machine}.{}", called(it)),
            );
            let mac = text(it, "mac_address");
            let mac = mac.or_else(|| Some((*macs.get(&it.refer("primary_mac_address")?)?).into()));
            let fields = [
                (field, Some(machine.into())),
                ("label", text(it, "name")),
                ("sort", text(it, "type")),
                ("mac", mac),
                ("enabled", it.truth("enabled").map(Value::from)),
                ("mtu", it.refer("mtu").map(Value::from)),
                (
                    "speed",
                    it.refer("speed").map(|kilobits| json!(kilobits / 1000)),
                ),
                ("description", text(it, "description")),
            ];
            rows.push(row(dump, model, it, ("interface", name), fields));
        }
    }
    rows
}

/// Cables; and of interfaces that one connects with each other, their peers.
pub(super) fn cables(dump: &Dump, names: &Names) -> (Vec<Row>, Vec<Row>) {
    let (mut rows, mut links) = (Vec::new(), Vec::new());
    let mut ends: HashMap<i64, [Vec<&Object>; 2]> = HashMap::new();
    for end in dump.all("dcim.cabletermination") {
        let side = usize::from(end.text("cable_end") == Some("B"));
        if let Some(cable) = end.refer("cable") {
            ends.entry(cable).or_default()[side].push(end);
        }
    }
    let interface = |end: &&Object| {
        (end.text("termination_type") == Some("dcim.interface"))
            .then(|| end.refer("termination_id"))?
    };
    for it in dump.all("dcim.cable") {
        let [a, b] = ends.remove(&it.pk).unwrap_or_default();
        let pks = |side: &[&Object]| side.iter().filter_map(interface).collect::<Vec<_>>();
        let (a_pks, b_pks) = (pks(&a), pks(&b));
        let named = |pks: &[i64]| {
            let names = pks.iter().filter_map(|pk| names.of("dcim.interface", *pk));
            let names: Vec<&str> = names.collect();
            (!names.is_empty()).then(|| json!(names))
        };
        let others = a.iter().chain(&b).filter(|end| interface(end).is_none());
        let others: Vec<String> = others.map(|end| other_end(dump, names, end)).collect();
        let fields = [
            ("a", named(&a_pks)),
            ("b", named(&b_pks)),
            ("ends", (!others.is_empty()).then(|| json!(others))),
            ("sort", text(it, "type")),
            ("status", word(it, "status", &CABLE)),
            ("label", text(it, "label")),
            ("color", text(it, "color")),
            ("length", number(it, "length")),
            ("unit", text(it, "length_unit")),
            ("team", names.refer(it, "tenant", "tenancy.tenant")),
            ("description", text(it, "description")),
        ];
        let called = format!("cable-{}", it.pk);
        rows.push(row(dump, "dcim.cable", it, ("cable", called), fields));
        if let ([one], [other], 0) = (a_pks.as_slice(), b_pks.as_slice(), others.len()) {
            links.extend(peer(dump, names, *one, *other));
            links.extend(peer(dump, names, *other, *one));
        }
    }
    (rows, links)
}

/// That an interface leads to another, said once both are there.
fn peer(dump: &Dump, names: &Names, one: i64, other: i64) -> Option<Row> {
    let it = dump.get("dcim.interface", one)?;
    let own = names.of("dcim.interface", one)?.to_owned();
    let other = names.of("dcim.interface", other)?;
    Some(row(
        dump,
        "",
        it,
        ("interface", own),
        [("peer", Some(other.into()))],
    ))
}

/// An end that is no interface, in words: `frontport 12 of dmi01-akron-pp01`.
fn other_end(dump: &Dump, names: &Names, end: &Object) -> String {
    let of = end.text("termination_type").unwrap_or_default();
    let pk = end.refer("termination_id").unwrap_or_default();
    let sort = of.rsplit('.').next().unwrap_or_default();
    let object = dump.get(of, pk);
    let name = object.and_then(|object| object.text("name"));
    let device = object.and_then(|object| names.of("dcim.device", object.refer("device")?));
    match (name, device) {
        (Some(name), Some(device)) => format!("{sort} {name} of {device}"),
        (Some(name), None) => format!("{sort} {name}"),
        _ => format!("{sort} {pk}"),
    }
}

fn slug(object: &Object) -> &str {
    object.text("slug").unwrap_or_default()
}

fn called(object: &Object) -> &str {
    object.text("name").unwrap_or_default()
}
