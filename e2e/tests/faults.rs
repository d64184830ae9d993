//! What it must take: deaths of servers, agents, programs and hosts, and programs that do not work.

use std::{
    fs,
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use wright_e2e::{App, Bed, Site, signal};

fn record_line(bed: &Bed) -> String {
    format!("record {}", bed.directory.path().join("effects").display())
}

#[test]
fn a_server_killed_at_50_random_moments_doubles_nothing() {
    let mut bed = Bed::start(4);
    let line = record_line(&bed);
    let mut random = StdRng::seed_from_u64(50);
    let mut kills = 0;
    let mut undisturbed = None;
    while kills < 50 {
        let mut site = Site::layered(4, 3, &line);
        site.apps
            .iter_mut()
            .for_each(|app| app.lines.push("ready-after 150".to_owned()));
        let file = bed.write(&site);
        fs::write(bed.directory.path().join("effects"), "").unwrap();
        bed.must(&["site", "up", &file, "--yes", "--detach"]);
        let done = |bed: &Bed| bed.json(&["job", "list"])[0]["state"] != "running";
        if undisturbed.is_some() {
            while kills < 50 && !done(&bed) {
                std::thread::park_timeout(Duration::from_millis(random.random_range(1..400)));
                bed.kill_server();
                kills += 1;
                bed.start_server();
            }
        }
        bed.eventually("the job has ended", done);
        let jobs = bed.json(&["job", "list"]);
        assert_eq!(jobs[0]["state"], "succeeded", "{jobs}");
        let state = bed.final_state();
        assert_eq!(
            undisturbed.get_or_insert_with(|| state.clone()),
            &state,
            "after {kills} kills"
        );
        let mut effects: Vec<String> = bed
            .effects()
            .iter()
            .map(|effect| effect.split(' ').take(2).collect::<Vec<_>>().join(" "))
            .collect();
        effects.sort();
        let count = effects.len();
        effects.dedup();
        assert_eq!(
            (effects.len(), count),
            (48, 48),
            "an effect was done twice or not at all"
        );
        bed.must(&["site", "down", "test", "--yes"]);
        assert!(bed.programs().is_empty());
    }
    bed.finish();
}

#[test]
fn programs_survive_their_agent_and_are_adopted_again() {
    let bed = Bed::start(1);
    assert!(bed.up(&Site::new(vec![App::new("web", 8102)])).ok);
    let before = bed.programs();
    let agent = bed.agent_pid("h1");
    signal(agent, "KILL");
    bed.eventually("another agent", |bed| {
        wright_e2e::processes_of("hosts/h1")
            .iter()
            .any(|(pid, line)| line.contains(" agent ") && *pid != agent)
            && bed.json(&["host", "show", "h1"])["connected"] == true
    });
    assert_eq!(
        bed.programs(),
        before,
        "the program did not survive its agent"
    );
    bed.must(&["instance", "monitor", "web-1"]);
    bed.finish();
}

#[test]
fn a_killed_program_is_started_again_also_when_its_agent_dies_with_it() {
    let bed = Bed::start(1);
    assert!(bed.up(&Site::new(vec![App::new("web", 8102)])).ok);
    let first = bed.programs()[0].0;
    signal(first, "KILL");
    let again = |bed: &Bed, old: u32| {
        bed.programs().iter().any(|(pid, _)| *pid != old)
            && bed.instance("web-1")["status"]["phase"] == "ready"
    };
    bed.eventually("started again", |bed| again(bed, first));
    assert!(bed.instance("web-1")["status"]["restarts"].as_u64() >= Some(1));
    let second = bed.programs()[0].0;
    signal(bed.agent_pid("h1"), "STOP");
    let agent = bed.agent_pid("h1");
    signal(second, "KILL");
    signal(agent, "KILL");
    bed.eventually("started again by the new agent", |bed| again(bed, second));
    assert_eq!(bed.programs().len(), 1);
    bed.finish();
}

#[test]
fn a_host_that_dies_in_the_middle_of_a_build_is_replaced_by_another() {
    let bed = Bed::start(4);
    let mut site = Site::layered(3, 2, &record_line(&bed));
    site.apps
        .iter_mut()
        .for_each(|app| app.lines.push("ready-after 700".to_owned()));
    let file = bed.write(&site);
    bed.must(&["site", "up", &file, "--yes", "--detach"]);
    let on_second = |bed: &Bed| {
        bed.programs()
            .iter()
            .any(|(_, line)| line.contains("hosts/h2/"))
    };
    bed.eventually("something runs on h2", on_second);
    bed.must(&["host", "kill", "h2"]);
    bed.eventually("the job has ended", |bed| {
        bed.json(&["job", "list"])[0]["state"] != "running"
    });
    let jobs = bed.json(&["job", "list"]);
    assert_eq!(jobs[0]["state"], "succeeded", "{jobs}");
    let instances = bed.instances();
    assert_eq!(instances.len(), 12);
    for instance in &instances {
        assert_ne!(instance["record"]["spec"]["host"], "h2", "{instance}");
        assert_eq!(instance["record"]["traffic"], "on", "{instance}");
    }
    assert_eq!(bed.programs().len(), 12);
    bed.finish();
}

#[test]
fn a_host_that_dies_after_the_build_is_repaired_without_a_human() {
    let ready_after = Duration::from_millis(1500);
    let bed = Bed::start(3);
    let slow = format!("ready-after {}", ready_after.as_millis());
    let web = App::new("web", 8102).instances(2).line(&slow);
    assert!(bed.up(&Site::new(vec![web])).ok);
    let host = bed.instance("web-1")["record"]["spec"]["host"]
        .as_str()
        .unwrap()
        .to_owned();
    let killed = Instant::now();
    bed.must(&["host", "kill", &host]);
    bed.eventually("moved", |bed| {
        let instance = bed.instance("web-1");
        instance["record"]["spec"]["host"] != host.as_str() && instance["record"]["traffic"] == "on"
    });
    let took = killed.elapsed();
    assert!(took >= ready_after, "it had traffic before it was ready");
    assert_eq!(bed.programs().len(), 2);
    bed.finish();
}

/// A build that must fail, its cause named, and leave nothing running.
fn fails(bed: &Bed, app: App, named: &[&str]) {
    let ended = bed.up(&Site::new(vec![app]));
    assert!(!ended.ok, "it succeeded: {}", ended.out);
    for text in named {
        assert!(
            ended.err.contains(text),
            "{text:?} is not named: {}",
            ended.err
        );
    }
    bed.eventually("nothing runs", |bed| bed.programs().is_empty());
    assert!(bed.instances().is_empty(), "a record is left");
    let made = fs::read_dir(bed.data().join("hosts/h1/instances"))
        .map(|entries| entries.count())
        .unwrap_or(0);
    assert_eq!(made, 0, "an instance's directory is left");
}

#[test]
fn a_build_that_cannot_end_well_ends_with_one_named_cause() {
    let bed = Bed::start(1);
    let web = App::new("web", 8102);
    fails(
        &bed,
        web.clone().line("never-ready").within("2s"),
        &["web-1", "503", "not ready yet"],
    );
    fails(
        &bed,
        web.clone().line("exit-at-once"),
        &["web-1", "code 3", "as it was told to"],
    );
    fails(
        &bed,
        web.clone().line("ready-after 60000").within("1s"),
        &["web-1", "1.0 s after its start"],
    );

    bed.push(
        "failing",
        "1.0.0",
        "#!/bin/sh\necho 'no licence found' >&2\nexit 7\n",
    );
    let ended = {
        let file = bed.write(&Site::new(vec![web.clone()]));
        let baseline = bed.directory.path().join("site/baselines/web.yaml");
        let text = fs::read_to_string(&baseline)
            .unwrap()
            .replace("program@1", "failing@1");
        fs::write(&baseline, text).unwrap();
        bed.run(&["site", "up", &file, "--yes"])
    };
    assert!(
        !ended.ok && ended.err.contains("no licence found"),
        "{}",
        ended.err
    );
    assert!(bed.instances().is_empty());

    let missing = bed.up(&Site::new(vec![web.clone().version("9")]));
    assert!(
        !missing.ok && missing.err.contains("program@9") && missing.err.contains("web.yaml:2:"),
        "{}",
        missing.err
    );

    let (store, cache) = (
        bed.data().join("server/packages"),
        bed.data().join("hosts/h1/cache"),
    );
    let _ = fs::remove_dir_all(&cache).and_then(|()| fs::create_dir(&cache));
    for entry in fs::read_dir(&store).unwrap().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "wpk") {
            let mut bytes = fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0xff;
            fs::write(&path, bytes).unwrap();
        }
    }
    fails(&bed, web.clone(), &["program@1.0.0", "digest"]);
    for entry in fs::read_dir(&store).unwrap().flatten() {
        fs::remove_file(entry.path()).unwrap();
    }
    fails(&bed, web, &["program@1.0.0"]);
    bed.finish();
}

#[test]
fn a_full_disk_under_an_agent_is_named() {
    let bed = Bed::start(1);
    let packages = bed.data().join("hosts/h1/packages");
    fs::create_dir_all(&packages).unwrap();
    let mount = |arguments: &[&str]| {
        let status = std::process::Command::new(arguments[0])
            .args(&arguments[1..])
            .status()
            .unwrap();
        assert!(status.success(), "{arguments:?}");
    };
    let place = packages.display().to_string();
    mount(&[
        "mount",
        "-t",
        "tmpfs",
        "-o",
        "size=64k,mode=0755",
        "wright-e2e",
        &place,
    ]);
    let ended = bed.up(&Site::new(vec![App::new("web", 8102)]));
    mount(&["umount", &place]);
    assert!(!ended.ok);
    assert!(ended.err.contains("disk full"), "{}", ended.err);
    assert!(bed.instances().is_empty());
    assert!(bed.programs().is_empty());
    bed.finish();
}

/// The drift that `wright` shows: the host, the field, what was discovered.
fn drift(bed: &Bed) -> Vec<[String; 3]> {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let drift = bed.json(&["drift"]);
    let of = |one: &serde_json::Value| ["name", "field", "discovered"].map(|key| text(&one[key]));
    drift.as_array().into_iter().flatten().map(of).collect()
}

#[test]
fn after_an_old_backup_is_restored_drift_names_what_hosts_have_and_lack_and_puts_it_right() {
    let mut bed = Bed::start(2);
    let mut site = Site::new(vec![App::new("web", 8102)]);
    assert!(bed.up(&site).ok);
    bed.must(&["store", "backup", "one.db"]);
    *site.app("web") = site.app("web").clone().instances(2);
    assert!(bed.up(&site).ok);
    bed.must(&["store", "backup", "two.db"]);
    let host = bed.instance("web-2")["record"]["spec"]["host"].clone();
    let host = host.as_str().unwrap();
    let differs = |discovered: &str| {
        let field = "instances.test.web-2".to_owned();
        [[host.to_owned(), field, discovered.to_owned()]]
    };
    let revert = ["drift", "revert", "host", host, "instances.test.web-2"];
    let restore = |bed: &mut Bed, backup: &str| {
        bed.kill_server();
        bed.must(&["store", "restore", backup, "--replace"]);
        bed.start_server();
    };

    restore(&mut bed, "one.db");
    bed.eventually("an instance that nobody recorded is seen", |bed| {
        drift(bed) == differs("there")
    });
    bed.must(&revert);
    assert!(drift(&bed).is_empty(), "{:?}", drift(&bed));
    assert_eq!(bed.programs().len(), 1);

    restore(&mut bed, "two.db");
    bed.eventually("an instance that is not there is seen", |bed| {
        drift(bed) == differs("not there")
    });
    bed.must(&revert);
    bed.eventually("it serves again", |bed| {
        let web = bed.instance("web-2");
        web["status"]["phase"] == "ready" && web["record"]["traffic"] == "on"
    });
    bed.eventually("nothing differs", |bed| drift(bed).is_empty());
    assert_eq!(bed.programs().len(), 2);
    bed.must(&["site", "down", "test", "--yes"]);
    bed.finish();
}
