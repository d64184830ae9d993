//! The output of an instance's program: rotated by size, read from its end, followed.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{InstanceDirs, LogLimits, durable, once::Output};

/// How often a followed log is looked at.
const LOOK: Duration = Duration::from_millis(250);
const CHUNK: u64 = 64 << 10;

fn rotated(log: &Path, number: u32) -> PathBuf {
    let mut name = log.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

fn open(log: &Path) -> io::Result<File> {
    // The directory is the instance's: what it places there must not lead the agent elsewhere.
    let no_follow = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(no_follow)
        .open(log)
}

/// Moves the log on if it is full: `output.log` is copied to `output.log.1`, and so on, and then
/// emptied, because the program holds it open.
pub(crate) fn rotate(dirs: &InstanceDirs, limits: LogLimits) -> io::Result<bool> {
    let log = dirs.output_log();
    match fs::symlink_metadata(&log) {
        Ok(found) if found.len() > limits.size.bytes() => {}
        Ok(_) => return Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    }
    let mut from = open(&log)?;
    if limits.keep > 0 {
        durable::remove(&rotated(&log, limits.keep))?;
        for number in (1..limits.keep).rev() {
            match fs::rename(rotated(&log, number), rotated(&log, number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        let first = rotated(&log, 1);
        durable::remove(&first)?;
        let mut to = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o640)
            .open(&first)?;
        io::copy(&mut from, &mut to)?;
    }
    from.set_len(0)?;
    Ok(true)
}

/// Removes the rotated files.
pub(crate) fn remove_rotated(dirs: &InstanceDirs) -> io::Result<()> {
    let prefix = "output.log.";
    for entry in fs::read_dir(&dirs.log)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            durable::remove(&entry.path())?;
        }
    }
    Ok(())
}

/// The last lines of the log, from rotated files too where the newest does not hold enough, and
/// the length of the newest at that time.
pub(crate) fn tail(dirs: &InstanceDirs, lines: usize) -> io::Result<(Vec<String>, u64)> {
    let log = dirs.output_log();
    let (mut found, length) = match last_lines(&log, lines) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => (Vec::new(), 0),
        other => other?,
    };
    for number in 1.. {
        if found.len() >= lines {
            break;
        }
        match last_lines(&rotated(&log, number), lines - found.len()) {
            Ok((mut older, _)) => {
                older.append(&mut found);
                found = older;
            }
            Err(_) => break,
        }
    }
    Ok((found, length))
}

/// The last lines as evidence: none where there is no log.
pub(crate) fn evidence(dirs: &InstanceDirs) -> Vec<String> {
    tail(dirs, 20).map(|(lines, _)| lines).unwrap_or_default()
}

fn last_lines(path: &Path, count: usize) -> io::Result<(Vec<String>, u64)> {
    let mut file = open(path)?;
    let length = file.metadata()?.len();
    let mut start = length;
    let mut text = Vec::new();
    while start > 0 && text.iter().filter(|byte| **byte == b'\n').count() <= count {
        let size = CHUNK.min(start);
        start -= size;
        file.seek(SeekFrom::Start(start))?;
        let mut chunk = Vec::new();
        (&mut file).take(size).read_to_end(&mut chunk)?;
        chunk.append(&mut text);
        text = chunk;
    }
    Ok((crate::command::last_lines(&text, count), length))
}

/// Sends what is appended from `offset` on until nobody listens any more.
pub(crate) async fn follow(
    dirs: &InstanceDirs,
    mut offset: u64,
    output: &Output,
) -> io::Result<()> {
    let log = dirs.output_log();
    while !output.is_closed() {
        match open(&log) {
            Ok(mut file) => {
                let length = file.metadata()?.len();
                if length < offset {
                    // Rotated: what is there now is new.
                    offset = 0;
                }
                file.seek(SeekFrom::Start(offset))?;
                let mut more = Vec::new();
                file.take(CHUNK).read_to_end(&mut more)?;
                offset += more.len() as u64;
                if !more.is_empty() {
                    output.send(more).await;
                    continue;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use wright_model::ByteSize;

    use super::*;

    fn dirs(home: &Path) -> InstanceDirs {
        let dirs = crate::Layout::new(home).instance(&"shop/catalog-1".parse().unwrap());
        fs::create_dir_all(&dirs.log).unwrap();
        dirs
    }

    #[test]
    fn a_full_log_is_rotated_and_the_oldest_dropped() {
        let home = tempfile::tempdir().unwrap();
        let dirs = dirs(home.path());
        let limits = LogLimits {
            size: ByteSize::from_bytes(4),
            keep: 2,
        };
        for text in ["one\n", "first\n", "second\n", "third\n"] {
            fs::write(dirs.output_log(), text).unwrap();
            assert_eq!(rotate(&dirs, limits).unwrap(), text.len() > 4);
        }
        let read = |number| fs::read_to_string(rotated(&dirs.output_log(), number)).unwrap();
        assert_eq!(
            (read(1).as_str(), read(2).as_str()),
            ("third\n", "second\n")
        );
        assert_eq!(fs::metadata(dirs.output_log()).unwrap().len(), 0);
        assert!(!rotated(&dirs.output_log(), 3).exists());
    }

    #[test]
    fn the_tail_goes_on_in_rotated_files() {
        let home = tempfile::tempdir().unwrap();
        let dirs = dirs(home.path());
        fs::write(rotated(&dirs.output_log(), 1), "a\nb\n").unwrap();
        fs::write(dirs.output_log(), "c\nd\n").unwrap();
        assert_eq!(
            tail(&dirs, 3).unwrap(),
            (vec!["b".to_owned(), "c".into(), "d".into()], 4)
        );
        assert_eq!(tail(&dirs, 1).unwrap().0, ["d"]);
    }

    #[test]
    fn a_long_log_is_read_from_its_end() {
        let home = tempfile::tempdir().unwrap();
        let dirs = dirs(home.path());
        let text: String = (0..100_000).map(|n| format!("{n}\n")).collect();
        fs::write(dirs.output_log(), text).unwrap();
        let (lines, _) = tail(&dirs, 20_000).unwrap();
        assert_eq!((lines.len(), lines[0].as_str()), (20_000, "80000"));
    }
}
