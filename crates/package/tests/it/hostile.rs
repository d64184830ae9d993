//! Archives that nobody honest built: nothing of them reaches the disk.

use std::{fs, io::Write as _, path::PathBuf};

use tar::{EntryType, Header};
use tempfile::TempDir;
use wright_model::Digest;
use wright_package::{Error, Fault, digest_of, inspect, unpack};

use crate::support::{MANIFEST, built, hello};

/// A tar made by hand, with the headers as they are given.
#[derive(Default)]
struct Forged(Vec<u8>);

impl Forged {
    /// Begins like an honest archive whose list goes on with `more`.
    fn listing(more: &str) -> Self {
        let manifest = format!(
            "file\t644\t{}\t{}\tpackage.toml",
            MANIFEST.len(),
            Digest::of(MANIFEST.as_bytes())
        );
        let list = format!("wright-files 1\n{manifest}\n{more}");
        Forged::default()
            .file("FILES", list.as_bytes())
            .file("package.toml", MANIFEST.as_bytes())
    }

    fn entry(
        mut self,
        sort: EntryType,
        path: &str,
        link: &str,
        mode: u32,
        content: &[u8],
        size: u64,
    ) -> Self {
        let mut header = Header::new_ustar();
        header.set_entry_type(sort);
        header.set_mode(mode);
        header.set_size(size);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        // Past the tar crate's own checks, which refuse such names.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn file(self, path: &str, content: &[u8]) -> Self {
        self.entry(
            EntryType::Regular,
            path,
            "",
            0o644,
            content,
            content.len() as u64,
        )
    }

    fn link(self, path: &str, target: &str) -> Self {
        self.entry(EntryType::Symlink, path, target, 0o777, b"", 0)
    }

    /// Tries to unpack it, checks that nothing came of it, and says what was wrong.
    fn fault(mut self) -> Fault {
        self.0.resize(self.0.len() + 1024, 0);
        fault_of(&zstd::encode_all(self.0.as_slice(), 3).unwrap())
    }
}

fn archive(bytes: &[u8]) -> (TempDir, PathBuf) {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("forged.wpk");
    fs::write(&file, bytes).unwrap();
    (scratch, file)
}

fn fault_of(bytes: &[u8]) -> Fault {
    let (scratch, file) = archive(bytes);
    let dest = scratch.path().join("deep/down/dest");
    let error = unpack(&file, &dest, &digest_of(&file).unwrap()).unwrap_err();
    let left: Vec<_> = walkdir::WalkDir::new(scratch.path())
        .into_iter()
        .map(Result::unwrap)
        .filter(|entry| !entry.file_type().is_dir())
        .map(|entry| entry.path().to_owned())
        .collect();
    assert_eq!(left, [file], "something was left behind");
    assert!(!dest.exists() && !dest.with_extension("partial").exists());
    match error {
        Error::BadArchive { fault, .. } => fault,
        other => panic!("{other}"),
    }
}

fn listed(path: &str, content: &[u8]) -> String {
    format!(
        "file\t644\t{}\t{}\t{path}\n",
        content.len(),
        Digest::of(content)
    )
}

#[test]
fn a_forged_archive_that_is_honest_is_taken() {
    let mut forged = Forged::listing(&listed("words", b"hello")).file("words", b"hello");
    forged.0.resize(forged.0.len() + 1024, 0);
    let (scratch, file) = archive(&zstd::encode_all(forged.0.as_slice(), 3).unwrap());
    unpack(
        &file,
        &scratch.path().join("dest"),
        &digest_of(&file).unwrap(),
    )
    .unwrap();
}

#[test]
fn paths_that_climb_out_are_refused() {
    for path in ["../x", "a/../../x", "/tmp/x", "..", "a//x", "./x"] {
        let fault = Forged::listing(&listed(path, b"evil"))
            .file(path, b"evil")
            .fault();
        assert!(
            matches!(fault, Fault::Listing { line: 3, .. }),
            "{path}: {fault}"
        );
    }
}

#[test]
fn a_climbing_entry_behind_an_honest_list_is_refused() {
    let fault = Forged::listing(&listed("x", b"evil"))
        .file("../x", b"evil")
        .fault();
    assert!(
        matches!(&fault, Fault::NotAsListed { path, .. } if path == "../x"),
        "{fault}"
    );
}

#[test]
fn links_that_leave_are_refused() {
    for target in ["/etc", "..", "../../x", "a/../../x"] {
        let fault = Forged::listing(&format!("link\t{target}\tl\n"))
            .link("l", target)
            .fault();
        assert!(
            matches!(fault, Fault::Listing { line: 3, .. }),
            "{target}: {fault}"
        );
    }
}

#[test]
fn a_link_with_another_target_than_listed_is_refused() {
    let fault = Forged::listing("link\tpackage.toml\tl\n")
        .link("l", "/etc")
        .fault();
    assert!(
        matches!(&fault, Fault::NotAsListed { path, .. } if path == "l"),
        "{fault}"
    );
}

#[test]
fn nothing_is_written_through_a_link() {
    let list = format!("dir\td\nlink\td\tl\n{}", listed("l/x", b"evil"));
    let fault = Forged::listing(&list)
        .entry(EntryType::Directory, "d", "", 0o755, b"", 0)
        .link("l", "d")
        .file("l/x", b"evil")
        .fault();
    assert!(matches!(fault, Fault::Listing { line: 5, .. }), "{fault}");
}

#[test]
fn other_sorts_of_entries_are_refused() {
    for sort in [
        EntryType::Link,
        EntryType::Fifo,
        EntryType::Char,
        EntryType::Block,
        EntryType::XHeader,
        EntryType::GNULongName,
    ] {
        let fault = Forged::listing(&listed("x", b""))
            .entry(sort, "x", "", 0o644, b"", 0)
            .fault();
        assert!(
            matches!(&fault, Fault::NotAsListed { .. }),
            "{sort:?}: {fault}"
        );
    }
}

#[test]
fn content_mode_and_size_must_be_as_listed() {
    let content = Forged::listing(&listed("x", b"good"))
        .file("x", b"evil")
        .fault();
    let size = Forged::listing(&listed("x", b"good"))
        .file("x", b"good and more")
        .fault();
    let mode = Forged::listing(&listed("x", b"good"))
        .entry(EntryType::Regular, "x", "", 0o4755, b"good", 4)
        .fault();
    for fault in [content, size, mode] {
        assert!(
            matches!(&fault, Fault::NotAsListed { path, .. } if path == "x"),
            "{fault}"
        );
    }
}

#[test]
fn what_is_not_listed_or_listed_twice_is_refused() {
    let unlisted = Forged::listing("").file("x", b"evil").fault();
    assert!(
        matches!(&unlisted, Fault::NotAsListed { path, .. } if path == "x"),
        "{unlisted}"
    );
    let twice = Forged::listing(&listed("x", b"a").repeat(2))
        .file("x", b"a")
        .file("x", b"a")
        .fault();
    assert!(matches!(twice, Fault::Listing { line: 4, .. }), "{twice}");
    let missing = Forged::listing(&listed("x", b"a")).fault();
    assert!(matches!(missing, Fault::Truncated), "{missing}");
}

#[test]
fn an_archive_without_list_or_manifest_is_refused() {
    let fault = Forged::default()
        .file("package.toml", MANIFEST.as_bytes())
        .fault();
    assert!(matches!(fault, Fault::Listing { line: 0, .. }), "{fault}");
    let fault = Forged::default().file("FILES", b"wright-files 1\n").fault();
    assert!(matches!(fault, Fault::Listing { line: 2, .. }), "{fault}");
    let fault = Forged::default().file("FILES", b"\xff").fault();
    assert!(matches!(fault, Fault::Listing { .. }), "{fault}");
}

#[test]
fn a_wrong_manifest_in_an_archive_is_refused_with_its_place() {
    let manifest = b"name = 1\n";
    let list = format!("wright-files 1\n{}", listed("package.toml", manifest));
    let fault = Forged::default()
        .file("FILES", list.as_bytes())
        .file("package.toml", manifest)
        .fault();
    assert!(
        matches!(&fault, Fault::Manifest(_)) && fault.to_string().contains("package.toml:1:8"),
        "{fault}"
    );
}

#[test]
fn a_bomb_is_refused_by_what_it_lists() {
    let bomb = listed("zeros", b"").replace("\t0\t", &format!("\t{}\t", 1_u64 << 30));
    let fault = Forged::listing(&bomb).fault();
    assert!(
        matches!(&fault, Fault::TooLarge(why) if why.contains("200 times")),
        "{fault}"
    );
    let huge = listed("zeros", b"").replace("\t0\t", &format!("\t{}\t", u64::MAX));
    assert!(matches!(Forged::listing(&huge).fault(), Fault::TooLarge(_)));
}

#[test]
fn a_bomb_behind_the_list_is_not_read() {
    let mut tar = Forged::listing("").0;
    tar.resize(tar.len() + (64 << 20), 0);
    let fault = fault_of(&zstd::encode_all(tar.as_slice(), 3).unwrap());
    assert!(matches!(fault, Fault::Trailing), "{fault}");
}

#[test]
fn a_list_that_claims_to_be_huge_is_not_read() {
    let fault = Forged::default()
        .entry(EntryType::Regular, "FILES", "", 0o644, b"", 1 << 33)
        .fault();
    assert!(matches!(fault, Fault::TooLarge(_)), "{fault}");
}

#[test]
fn too_many_items_are_refused() {
    let items: String = (0..50_001)
        .map(|number| format!("dir\td{number:06}\n"))
        .collect();
    assert!(matches!(
        Forged::listing(&items).fault(),
        Fault::TooLarge(_)
    ));
}

#[test]
fn a_window_larger_than_a_host_must_afford_is_refused() {
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.window_log(27).unwrap();
    // More than a block, so that the frame announces its window and not its size.
    encoder.write_all(&vec![7; 1 << 20]).unwrap();
    let fault = fault_of(&encoder.finish().unwrap());
    assert!(matches!(fault, Fault::Compression(_)), "{fault}");
}

#[test]
fn what_is_not_zstd_is_refused() {
    for bytes in [&b"PK\x03\x04 a zip, perhaps"[..], b"#!/bin/sh\n"] {
        let fault = fault_of(bytes);
        assert!(matches!(fault, Fault::Compression(_)), "{fault}");
    }
}

#[test]
fn what_is_not_tar_is_refused() {
    let fault = fault_of(&zstd::encode_all(&[b'x'; 2048][..], 3).unwrap());
    assert!(matches!(fault, Fault::Structure(_)), "{fault}");
}

#[test]
fn an_archive_cut_off_anywhere_is_refused() {
    let bytes = fs::read(built(&hello()).archive).unwrap();
    for length in 0..bytes.len() {
        let fault = fault_of(&bytes[..length]);
        assert!(
            matches!(fault, Fault::Truncated | Fault::Compression(_)),
            "{length}: {fault}"
        );
    }
}

#[test]
fn an_archive_with_any_byte_changed_is_refused() {
    let scratch = hello();
    let built = built(&scratch);
    let bytes = fs::read(&built.archive).unwrap();
    for index in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[index] ^= 0x41;
        let (scratch, file) = archive(&changed);
        let dest = scratch.path().join("dest");
        assert!(
            unpack(&file, &dest, &built.id.digest).is_err(),
            "byte {index}"
        );
        assert!(!dest.exists());
    }
}

#[test]
fn something_behind_the_end_is_refused() {
    let mut bytes = fs::read(built(&hello()).archive).unwrap();
    bytes.extend_from_slice(b"more");
    let fault = fault_of(&bytes);
    assert!(matches!(fault, Fault::Trailing), "{fault}");
}

#[test]
fn a_missing_archive_is_named() {
    let error = inspect("/nowhere/hello.wpk".as_ref()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot read /nowhere/hello.wpk: No such file or directory (os error 2)"
    );
}
