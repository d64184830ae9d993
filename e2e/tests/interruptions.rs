//! What operators and machines do in between: at once, in the wrong order, in the middle.

#![allow(clippy::unwrap_used)]

use std::{fs, process::Stdio};

use wright_e2e::{App, Bed, Site, signal};

fn job(bed: &Bed) -> serde_json::Value {
    bed.json(&["job", "list"])[0].clone()
}

fn wait_for_job(bed: &Bed) -> String {
    bed.eventually("the job has ended", |bed| !job(bed)["ended_at"].is_null());
    job(bed)["state"].as_str().unwrap_or_default().to_owned()
}

fn sites(bed: &Bed) -> usize {
    bed.json(&["site", "list"]).as_array().unwrap().len()
}

/// A site whose app has a package of its own, with this install hook.
fn hooked(bed: &Bed, hook: &str) -> String {
    bed.push("hooked", "1.0.0", hook);
    let file = bed.write(&Site::new(vec![App::new("web", 8102)]));
    let baseline = bed.directory.path().join("site/baselines/web.yaml");
    let text = fs::read_to_string(&baseline).unwrap();
    fs::write(&baseline, text.replace("program@1", "hooked@1")).unwrap();
    file
}

#[test]
fn a_site_that_is_being_changed_is_changed_by_nobody_else() {
    let bed = Bed::start(2);
    let file = bed.write(&Site::new(vec![
        App::new("web", 8102).line("ready-after 1500"),
    ]));
    bed.must(&["site", "up", &file, "--yes", "--detach"]);
    let running = job(&bed)["id"].as_str().unwrap().to_owned();
    for command in [
        &["site", "up", &file, "--yes"][..],
        &["site", "down", "test", "--yes"],
    ] {
        let refused = bed.run(command);
        assert!(
            !refused.ok && refused.err.contains(&running),
            "{command:?}: {}",
            refused.err
        );
    }
    bed.must(&["job", "cancel", &running, "--reason", "on second thoughts"]);
    assert_eq!(wait_for_job(&bed), "cancelled");
    assert!(bed.programs().is_empty() && bed.instances().is_empty());
    bed.must(&["site", "up", &file, "--yes"]);
    assert_eq!(bed.programs().len(), 1);
    bed.finish();
}

#[test]
fn a_site_that_comes_back_at_once_keeps_its_secrets_and_its_record() {
    let bed = Bed::start(1);
    let site = Site::new(vec![App::new("web", 8102).secret().line("ready-after 100")]);
    assert!(bed.up(&site).ok);
    for _ in 0..5 {
        bed.must(&["site", "down", "test", "--yes"]);
        let back = bed.up(&site);
        assert!(back.ok, "{}", back.err);
        assert_eq!(sites(&bed), 1);
        let again = bed.up(&site);
        assert!(again.out.contains("nothing is to be done"), "{again:?}");
    }
    bed.finish();
}

#[test]
fn a_server_killed_right_after_a_job_began_or_ended_knows_what_follows() {
    let mut bed = Bed::start(2);
    let file = bed.write(&Site::new(vec![App::new("web", 8102)]));
    for round in 0..4 {
        let known = bed.json(&["job", "list"]).as_array().unwrap().len();
        let mut up = bed.spawn(&["site", "up", &file, "--yes", "--detach"]);
        bed.eventually("the job is known", |bed| {
            bed.json(&["job", "list"]).as_array().unwrap().len() > known
        });
        bed.kill_server();
        up.wait().unwrap();
        bed.start_server();
        assert_eq!(wait_for_job(&bed), "succeeded", "round {round}");
        bed.eventually("the site has served", |bed| {
            let sites = bed.json(&["site", "list"]);
            sites[0]["served"] == true && sites[0]["job"] == job(bed)["id"]
        });
        bed.must(&["site", "down", "test", "--yes"]);
        bed.kill_server();
        bed.start_server();
        bed.eventually("the site is forgotten", |bed| sites(bed) == 0);
        assert!(bed.programs().is_empty() && bed.instances().is_empty());
    }
    bed.finish();
}

#[test]
fn ctrl_c_leaves_the_job_alone_and_says_how_to_come_back_to_it() {
    let bed = Bed::start(1);
    let file = bed.write(&Site::new(vec![
        App::new("web", 8102).line("ready-after 3000"),
    ]));
    let mut up = bed.command();
    let up = up.args(["site", "up", &file, "--yes"]);
    let up = up.stdout(Stdio::null()).stderr(Stdio::piped());
    let up = up.spawn().unwrap();
    bed.eventually("the program starts", |bed| !bed.programs().is_empty());
    signal(up.id(), "INT");
    let left = up.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&left.stderr).into_owned();
    let id = job(&bed)["id"].as_str().unwrap().to_owned();
    assert_eq!(left.status.code(), Some(130), "{said}");
    assert!(said.contains(&format!("wright job watch {id}")), "{said}");
    let end = &id[id.len() - 8..];
    bed.must(&["job", "watch", end]);
    assert_eq!(wait_for_job(&bed), "succeeded");
    let other = bed.run(&["job", "show", "nothing"]);
    assert!(other.err.contains("there is no job nothing"), "{other:?}");
    bed.finish();
}

#[test]
fn a_failed_job_is_tried_again_once_its_cause_is_gone_and_never_after_another() {
    let bed = Bed::start(1);
    let broken = bed.directory.path().join("broken");
    fs::write(&broken, "").unwrap();
    let hook = format!(
        "#!/bin/sh\nif [ -e {} ]; then echo 'no licence' >&2; exit 7; fi\n",
        broken.display()
    );
    let file = hooked(&bed, &hook);
    assert!(!bed.run(&["site", "up", &file, "--yes"]).ok);
    let failed = job(&bed)["id"].as_str().unwrap().to_owned();
    fs::remove_file(&broken).unwrap();
    bed.must(&[
        "job",
        "retry",
        &failed,
        "--reason",
        "there is a licence now",
    ]);
    bed.must(&["job", "watch", &failed]);
    assert_eq!(bed.programs().len(), 1);
    bed.eventually("it counts as served", |bed| {
        bed.json(&["site", "list"])[0]["served"] == true
    });

    bed.must(&["site", "down", "test", "--yes"]);
    fs::write(&broken, "").unwrap();
    assert!(!bed.run(&["site", "up", &file, "--yes"]).ok);
    let failed = job(&bed)["id"].as_str().unwrap().to_owned();
    fs::remove_file(&broken).unwrap();
    bed.must(&["site", "up", &file, "--yes"]);
    let refused = bed.run(&["job", "retry", &failed, "--reason", "once more"]);
    assert!(
        !refused.ok && refused.err.contains("wright site up"),
        "{}",
        refused.err
    );
    bed.finish();
}

#[test]
fn a_host_whose_agent_stands_still_is_fenced_before_another_takes_over() {
    let bed = Bed::start(3);
    let mut site = Site::layered(2, 2, "say hello");
    site.apps
        .iter_mut()
        .for_each(|app| app.lines.push("ready-after 500".to_owned()));
    let file = bed.write(&site);
    bed.must(&["site", "up", &file, "--yes", "--detach"]);
    bed.eventually("something runs on h2", |bed| {
        bed.programs()
            .iter()
            .any(|(_, line)| line.contains("hosts/h2/"))
    });
    signal(bed.agent_pid("h2"), "STOP");
    bed.eventually("the job has ended, and nothing ran twice", |bed| {
        let programs = bed.programs();
        let mut instances: Vec<&str> = programs
            .iter()
            .filter_map(|(_, line)| line.split("instances/").nth(1)?.split('/').next())
            .collect();
        instances.sort_unstable();
        let count = instances.len();
        instances.dedup();
        assert_eq!(instances.len(), count, "{programs:?}");
        !job(bed)["ended_at"].is_null()
    });
    assert_eq!(job(&bed)["state"], "succeeded", "{}", job(&bed));
    assert_eq!(bed.programs().len(), 8);
    assert_eq!(bed.json(&["host", "show", "h2"])["state"], "dead");
    bed.finish();
}

#[test]
fn data_on_a_dead_host_is_given_up_only_by_an_operator() {
    let bed = Bed::start(3);
    let web = App::new("web", 8102).needs(&["db"]).instances(2);
    let site = Site::new(vec![App::new("db", 8101).store(), web]);
    assert!(bed.up(&site).ok);
    assert!(!bed.run(&["instance", "forget", "test/db-1", "--yes"]).ok);
    let host = bed.instance("db-1")["record"]["spec"]["host"].clone();
    let host = host.as_str().unwrap();
    bed.must(&["host", "kill", host]);
    bed.eventually("it is explained", |bed| {
        let why = bed.must(&["site", "explain", "test"]);
        why.contains("the data of db-1 was on host") && why.contains("wright instance forget")
    });
    bed.eventually("what keeps no data is set up elsewhere", |bed| {
        let webs = ["web-1", "web-2"].map(|name| bed.instance(name));
        webs.iter()
            .all(|web| web["record"]["spec"]["host"] != host && web["record"]["traffic"] == "on")
    });
    let again = bed.up(&site);
    let said = format!("{}{}", again.out, again.err);
    assert!(
        again.ok && said.contains("wright instance forget test/db-1"),
        "{said}"
    );
    bed.must(&["instance", "forget", "test/db-1", "--yes"]);
    bed.eventually("it runs on the other host", |bed| {
        bed.instances().len() == 3
            && bed
                .instances()
                .iter()
                .all(|instance| instance["record"]["traffic"] == "on")
    });
    assert_ne!(bed.instance("db-1")["record"]["spec"]["host"], host);
    bed.finish();
}

#[test]
fn a_repair_goes_by_what_stood_last_and_not_by_a_wish_that_failed() {
    let bed = Bed::start(3);
    let web = App::new("web", 8102).instances(2);
    assert!(bed.up(&Site::new(vec![web.clone()])).ok);
    let broken = web.line("never-ready").within("1s");
    assert!(!bed.up(&Site::new(vec![broken])).ok);
    let host = bed.instance("web-1")["record"]["spec"]["host"].clone();
    bed.must(&["host", "kill", host.as_str().unwrap()]);
    bed.eventually("repaired", |bed| {
        let web = bed.instance("web-1");
        web["record"]["spec"]["host"] != host && web["status"]["phase"] == "ready"
    });
    bed.finish();
}

#[test]
fn a_site_whose_hosts_are_all_dead_can_be_taken_down() {
    let bed = Bed::start(2);
    let site = Site::new(vec![App::new("web", 8102).instances(2)]);
    assert!(bed.up(&site).ok);
    for host in ["h1", "h2"] {
        bed.must(&["host", "kill", host]);
    }
    bed.eventually("both are dead", |bed| {
        let hosts = bed.json(&["host", "list"]);
        hosts
            .as_array()
            .unwrap()
            .iter()
            .all(|host| host["state"] == "dead")
    });
    let refused = bed.up(&site);
    assert!(
        !refused.ok && refused.err.contains("web-1"),
        "{}",
        refused.err
    );
    bed.must(&["site", "down", "test", "--yes"]);
    assert!(bed.instances().is_empty(), "records are left");
    assert_eq!(sites(&bed), 0);
    bed.finish();
}

#[test]
fn the_end_of_the_terminal_takes_everything_down() {
    let mut bed = Bed::start(2);
    let file = bed.write(&Site::layered(2, 1, "ready-after 500"));
    bed.must(&["site", "up", &file, "--yes", "--detach"]);
    bed.eventually("something runs", |bed| !bed.programs().is_empty());
    bed.hang_up();
    bed.finish();
}

/// Runs a program that must succeed.
fn must(words: &[&str]) {
    let status = std::process::Command::new(words[0])
        .args(&words[1..])
        .status()
        .unwrap();
    assert!(status.success(), "{words:?}");
}

/// A mounted directory, until it is dropped.
struct Mount(String);

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount")
            .args(["-l", &self.0])
            .status();
    }
}

#[test]
fn a_server_whose_disk_was_full_goes_on_when_there_is_room() {
    let mut bed = Bed::start(1);
    bed.kill_server();
    let store = bed.data().join("store").display().to_string();
    let aside = bed.directory.path().join("aside").display().to_string();
    must(&["mv", &store, &aside]);
    must(&["mkdir", &store]);
    let options = "size=16m,mode=0755";
    must(&["mount", "-t", "tmpfs", "-o", options, "wright-e2e", &store]);
    let mount = Mount(store.clone());
    must(&["sh", "-c", &format!("cp -p {aside}/* {store}")]);
    bed.start_server();

    let file = bed.write(&Site::new(vec![
        App::new("web", 8102).line("ready-after 1000"),
    ]));
    bed.must(&["site", "up", &file, "--yes", "--detach"]);
    let ballast = format!("{store}/ballast");
    let _ = std::process::Command::new("dd")
        .args(["if=/dev/zero", &format!("of={ballast}"), "bs=4k"])
        .stderr(std::process::Stdio::null())
        .status();
    bed.eventually("it says so", |bed| bed.log().contains("disk is full"));
    let refused = bed.run(&["package", "push", "dist/program-1.0.0.wpk"]);
    assert!(refused.ok, "{}", refused.err);
    let refused = bed.run(&["site", "down", "test", "--yes"]);
    assert!(!refused.ok, "{}", refused.out);
    // Also one that begins while it is full goes on.
    bed.kill_server();
    bed.start_server();
    fs::remove_file(&ballast).unwrap();
    assert_eq!(wait_for_job(&bed), "succeeded");
    assert_eq!(bed.programs().len(), 1);
    bed.must(&["site", "down", "test", "--yes"]);
    bed.stop_server();
    drop(mount);
    bed.finish();
}
