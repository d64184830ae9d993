//! Three servers on three etcd members, real processes all of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bed;
mod chaos;

use std::time::{Duration, Instant};

use bed::{Bed, Server};
use wright_e2e::Site;
use wright_store::{Range, SharedStore};

/// What a job may take to go on when its server is killed: twice what is promised, for machines that
/// have other work.
const GOES_ON: Duration = Duration::from_secs(4);

/// A site whose build takes some seconds: each layer waits for the one before.
fn site(bed: &Bed) -> Site {
    let mut site = Site::layered(5, 2, "ready-after 500");
    for app in &mut site.apps {
        app.lines.push(bed.record());
    }
    site
}

/// Begins to build the site; answers with the job.
fn begin(bed: &Bed, server: usize) -> String {
    let file = bed.write(&site(bed));
    bed.must(server, &["site", "up", &file, "--yes", "--detach"]);
    bed.json(server, &["job", "list"])[0]["id"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// The server that walks a job.
fn owner(bed: &Bed, store: &SharedStore, job: &str) -> usize {
    let key = format!("job/{job}/owner");
    let entry = bed.block_on(async {
        let mut changes = store.watch(Range::key(key.clone()), 0).await;
        loop {
            if let Some(entry) = store.get(key.as_bytes()).await.unwrap() {
                return entry;
            }
            match &mut changes {
                Ok(changes) => drop(changes.next().await),
                Err(_) => tokio::task::yield_now().await,
            }
        }
    });
    let owner = String::from_utf8_lossy(&entry.value).into_owned();
    bed.servers
        .iter()
        .position(|server| owner.starts_with(&server.id()))
        .unwrap()
}

/// Waits until so many of a job's steps have been installed.
fn under_way(bed: &Bed, installs: usize) {
    bed.eventually("the build is under way", |bed| {
        let effects = bed.effects();
        effects
            .iter()
            .filter(|effect| effect.ends_with("run"))
            .count()
            >= installs
    });
}

/// How long until what becomes of a job's steps is written again, by whoever claims it next.
fn goes_on(bed: &Bed, store: &SharedStore, job: &str, since: Instant) -> Duration {
    let prefix = format!("job/{job}/");
    bed.block_on(async {
        let claimed = async {
            let revision = store.revision().await.unwrap();
            let mut changes = store
                .watch(Range::prefix(prefix.clone()), revision)
                .await
                .unwrap();
            let mut claimed = false;
            loop {
                for change in changes.next().await.unwrap().unwrap() {
                    let key = String::from_utf8_lossy(&change.key[prefix.len()..]).into_owned();
                    match key.as_str() {
                        "owner" => claimed |= change.after.is_some(),
                        "fence" | "meta" => {}
                        _ if claimed => return since.elapsed(),
                        _ => {}
                    }
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(60), claimed)
            .await
            .unwrap()
    })
}

fn wait_for_job(bed: &Bed, server: usize, job: &str) {
    bed.eventually("the job has ended", |bed| {
        let summary = &bed.json(server, &["job", "list"])[0];
        assert_eq!(summary["id"], job);
        !summary["ended_at"].is_null()
    });
    let summary = &bed.json(server, &["job", "list"])[0];
    assert_eq!(summary["state"], "succeeded", "{summary}");
}

/// Every instance of the site was installed once and started once.
fn done_once(bed: &Bed) {
    let mut wanted = Vec::new();
    for layer in 0..5 {
        for app in ['a', 'b'] {
            for number in 1..=2 {
                wanted.push(format!("l{layer}-{app}-{number} install"));
                wanted.push(format!("l{layer}-{app}-{number} run"));
            }
        }
    }
    wanted.sort();
    assert_eq!(bed.effects(), wanted);
}

#[test]
fn a_job_goes_on_at_once_when_its_server_is_killed() {
    let mut bed = Bed::with_hosts(4);
    let store = bed.store(&bed.etcd.url());
    let job = begin(&bed, 0);
    under_way(&bed, 3);
    let owner = owner(&bed, &store, &job);
    bed.servers[owner].running().signal("KILL");
    let killed = Instant::now();
    let took = goes_on(&bed, &store, &job, killed);
    println!("the job went on {took:?} after its server was killed");
    assert!(took < GOES_ON, "{took:?}");
    let other = (owner + 1) % 3;
    wait_for_job(&bed, other, &job);
    done_once(&bed);
    // Its agents were never away for long.
    let events = bed.must(other, &["events", "--lines", "1000"]);
    assert!(!events.contains("host-lost"), "{events}");
    // A client of the server that is gone goes to another.
    assert_eq!(
        bed.json(owner, &["instance", "list"])
            .as_array()
            .unwrap()
            .len(),
        20
    );
    bed.servers[owner].running = None;
}

#[test]
fn a_frozen_server_does_no_harm_when_it_goes_on() {
    let bed = Bed::with_hosts(4);
    let store = bed.store(&bed.etcd.url());
    let job = begin(&bed, 1);
    under_way(&bed, 3);
    let owner = owner(&bed, &store, &job);
    bed.servers[owner].running().signal("STOP");
    let frozen = Instant::now();
    let took = goes_on(&bed, &store, &job, frozen);
    println!("the job went on {took:?} after its server was frozen");
    while frozen.elapsed() < Duration::from_secs(6) {
        std::thread::park_timeout(Duration::from_millis(50));
    }
    bed.servers[owner].running().signal("CONT");
    wait_for_job(&bed, (owner + 1) % 3, &job);
    done_once(&bed);
    bed.eventually("it is a member again", |bed| {
        let key = format!("server/{}", bed.servers[owner].id());
        bed.block_on(store.get(key.as_bytes())).unwrap().is_some()
    });
    // Whom one asks makes no difference.
    for server in 0..3 {
        let instances = bed.json(server, &["instance", "list"]);
        let instances = instances.as_array().unwrap();
        assert!(
            instances
                .iter()
                .all(|instance| instance["status"]["phase"] == "ready")
        );
    }
}

#[test]
fn servers_are_struck_one_after_the_other_and_come_back() {
    let mut bed = Bed::with_hosts(4);
    let (store, url) = (bed.store(&bed.etcd.url()), bed.etcd.url());
    for round in 0..4 {
        bed.forget_effects();
        let client = round % 3;
        let job = begin(&bed, client);
        under_way(&bed, 2);
        let owner = owner(&bed, &store, &job);
        // Once whoever walks the job, once another.
        let struck = (owner + round / 3) % 3;
        bed.servers[struck].running = None;
        bed.start_server(struck, Some(&url));
        wait_for_job(&bed, client, &job);
        done_once(&bed);
        bed.must(struck, &["site", "down", "test", "--yes"]);
    }
}

#[test]
fn a_lost_member_of_etcd_is_not_noticed() {
    let mut bed = Bed::with_hosts(4);
    let job = begin(&bed, 2);
    under_way(&bed, 2);
    bed.etcd.member(0).kill().unwrap();
    wait_for_job(&bed, 2, &job);
    done_once(&bed);
}

#[test]
fn a_site_of_one_machine_moves_to_the_cluster_while_it_runs() {
    let mut bed = Bed::new();
    bed.add_server(0, None);
    let local = format!("file:{}", bed.servers[0].data.join("store").display());
    bed.push_program();
    // The store is the server's own: hosts are made known while it is away.
    bed.servers[0].running.take().unwrap().stop();
    let store = bed.store(&local);
    bed.make_known(&store, 4);
    drop(store);
    bed.start_server(0, None);
    bed.start_agents(4);
    // In the middle of its build.
    let job = begin(&bed, 0);
    under_way(&bed, 3);
    bed.servers[0].running.take().unwrap().stop();
    let url = bed.etcd.url();
    bed.must(0, &["store", "copy", &local, &url]);
    bed.start_server(0, Some(&url));
    bed.add_server(1, Some(&url));
    bed.add_server(2, Some(&url));
    wait_for_job(&bed, 1, &job);
    for server in 0..3 {
        bed.eventually("all instances are ready", |bed| {
            let instances = bed.json(server, &["instance", "list"]);
            let instances = instances.as_array().unwrap();
            instances.len() == 20
                && instances
                    .iter()
                    .all(|instance| instance["status"]["phase"] == "ready")
        });
    }
    bed.eventually(
        "every server has the package, and every agent knows every server",
        |bed| {
            bed.servers.iter().all(Server::has_an_archive)
                && (1..=4).all(|host| bed.knows(host) == 3)
        },
    );
    // Nothing was done twice, and a server that was not there can change the site.
    done_once(&bed);
    let file = bed.write(&site(&bed));
    let again = bed.must(2, &["site", "up", &file, "--yes"]);
    assert!(again.contains("nothing is to be done"), "{again}");
    bed.must(1, &["site", "down", "test", "--yes"]);
    assert!(
        bed.json(2, &["instance", "list"])
            .as_array()
            .unwrap()
            .is_empty()
    );
}
