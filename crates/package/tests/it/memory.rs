//! An agent has 15 MiB for everything; unpacking must not need them.

use std::{env, fs, process::Command};

use wright_package::unpack;

use crate::support::{built, hello};

const CHILD: &str = "WRIGHT_TEST_UNPACK";

/// The most memory this process ever held, in KiB.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
}

/// Runs itself again as a process that does nothing but unpack, so that the peak is unpacking's.
#[test]
fn unpacking_takes_little_memory_whatever_the_size() {
    if let Ok(arguments) = env::var(CHILD) {
        let [archive, dest, digest] = arguments.split('|').collect::<Vec<_>>()[..] else {
            panic!("{arguments}")
        };
        let before = peak();
        unpack(archive.as_ref(), dest.as_ref(), &digest.parse().unwrap()).unwrap();
        println!("peak grew by {} KiB", peak() - before);
        return;
    }
    let scratch = hello();
    // Repeats beyond the window, so that it is neither stored as it is nor compressed to nothing.
    let mut noise = vec![0; 5 << 20];
    blake3::Hasher::new().finalize_xof().fill(&mut noise);
    fs::write(scratch.path().join("source/share/noise"), noise.repeat(6)).unwrap();
    let built = built(&scratch);
    let arguments = format!(
        "{}|{}|{}",
        built.archive.display(),
        scratch.path().join("dest").display(),
        built.id.digest
    );
    let output = Command::new(env::current_exe().unwrap())
        .args([
            "--exact",
            "memory::unpacking_takes_little_memory_whatever_the_size",
            "--nocapture",
        ])
        .env(CHILD, arguments)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    let grew = told
        .split("peak grew by ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next());
    let grew: u64 = grew.unwrap_or_else(|| panic!("{told}")).parse().unwrap();
    assert!(grew < 6 << 10, "{grew} KiB");
}
