//! Servers, agents and etcd members killed and frozen at random moments while a site is built and
//! taken down. 15 blows; `cargo xtask soak crash` gives a thousand, by `WRIGHT_BLOWS` and `WRIGHT_SEED`.

use std::{
    thread,
    time::{Duration, Instant},
};

use rand::RngExt as _;
use wright_e2e::{Blows, from_environment};

use crate::{bed::Bed, begin, done_once};

const HOSTS: u8 = 4;
/// How long a job may take in all, however often it is disturbed.
const PATIENCE: Duration = Duration::from_secs(300);

/// One blow, and what its operator does about it. Of etcd, one member at a time.
fn strike(blows: &mut Blows, bed: &mut Bed, url: &str) {
    thread::park_timeout(Duration::from_millis(blows.random.random_range(50..800)));
    let server = blows.random.random_range(0..3);
    let host = blows.random.random_range(1..=HOSTS);
    let member = blows.random.random_range(0..3);
    // Longer than a server's lease, or not.
    let frozen = Duration::from_millis(blows.random.random_range(100..5_000));
    let what = match blows.random.random_range(0..12) {
        0..4 => {
            bed.servers[server].running = None;
            bed.start_server(server, Some(url));
            "server killed"
        }
        4..6 => {
            bed.servers[server].running().signal("STOP");
            thread::park_timeout(frozen);
            bed.servers[server].running().signal("CONT");
            "server frozen"
        }
        6..8 => {
            bed.kill_agent(host);
            "agent killed"
        }
        8..10 => {
            bed.etcd.member(member).restart().unwrap();
            "etcd member killed"
        }
        _ => {
            bed.etcd.member(member).freeze().unwrap();
            thread::park_timeout(frozen);
            bed.etcd.member(member).thaw().unwrap();
            "etcd member frozen"
        }
    };
    blows.count(what);
}
/// Strikes until the job has ended, which it must well, or there were blows enough; any server is asked.
fn struck(bed: &mut Bed, blows: &mut Blows, most: u64, job: &str, url: &str) {
    let begun = Instant::now();
    loop {
        let asked = usize::try_from(blows.given() % 3).unwrap_or_default();
        let summary = bed.json(asked, &["job", "list"])[0].clone();
        assert_eq!(summary["id"], job);
        if !summary["ended_at"].is_null() {
            assert_eq!(summary["state"], "succeeded", "{summary}");
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{summary}");
        if blows.given() < most {
            strike(blows, bed, url);
        } else {
            thread::park_timeout(Duration::from_millis(100));
        }
    }
}

#[test]
fn whoever_dies_or_freezes_every_effect_is_there_once() {
    let most = from_environment("WRIGHT_BLOWS", 15);
    let seed = from_environment("WRIGHT_SEED", 3);
    let mut bed = Bed::with_hosts(HOSTS);
    let url = bed.etcd.url();
    let mut blows = Blows::new(seed);
    while blows.given() < most {
        bed.forget_effects();
        let job = begin(&bed, 0);
        struck(&mut bed, &mut blows, most, &job, &url);
        done_once(&bed);
        let instances = bed.json(1, &["instance", "list"]);
        let serving = |instance: &&serde_json::Value| instance["record"]["traffic"] == "on";
        assert_eq!(
            instances.as_array().unwrap().iter().filter(serving).count(),
            20
        );
        bed.must(2, &["site", "down", "test", "--yes", "--detach"]);
        let job = bed.json(2, &["job", "list"])[0]["id"].clone();
        struck(&mut bed, &mut blows, most, job.as_str().unwrap(), &url);
        assert_eq!(
            bed.json(1, &["instance", "list"]).as_array().unwrap().len(),
            0
        );
        assert_eq!(bed.programs(), 0, "programs run that nobody knows");
        println!("{} of {most} blows: {blows}", blows.given());
    }
}
