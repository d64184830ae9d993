//! Servers and agents killed and frozen at random moments while a site is built, updated and taken
//! down: what comes out is what an undisturbed run gives, and every effect was there once.
//!
//! 50 blows; `cargo xtask soak crash` gives a thousand, by `WRIGHT_BLOWS` and `WRIGHT_SEED`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{collections::BTreeMap, fs, thread, time::Duration};

use rand::RngExt as _;
use wright_e2e::{App, Bed, Blows, Site, from_environment, signal};

const HOSTS: u32 = 4;
/// Layers of the site, and apps in each; two instances of each app.
const SHAPE: (u16, u16) = (3, 2);
const INSTANCES: usize = 12;

/// One blow, and what is done about it: a killed server is started again by its operator, a
/// killed agent by its provider, and who is frozen thaws.
fn strike(blows: &mut Blows, bed: &mut Bed) {
    thread::park_timeout(Duration::from_millis(blows.random.random_range(1..400)));
    let host = format!("h{}", blows.random.random_range(1..=HOSTS));
    let frozen = Duration::from_millis(blows.random.random_range(10..1_500));
    let what = match blows.random.random_range(0..10) {
        0..4 => {
            bed.kill_server();
            bed.start_server();
            "server killed"
        }
        4..8 => {
            if let Some(agent) = bed.find_agent(&host) {
                signal(agent, "KILL");
            }
            "agent killed"
        }
        8 => {
            freeze(bed.server_pid(), frozen);
            "server frozen"
        }
        _ => {
            if let Some(agent) = bed.find_agent(&host) {
                freeze(agent, frozen);
            }
            "agent frozen"
        }
    };
    blows.count(what);
}
fn freeze(process: u32, time: Duration) {
    signal(process, "STOP");
    thread::park_timeout(time);
    signal(process, "CONT");
}

/// What a job left: the instances as they are recorded, and what was done, each effect counted.
#[derive(Debug, PartialEq)]
struct Left {
    instances: BTreeMap<String, String>,
    effects: BTreeMap<String, usize>,
    programs: usize,
}

fn left(bed: &Bed) -> Left {
    let mut effects = BTreeMap::new();
    for effect in bed.effects() {
        let words: Vec<_> = effect.split(' ').take(2).collect();
        *effects.entry(words.join(" ")).or_default() += 1;
    }
    Left {
        instances: bed.final_state(),
        effects,
        programs: bed.programs().len(),
    }
}

/// Runs a command that makes a job, with blows where there is somebody who strikes; what is left.
fn job(bed: &mut Bed, command: &[&str], blows: Option<&mut Blows>, most: u64) -> Left {
    let effects = bed.directory.path().join("effects");
    fs::write(effects, "").unwrap();
    bed.must(command);
    let ended = |bed: &Bed| bed.json(&["job", "list"])[0]["state"] != "running";
    if let Some(blows) = blows {
        while blows.given() < most && !ended(bed) {
            strike(blows, bed);
        }
    }
    bed.eventually("the job has ended", ended);
    let jobs = bed.json(&["job", "list"]);
    assert_eq!(jobs[0]["state"], "succeeded", "{}", jobs[0]);
    left(bed)
}

/// A build, an update and a retirement.
fn life(bed: &mut Bed, mut blows: Option<&mut Blows>, most: u64) -> [Left; 3] {
    let line = format!("record {}", bed.directory.path().join("effects").display());
    let mut site = Site::layered(SHAPE.0, SHAPE.1, &line);
    site.apps
        .iter_mut()
        .for_each(|app| app.lines.push("ready-after 150".to_owned()));
    let file = bed.write(&site);
    let up = ["site", "up", &file, "--yes", "--detach"];
    let built = job(bed, &up, blows.as_deref_mut(), most);
    site.apps = site
        .apps
        .into_iter()
        .map(|app| app.version("2"))
        .collect::<Vec<App>>();
    bed.write(&site);
    let updated = job(bed, &up, blows.as_deref_mut(), most);
    let down = ["site", "down", "test", "--yes", "--detach"];
    let retired = job(bed, &down, blows, most);
    [built, updated, retired]
}

#[test]
fn whoever_dies_or_freezes_a_site_lives_its_life_and_every_effect_is_there_once() {
    let most = from_environment("WRIGHT_BLOWS", 50);
    let seed = from_environment("WRIGHT_SEED", 50);
    let mut bed = Bed::start(HOSTS);
    let undisturbed = life(&mut bed, None, 0);
    assert_eq!(undisturbed[0].instances.len(), INSTANCES);
    assert_eq!(undisturbed[0].programs, INSTANCES);
    assert!(undisturbed[0].effects.values().all(|count| *count == 1));
    assert_eq!(undisturbed[2].programs, 0);
    assert!(undisturbed[2].instances.is_empty());
    let mut blows = Blows::new(seed);
    while blows.given() < most {
        let disturbed = life(&mut bed, Some(&mut blows), most);
        for (what, (with, without)) in ["build", "update", "retirement"]
            .iter()
            .zip(disturbed.iter().zip(&undisturbed))
        {
            assert_eq!(with, without, "{what} after {blows}, seed {seed}");
        }
        println!("{} of {most} blows: {blows}", blows.given());
    }
    bed.finish();
}
