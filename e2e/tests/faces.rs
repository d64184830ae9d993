//! The inventory in the words of other programs, asked by those programs: Ansible and Prometheus.

// A helper may fail a test in the same way as the test does.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use wright_e2e::{App, Bed, Running, Site, built};

fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{command:?}: {}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

fn names(value: &Value) -> Vec<&str> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

/// `GET` over plain HTTP; nothing where nobody answers.
fn get(address: &str, path: &str) -> Option<Value> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    serde_json::from_str(body).ok()
}

#[test]
fn ansible_finds_hosts_by_app_and_prometheus_finds_what_serves() {
    let bed = Bed::start(2);
    let web = App::new("web", 8102).instances(2);
    assert!(bed.up(&Site::new(vec![App::new("db", 8101), web])).ok);
    ansible(&bed);
    prometheus(&bed);
    bed.finish();
}

fn ansible(bed: &Bed) {
    let script = bed.directory.path().join("wright.sh");
    let text = format!(
        "#!/bin/sh\nexport WRIGHT_DATA='{}'\nexec '{}' inventory ansible \"$@\"\n",
        bed.data().display(),
        built("wright").display()
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let command = |program: &str| {
        let mut command = Command::new(program);
        command
            .env("HOME", bed.directory.path())
            .arg("-i")
            .arg(&script);
        command
    };
    let list = run(command("ansible-inventory").arg("--list"));
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(names(&list["app_web"]["hosts"]), ["h1", "h2"]);
    assert_eq!(names(&list["app_db"]["hosts"]).len(), 1);
    assert_eq!(names(&list["site_test"]["hosts"]), ["h1", "h2"]);
    let host = &list["_meta"]["hostvars"]["h1"];
    assert_eq!(host["wright_host"]["state"], "ready");
    let one = run(command("ansible-inventory").args(["--host", "h1"]));
    let one: Value = serde_json::from_str(&one).unwrap();
    assert_eq!(one["ansible_host"], host["ansible_host"]);
    let told = run(command("ansible").args([
        "app_web",
        "-c",
        "local",
        "-m",
        "ansible.builtin.debug",
        "-a",
        "msg={{ wright_instances | map(attribute='app') | join(',') }}",
    ]));
    assert!(
        told.contains("h1 |") && told.contains("h2 |") && told.contains("web"),
        "{told}"
    );
}

fn prometheus(bed: &Bed) {
    let at = |name: &str| bed.directory.path().join(name);
    let client = fs::read_to_string(bed.data().join("client.json")).unwrap();
    let client: Value = serde_json::from_str(&client).unwrap();
    fs::write(at("ca.pem"), client["ca"].as_str().unwrap()).unwrap();
    fs::write(at("token"), client["token"].as_str().unwrap()).unwrap();
    let config = format!(
        "scrape_configs:\n- job_name: wright\n  scrape_interval: 1s\n  http_sd_configs:\n  - url: {}/api/v1/discovery/prometheus?filter=instance.spec.app%20==%20%22web%22\n    refresh_interval: 1s\n    authorization: {{ type: Bearer, credentials_file: {} }}\n    tls_config: {{ ca_file: {} }}\n  relabel_configs:\n  - {{ source_labels: [__meta_wright_app], target_label: app }}\n  - {{ source_labels: [__meta_wright_instance], target_label: instance }}\n",
        client["url"].as_str().unwrap(),
        at("token").display(),
        at("ca.pem").display(),
    );
    fs::write(at("prometheus.yml"), config).unwrap();
    // Of the addresses of this bed's first host: nobody else listens there.
    let host = bed.json(&["host", "show", "h1"]);
    let address = format!("{}:9090", host["address"].as_str().unwrap());
    let mut command = Command::new("prometheus");
    command
        .arg(format!("--config.file={}", at("prometheus.yml").display()))
        .arg(format!(
            "--storage.tsdb.path={}",
            at("prometheus").display()
        ))
        .arg(format!("--web.listen-address={address}"));
    let running = Running::start(&mut command, &at("prometheus.log"), "");
    bed.eventually("Prometheus knows both instances", |_| {
        let Some(found) = get(&address, "/api/v1/targets") else {
            return false;
        };
        let targets = found["data"]["activeTargets"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let mut known: Vec<String> = targets
            .iter()
            .map(|target| {
                format!(
                    "{}/{}",
                    target["labels"]["app"], target["labels"]["instance"]
                )
            })
            .collect();
        known.sort();
        known == [r#""web"/"web-1""#, r#""web"/"web-2""#]
    });
    running.stop();
}
