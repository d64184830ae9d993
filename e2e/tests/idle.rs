//! What an agent costs while nothing is to be done.

// A helper may fail a test in the same way as the test does.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    time::{Duration, Instant},
};

use procfs::process::Process;
use rand::Rng as _;
use wright_e2e::{App, Bed, Site};

/// The most that an idle agent may have in memory, shared pages of the program included.
const RESIDENT_KIB: u64 = 15 << 10;
/// The most of one core that it may use.
const CPU: f64 = 0.005;
/// So long after the build are programs taken for steady: three rounds of health checks.
const SETTLE: Duration = Duration::from_secs(17);
/// Long enough for two rounds of the checks that start processes, and four of the others.
const WINDOW: Duration = Duration::from_secs(31);
const PAYLOAD: usize = 5 << 20;

/// Used so far, with everything it has started and waited for.
fn cpu(agent: &Process) -> Duration {
    let stat = agent.stat().unwrap();
    let children = u64::try_from(stat.cutime + stat.cstime).unwrap();
    let ticks = stat.utime + stat.stime + children;
    Duration::from_millis(ticks * 1000 / procfs::ticks_per_second())
}

/// Pushes the test program with so much beside it that does not compress.
fn push_large(bed: &Bed, version: &str) {
    let share = format!("package-program-{version}/share");
    let share = bed.directory.path().join(share);
    fs::create_dir_all(&share).unwrap();
    let mut bytes = vec![0; PAYLOAD];
    rand::rng().fill_bytes(&mut bytes);
    fs::write(share.join("bytes"), bytes).unwrap();
    bed.push("program", version, "#!/bin/sh\n");
}

/// Two of the six are asked by starting processes, as PostgreSQL and Redis are: a shell, and what it
/// becomes.
fn ask_with_commands(bed: &Bed) {
    for name in ["app-1", "app-2"] {
        let path = format!("site/baselines/{name}.yaml");
        let path = bed.directory.path().join(path);
        let http = "ready: { http: { port: http, path: /healthz }";
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(http), "{text}");
        let command = "ready: { command: [sh, -c, 'test -d \"$WRIGHT_DATA\"; exec sleep 0']";
        fs::write(&path, text.replace(http, command)).unwrap();
    }
}

#[test]
fn an_agent_with_six_instances_is_small_and_quiet() {
    let bed = Bed::start(1);
    // Packages of the size of real programs, a different one for each: what a build leaves behind
    // in the agent counts.
    let apps = (1..=6u16).map(|number| {
        let version = format!("3.0.{number}");
        push_large(&bed, &version);
        let name = format!("app-{number}");
        App::new(&name, 8110 + number).version(&version)
    });
    let file = bed.write(&Site::new(apps.collect()));
    ask_with_commands(&bed);
    let ended = bed.run(&["site", "up", &file, "--yes"]);
    assert!(ended.ok, "{ended:?}");
    assert_eq!(bed.programs().len(), 6);

    let agent = Process::new(bed.agent_pid("h1").cast_signed()).unwrap();
    let wait = |until: Instant| {
        bed.eventually("the time to measure is over", |_| Instant::now() >= until);
    };
    wait(Instant::now() + SETTLE);
    let (started, before) = (Instant::now(), cpu(&agent));
    wait(started + WINDOW);
    let share = (cpu(&agent) - before).as_secs_f64() / started.elapsed().as_secs_f64();
    let status = agent.status().unwrap();
    let resident = status.vmrss.unwrap();
    println!(
        "idle agent: {resident} KiB resident, {:.2} % of a core",
        share * 100.0
    );
    assert!(
        resident <= RESIDENT_KIB,
        "{resident} KiB resident, of which {:?} KiB its own and {:?} KiB of files",
        status.rssanon,
        status.rssfile
    );
    assert!(share <= CPU, "{:.2} % of a core", share * 100.0);
    bed.finish();
}
