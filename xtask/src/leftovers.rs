//! Looking for what a site or a development server should have taken with it.

use std::{fs, path::Path};

/// Processes (zombies excepted) whose command line or environment names the data directory, control
/// groups of ours, and files that a data directory should no longer hold.
pub fn find(data: &Path) -> Vec<String> {
    let mut found = processes(data);
    found.extend(groups(Path::new("/sys/fs/cgroup"), 0));
    let hosts = data.join("hosts");
    if let Ok(entries) = fs::read_dir(&hosts) {
        found.extend(
            entries
                .flatten()
                .map(|entry| format!("directory {}", entry.path().display())),
        );
    }
    found
}

fn processes(data: &Path) -> Vec<String> {
    let needle = data.to_string_lossy().into_owned();
    let own = std::process::id();
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| *pid != own)
        .filter_map(|pid| {
            let read = |what: &str| {
                let bytes = fs::read(format!("/proc/{pid}/{what}")).unwrap_or_default();
                String::from_utf8_lossy(&bytes).replace('\0', " ")
            };
            let line = read("cmdline");
            let ours = line.contains(&needle) || read("environ").contains(&needle);
            (ours && !line.is_empty() && !line.contains("xtask"))
                .then(|| format!("process {pid}: {}", line.trim()))
        })
        .collect()
}

/// Control groups named `wright…`.
fn groups(directory: &Path, depth: u32) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for entry in entries.flatten().filter(|entry| entry.path().is_dir()) {
        if entry.file_name().to_string_lossy().starts_with("wright") {
            let below = groups_below(&entry.path());
            if below > 0 {
                found.push(format!(
                    "control group {} with {below} below it",
                    entry.path().display()
                ));
            }
        } else if depth < 1 {
            found.extend(groups(&entry.path(), depth + 1));
        }
    }
    found
}

fn groups_below(directory: &Path) -> usize {
    let Ok(entries) = fs::read_dir(directory) else {
        return 0;
    };
    entries
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .count()
}
