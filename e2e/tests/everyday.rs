//! What people do every day: build, look, change, go back, take down.

use wright_e2e::{App, Bed, Site};

fn two_layers() -> Site {
    Site::new(vec![
        App::new("db", 8101).store(),
        App::new("web", 8102).needs(&["db"]).instances(2),
    ])
}

#[test]
fn a_site_is_built_left_alone_changed_and_taken_down() {
    let bed = Bed::start(3);
    let mut site = two_layers();
    let file = bed.write(&site);
    let planned = bed.must(&["site", "plan", &file]);
    assert!(planned.contains("3 to create"), "{planned}");
    assert!(bed.instances().is_empty(), "planning changed something");

    assert!(bed.up(&site).ok);
    assert_eq!(bed.programs().len(), 3);
    let hosts: Vec<_> = ["web-1", "web-2"]
        .map(|name| bed.instance(name)["record"]["spec"]["host"].clone())
        .into();
    assert_ne!(
        hosts[0], hosts[1],
        "two instances of one app are on one host"
    );
    assert!(bed.must(&["site", "status", "test"]).contains("2/2 ready"));

    let before = bed.programs();
    let again = bed.up(&site);
    assert!(
        again.ok && again.out.contains("nothing is to be done"),
        "{again:?}"
    );
    assert_eq!(bed.programs(), before, "a second `up` did something");

    *site.app("web") = site.app("web").clone().line("say changed");
    let changed = bed.up(&site);
    assert!(changed.ok, "{changed:?}");
    let db = |programs: &[(u32, String)]| {
        programs
            .iter()
            .find(|(_, line)| line.contains("test.db-1"))
            .map(|(pid, _)| *pid)
    };
    assert_eq!(
        db(&bed.programs()),
        db(&before),
        "an app that was not changed was touched"
    );
    assert_ne!(bed.programs(), before);

    *site.app("web") = site.app("web").clone().instances(1).version("2");
    assert!(bed.up(&site).ok);
    assert_eq!(bed.programs().len(), 2);
    assert_eq!(
        bed.instance("web-1")["record"]["spec"]["package"]["version"],
        "2.0.0"
    );

    bed.must(&["site", "down", "test", "--yes"]);
    assert!(bed.programs().is_empty());
    assert!(bed.instances().is_empty());
    bed.finish();
}

#[test]
fn an_update_that_does_not_become_healthy_goes_back_and_says_why() {
    let bed = Bed::start(3);
    let mut site = two_layers();
    assert!(bed.up(&site).ok);
    let specs = |bed: &Bed| {
        ["web-1", "web-2"].map(|name| bed.instance(name)["record"]["spec_digest"].clone())
    };
    let before = specs(&bed);
    let bad = site.app("web").clone().line("never-ready").within("2s");
    *site.app("web") = bad.version("2");
    let ended = bed.up(&site);
    assert!(!ended.ok);
    assert!(
        ended.err.contains("web-1") && ended.err.contains("503"),
        "the cause is not named: {}",
        ended.err
    );
    assert_eq!(specs(&bed), before, "it did not go back");
    for name in ["web-1", "web-2"] {
        bed.eventually("back in service", |bed| {
            let instance = bed.instance(name);
            instance["status"]["phase"] == "ready" && instance["record"]["traffic"] == "on"
        });
    }
    bed.finish();
}

#[test]
fn a_changed_byte_is_found_and_named() {
    let bed = Bed::start(1);
    assert!(bed.up(&Site::new(vec![App::new("web", 8102)])).ok);
    assert!(bed.run(&["instance", "checksum", "web-1"]).ok);
    let digest = bed.instance("web-1")["record"]["spec"]["package"]["digest"]
        .as_str()
        .unwrap()
        .to_owned();
    let file = bed
        .data()
        .join("hosts/h1/packages")
        .join(digest)
        .join("hooks/install.sh");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[3] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let ended = bed.run(&["instance", "checksum", "web-1"]);
    let said = format!("{}{}", ended.out, ended.err);
    assert!(!ended.ok && said.contains("hooks/install.sh"), "{said}");
    bed.finish();
}

#[test]
fn operations_and_logs_reach_what_runs() {
    let bed = Bed::start(1);
    assert!(bed.up(&Site::new(vec![App::new("web", 8102)])).ok);
    let pid = |bed: &Bed| bed.instance("web-1")["status"]["pid"].as_u64();
    assert!(
        bed.must(&["instance", "logs", "web-1"])
            .contains("listening on")
    );
    bed.must(&["instance", "monitor", "web-1"]);
    let before = pid(&bed);
    bed.must(&["instance", "restart", "web-1"]);
    bed.eventually("another process", |bed| {
        pid(bed).is_some() && pid(bed) != before
    });
    bed.must(&["instance", "stop", "web-1"]);
    bed.eventually("no program", |bed| bed.programs().is_empty());
    let explained = bed.must(&["site", "explain", "test"]);
    assert!(
        explained.contains("web-1") && explained.contains("stop"),
        "{explained}"
    );
    bed.must(&["instance", "start", "web-1"]);
    bed.must(&["instance", "diskclear", "web-1"]);
    bed.finish();
}

#[test]
fn a_secret_is_in_its_file_and_nowhere_else() {
    let bed = Bed::start(1);
    let site = Site::new(vec![App::new("web", 8102).secret()]);
    assert!(bed.up(&site).ok);
    let home = bed.data().join("hosts/h1/instances/test.web-1");
    let config = std::fs::read_to_string(home.join("etc/program.conf")).unwrap();
    let secret = config
        .lines()
        .find_map(|line| line.strip_prefix("password "))
        .unwrap()
        .to_owned();
    assert_eq!(secret.len(), 32);
    let jobs = bed.json(&["job", "list"]);
    let job = jobs[0]["id"].as_str().unwrap();
    for command in [
        &["job", "show", job][..],
        &["site", "plan", &bed.write(&site)],
        &["site", "report", "test"],
        &["get", "instance"],
        &["get", "instance", "test.web-1"],
        &["history", "instance", "test.web-1"],
        &["events"],
    ] {
        for format in ["json", "table"] {
            assert!(
                !bed.must(&[command, &["-o", format]].concat())
                    .contains(&secret),
                "{command:?} tells the secret"
            );
        }
    }
    let mut files = vec![bed.data()];
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(
                std::fs::read_dir(&path)
                    .unwrap()
                    .flatten()
                    .map(|entry| entry.path()),
            );
        } else if path.is_file() && path != home.join("etc/program.conf") {
            let bytes = std::fs::read(&path).unwrap_or_default();
            let found = bytes
                .windows(secret.len())
                .any(|window| window == secret.as_bytes());
            assert!(!found, "{} holds the secret", path.display());
        }
    }
    let processes = wright_e2e::processes_of(&secret);
    assert!(processes.is_empty(), "{processes:?}");
    bed.finish();
}

#[test]
fn without_root_it_works_as_the_users_own_processes() {
    // As root there is a lesser user to try it as; without root, every other test does.
    let Ok(uid) =
        std::fs::metadata("/proc/self").map(|meta| std::os::unix::fs::MetadataExt::uid(&meta))
    else {
        panic!("/proc is not there")
    };
    let bed = Bed::start_as(2, (uid == 0).then_some((65_534, 65_534)));
    assert!(bed.up(&two_layers()).ok);
    assert_eq!(bed.programs().len(), 3);
    bed.must(&["site", "down", "test", "--yes"]);
    bed.finish();
}
