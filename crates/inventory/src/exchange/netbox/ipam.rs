//! Networks, prefixes and addresses.

use serde_json::Value;

use super::{
    super::Row,
    dump::{Dump, Object},
    names::{Names, row, text, word},
};

const VLAN: [(&str, &str); 2] = [("reserved", "planned"), ("deprecated", "retired")];

/// The space in which addresses are unique, where they are in no VRF.
const GLOBAL: &str = "global";

fn space<'d>(dump: &'d Dump, it: &Object) -> &'d str {
    dump.text_of(it, "vrf", "ipam.vrf", "name")
        .unwrap_or(GLOBAL)
}

/// What is unique in its space only is named with it.
fn in_space(space: &str, called: &str) -> String {
    let called = called.replace('/', "-");
    match space {
        GLOBAL => called,
        space => format!("{space}.{called}"),
    }
}

/// VLANs and prefixes.
pub(super) fn networks(dump: &Dump, names: &mut Names) -> Vec<Row> {
    let mut rows = Vec::new();
    for it in dump.all("ipam.vlan") {
        let site = it
            .refer("site")
            .and_then(|site| names.of("dcim.site", site));
        let of = site.or_else(|| dump.text_of(it, "group", "ipam.vlangroup", "slug"));
        let vlan = it.refer("vid").unwrap_or_default();
        let called = format!("{}.{vlan}", of.unwrap_or("vlan"));
        let name = names.give("network", "ipam.vlan", it.pk, &called);
        let fields = [
            ("site", names.refer(it, "site", "dcim.site")),
            ("vlan", Some(vlan.into())),
            ("status", word(it, "status", &VLAN)),
            ("team", names.refer(it, "tenant", "tenancy.tenant")),
            (
                "description",
                text(it, "description").or_else(|| text(it, "name")),
            ),
        ];
        rows.push(row(dump, "ipam.vlan", it, ("network", name), fields));
    }
    for it in dump.all("ipam.prefix") {
        let (space, prefix) = (space(dump, it), it.text("prefix").unwrap_or_default());
        let name = names.give("prefix", "ipam.prefix", it.pk, &in_space(space, prefix));
        let site = names.refer(it, "site", "dcim.site");
        let fields = [
            ("prefix", Some(prefix.into())),
            ("space", Some(space.into())),
            ("network", names.refer(it, "vlan", "ipam.vlan")),
            (
                "site",
                site.or_else(|| names.refer(it, "_site", "dcim.site")),
            ),
            (
                "role",
                dump.text_of(it, "role", "ipam.role", "name")
                    .map(Value::from),
            ),
            ("status", text(it, "status")),
            ("pool", it.truth("is_pool").map(Value::from)),
            ("description", text(it, "description")),
        ];
        rows.push(row(dump, "ipam.prefix", it, ("prefix", name), fields));
    }
    rows
}

/// Addresses, and the interfaces that have them.
pub(super) fn addresses(dump: &Dump, names: &mut Names) -> Vec<Row> {
    let mut rows = Vec::new();
    for it in dump.all("ipam.ipaddress") {
        let space = space(dump, it);
        let address = it.text("address").unwrap_or_default();
        let address = address.split('/').next().unwrap_or_default();
        let name = names.give(
            "address",
            "ipam.ipaddress",
            it.pk,
            &in_space(space, address),
        );
        let of = it.text("assigned_object_type");
        let pk = it.refer("assigned_object_id");
        let (interface, device, vm) = match (of, pk) {
            (Some("dcim.interface"), Some(pk)) => {
                let owner = dump.get("dcim.interface", pk);
                let device = owner.and_then(|it| names.refer(it, "device", "dcim.device"));
                (names.of("dcim.interface", pk), device, None)
            }
            (Some("virtualization.vminterface"), Some(pk)) => {
                let owner = dump.get("virtualization.vminterface", pk);
                let vm = owner.and_then(|it| {
                    names.refer(it, "virtual_machine", "virtualization.virtualmachine")
                });
                (names.of("virtualization.vminterface", pk), None, vm)
            }
            _ => (None, None, None),
        };
        let fields = [
            ("address", Some(address.into())),
            ("space", Some(space.into())),
            ("status", text(it, "status")),
            ("dns", text(it, "dns_name")),
            ("interface", interface.map(Value::from)),
            ("device", device),
            ("vm", vm),
            ("description", text(it, "description")),
        ];
        rows.push(row(dump, "ipam.ipaddress", it, ("address", name), fields));
    }
    rows
}
