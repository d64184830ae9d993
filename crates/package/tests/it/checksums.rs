//! What happened to an installed package is found and named.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};

use wright_model::Digest;
use wright_package::{
    Finding, FindingKind, Listing, checksum, checksum_against, read_listing, unpack,
};

use crate::support::{built, hello, write};

/// Unpacks the package, lets something happen to it, and compares it with its own list.
fn after(happen: impl FnOnce(&Path)) -> Vec<Finding> {
    installed(happen, |dest, _| checksum(dest).unwrap())
}

fn installed(
    happen: impl FnOnce(&Path),
    compare: impl FnOnce(&Path, &Listing) -> Vec<Finding>,
) -> Vec<Finding> {
    let scratch = hello();
    symlink("words.txt", scratch.path().join("source/share/link")).unwrap();
    let built = built(&scratch);
    let dest = scratch.path().join("dest");
    unpack(&built.archive, &dest, &built.id.digest).unwrap();
    happen(&dest);
    compare(&dest, &read_listing(&built.archive).unwrap())
}

fn one(path: &str, kind: FindingKind) -> Vec<Finding> {
    vec![Finding {
        path: path.to_owned(),
        kind,
    }]
}

#[test]
fn an_untouched_package_is_as_shipped() {
    assert_eq!(after(|_| {}), []);
}

#[test]
fn one_changed_byte_is_named_with_both_digests() {
    let findings = after(|dest| write(dest, "share/words.txt", b"hello\nworlD\n", 0o644));
    let (expected, actual) = (Digest::of(b"hello\nworld\n"), Digest::of(b"hello\nworlD\n"));
    assert_eq!(
        findings,
        one("share/words.txt", FindingKind::Changed { expected, actual })
    );
    let shown = findings[0].to_string();
    assert!(
        shown.starts_with("share/words.txt: changed") && shown.contains(&actual.to_string()),
        "{shown}"
    );
}

#[test]
fn a_missing_and_an_extra_file_are_named() {
    let findings =
        after(|dest| fs::rename(dest.join("bin/hello"), dest.join("bin/hullo")).unwrap());
    let named: Vec<_> = findings.iter().map(ToString::to_string).collect();
    assert_eq!(named, ["bin/hello: missing", "bin/hullo: was not shipped"]);
}

#[test]
fn a_changed_mode_is_named() {
    let findings = after(|dest| {
        fs::set_permissions(dest.join("bin/hello"), fs::Permissions::from_mode(0o4755)).unwrap();
    });
    assert_eq!(
        findings,
        one(
            "bin/hello",
            FindingKind::Mode {
                expected: 0o755,
                actual: 0o4755
            }
        )
    );
}

#[test]
fn a_file_that_became_a_link_is_named_and_not_followed() {
    let findings = after(|dest| {
        fs::rename(dest.join("bin/hello"), dest.with_file_name("moved")).unwrap();
        symlink("../../moved", dest.join("bin/hello")).unwrap();
    });
    let kind = FindingKind::Kind {
        expected: "file".to_owned(),
        actual: "link".to_owned(),
    };
    assert_eq!(findings, one("bin/hello", kind));
}

#[test]
fn a_link_that_points_elsewhere_is_named() {
    let findings = after(|dest| {
        fs::remove_file(dest.join("share/link")).unwrap();
        symlink("/etc/passwd", dest.join("share/link")).unwrap();
    });
    let kind = FindingKind::Target {
        expected: "words.txt".to_owned(),
        actual: "/etc/passwd".to_owned(),
    };
    assert_eq!(findings, one("share/link", kind));
}

#[test]
fn a_missing_list_is_a_finding() {
    assert_eq!(
        after(|dest| fs::remove_file(dest.join("FILES")).unwrap()),
        one("FILES", FindingKind::Missing)
    );
}

#[test]
fn a_list_rewritten_to_hide_a_change_is_found_by_the_archives_list() {
    let hide = |dest: &Path| {
        write(dest, "share/words.txt", b"hello\nworlD\n", 0o644);
        let list = fs::read_to_string(dest.join("FILES")).unwrap();
        let (old, new) = (Digest::of(b"hello\nworld\n"), Digest::of(b"hello\nworlD\n"));
        fs::write(
            dest.join("FILES"),
            list.replace(&old.to_string(), &new.to_string()),
        )
        .unwrap();
    };
    assert_eq!(after(hide), []);
    let findings = installed(hide, |dest, listing| {
        checksum_against(dest, listing).unwrap()
    });
    let named: Vec<_> = findings
        .iter()
        .map(|finding| finding.path.as_str())
        .collect();
    assert_eq!(named, ["FILES", "share/words.txt"]);
}
