//! A small site in the shapes of both dumps; the names are made up.

use serde_json::{Value, json};

use super::super::{Fields, Row};
use super::*;

const DJANGO: &str = r#"[
{"model":"contenttypes.contenttype","pk":7,"fields":{"app_label":"dcim","model":"interface"}},
{"model":"tenancy.tenant","pk":1,"fields":{"name":"Initech","slug":"initech","custom_field_data":{"cust_id":"INI04"}}},
{"model":"dcim.manufacturer","pk":3,"fields":{"name":"Acme","slug":"acme"}},
{"model":"dcim.devicetype","pk":6,"fields":{"manufacturer":3,"model":"R-1000","slug":"r-1000","u_height":"1.0","is_full_depth":true}},
{"model":"dcim.region","pk":4,"fields":{"name":"North","slug":"north"}},
{"model":"dcim.site","pk":2,"fields":{"name":"DM-Akron","slug":"dm-akron","status":"staging","region":4,"tenant":1,"latitude":"41.08","time_zone":null,"physical_address":""}},
{"model":"dcim.rack","pk":1,"fields":{"name":"Comms closet","site":2,"location":null,"status":"deprecated","u_height":12,"serial":"","asset_tag":null}},
{"model":"dcim.devicerole","pk":1,"fields":{"name":"Router","slug":"router"}},
{"model":"dcim.device","pk":1,"fields":{"name":"akron-rtr01","device_type":6,"role":1,"site":2,"rack":1,"position":"4.0","face":"front","status":"active","primary_ip4":1}},
{"model":"dcim.device","pk":2,"fields":{"name":null,"device_type":6,"role":1,"site":2,"rack":null,"status":"decommissioning"}},
{"model":"dcim.interface","pk":1,"fields":{"device":1,"name":"Gi0/0/0","type":"1000base-x-sfp","enabled":true,"mac_address":"00:11:22:33:44:55","speed":1000000}},
{"model":"dcim.interface","pk":2,"fields":{"device":2,"name":"Gi0/0/0","type":"1000base-x-sfp","enabled":false}},
{"model":"dcim.cable","pk":1,"fields":{"type":"smf","status":"connected","length":"3.5","length_unit":"m"}},
{"model":"dcim.cabletermination","pk":1,"fields":{"cable":1,"cable_end":"A","termination_type":["dcim","interface"],"termination_id":1}},
{"model":"dcim.cabletermination","pk":2,"fields":{"cable":1,"cable_end":"B","termination_type":7,"termination_id":2}},
{"model":"ipam.vrf","pk":1,"fields":{"name":"Alpha"}},
{"model":"ipam.vlan","pk":1,"fields":{"site":2,"vid":100,"name":"Data","status":"active"}},
{"model":"ipam.prefix","pk":1,"fields":{"prefix":"10.112.0.0/15","site":2,"vrf":null,"vlan":1,"status":"container","is_pool":false}},
{"model":"ipam.ipaddress","pk":1,"fields":{"address":"10.112.0.1/24","status":"active","assigned_object_type":["dcim","interface"],"assigned_object_id":1,"dns_name":"rtr01.example.org"}},
{"model":"ipam.ipaddress","pk":2,"fields":{"address":"10.112.0.1/24","status":"active","vrf":1,"assigned_object_type":["virtualization","vminterface"],"assigned_object_id":9}},
{"model":"virtualization.clustertype","pk":1,"fields":{"name":"KVM","slug":"kvm"}},
{"model":"virtualization.cluster","pk":1,"fields":{"name":"C1","type":1,"site":2}},
{"model":"virtualization.virtualmachine","pk":5,"fields":{"name":"vm1","cluster":1,"status":"active","vcpus":"2.00","memory":4096,"disk":20}},
{"model":"virtualization.vminterface","pk":9,"fields":{"virtual_machine":5,"name":"eth0","enabled":true}},
{"model":"dcim.frontport","pk":1,"fields":{"device":1,"name":"Port 1"}},
{"model":"extras.tag","pk":1,"fields":{"name":"Alpha","slug":"alpha"}},
{"model":"extras.taggeditem","pk":1,"fields":{"content_type":["dcim","site"],"object_id":2,"tag":1}},
{"model":"sessions.session","pk":"x","fields":{}}
]"#;

fn find<'r>(rows: &'r [Row], resource: &str) -> &'r Row {
    let found = rows
        .iter()
        .find(|row| format!("{}/{}", row.kind, row.name) == resource);
    found.unwrap_or_else(|| {
        let names: Vec<String> = rows
            .iter()
            .map(|row| format!("{}/{}", row.kind, row.name))
            .collect();
        panic!("no {resource} in {names:?}")
    })
}

fn body(rows: &[Row], resource: &str) -> Value {
    match &find(rows, resource).fields {
        Fields::Body(body) => Value::Object(body.clone()),
        Fields::Cells(_) => panic!("cells"),
    }
}

#[test]
fn objects_of_django_become_resources_that_refer_to_each_other_by_name() {
    let Converted {
        rows,
        links,
        left_out,
    } = read(DJANGO).unwrap();
    let site = find(&rows, "site/dm-akron");
    assert_eq!(site.line, 7);
    let label = |name: &str| site.labels[name].as_deref();
    assert_eq!(
        (label("region"), label("tag.alpha")),
        (Some("north"), Some("true"))
    );
    assert_eq!(
        find(&rows, "team/initech").labels["cust_id"].as_deref(),
        Some("INI04")
    );
    for (resource, expected) in [
        (
            "site/dm-akron",
            json!({ "status": "planned", "latitude": 41.08, "team": "initech", "description": "DM-Akron" }),
        ),
        (
            "room/dm-akron.main",
            json!({ "site": "dm-akron", "label": "main" }),
        ),
        (
            "rack/dm-akron.Comms-closet",
            json!({ "room": "dm-akron.main", "label": "Comms closet", "units": 12, "status": "retired" }),
        ),
        (
            "device/akron-rtr01",
            json!({ "model": "r-1000", "site": "dm-akron", "rack": "dm-akron.Comms-closet", "position": 4.0, "face": "front", "role": "Router", "status": "active", "address": "10.112.0.1" }),
        ),
        (
            "device/device-2",
            json!({ "model": "r-1000", "site": "dm-akron", "role": "Router", "status": "retired" }),
        ),
        (
            "interface/akron-rtr01.Gi0-0-0",
            json!({ "device": "akron-rtr01", "label": "Gi0/0/0", "sort": "1000base-x-sfp", "mac": "00:11:22:33:44:55", "enabled": true, "speed": 1000 }),
        ),
        (
            "interface/vm1.eth0",
            json!({ "vm": "vm1", "label": "eth0", "enabled": true }),
        ),
        (
            "network/dm-akron.100",
            json!({ "site": "dm-akron", "vlan": 100, "status": "active", "description": "Data" }),
        ),
        (
            "prefix/10.112.0.0-15",
            json!({ "prefix": "10.112.0.0/15", "space": "global", "network": "dm-akron.100", "site": "dm-akron", "status": "container", "pool": false }),
        ),
        (
            "address/Alpha.10.112.0.1",
            json!({ "address": "10.112.0.1", "space": "Alpha", "status": "active", "interface": "vm1.eth0", "vm": "vm1" }),
        ),
        (
            "cable/cable-1",
            json!({ "a": ["akron-rtr01.Gi0-0-0"], "b": ["device-2.Gi0-0-0"], "sort": "smf", "status": "active", "length": 3.5, "unit": "m" }),
        ),
        (
            "vm/vm1",
            json!({ "cluster": "C1", "status": "active", "cpus": 2.0, "memory": "4096MiB", "disk": "20GiB" }),
        ),
    ] {
        assert_eq!(body(&rows, resource), expected, "{resource}");
    }
    assert_eq!(
        body(&links, "interface/akron-rtr01.Gi0-0-0"),
        json!({ "peer": "device-2.Gi0-0-0" })
    );
    assert_eq!(
        left_out.into_iter().collect::<Vec<_>>(),
        [("dcim.frontport".to_owned(), 1)]
    );
}

#[test]
fn a_dump_of_postgresql_is_the_same_objects() {
    let text = "--\nSET x = 1;\nCOPY public.dcim_site (id, name, slug, status, region_id, description, custom_field_data) FROM stdin;\n21\tD\\tS\tds\tactive\t\\N\ttwo\\nlines\t{\"floor\": 3}\n\\.\n\nCOPY public.dcim_rack (id, name, site_id, \"position\", serial, status) FROM stdin;\n5\tR1\t21\t\\N\t007\tactive\n\\.\n";
    let types = "COPY public.django_content_type (id, app_label, model) FROM stdin;\n7\tdcim\tsite\n\\.\nCOPY public.extras_tag (id, slug) FROM stdin;\n1\talpha\n\\.\nCOPY public.extras_taggeditem (id, content_type_id, object_id, tag_id) FROM stdin;\n1\t7\t21\t1\n\\.\n";
    let Converted { rows, .. } = read(&format!("{text}{types}")).unwrap();
    assert_eq!(
        find(&rows, "site/ds").labels["tag.alpha"].as_deref(),
        Some("true")
    );
    assert_eq!(
        body(&rows, "site/ds"),
        json!({ "status": "active", "description": "two\nlines" })
    );
    assert_eq!(find(&rows, "site/ds").labels["floor"].as_deref(), Some("3"));
    assert_eq!(find(&rows, "rack/ds.R1").line, 8);
    assert_eq!(body(&rows, "rack/ds.R1")["serial"], "007");
}

#[test]
fn what_is_no_dump_is_refused_with_its_line() {
    assert_eq!(read("hello").unwrap_err().line, 1);
    let broken = read("[\n{\"model\":\"x\",\"pk\":1}\n]").unwrap_err();
    assert!(
        broken.line == 2 && broken.message.contains("fields"),
        "{broken}"
    );
    let short = read("\nCOPY public.dcim_site (id, name) FROM stdin;\n1\n\\.\n").unwrap_err();
    assert_eq!(short.line, 3);
}
