//! The same files give the same archive, and the archive the same files.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};

use proptest::prelude::*;
use wright_model::Digest;
use wright_package::{Error, checksum, digest_of, unpack};

use crate::support::{MANIFEST, built, hello, write};

/// Files by path: content and whether they are executable.
type Files = BTreeMap<String, (Vec<u8>, bool)>;

fn files() -> impl Strategy<Value = Files> {
    // A directory's name never equals a file's, so that any set of paths can be made.
    let path = proptest::collection::vec("d[a-c ]{1,3}", 0..4).prop_flat_map(|directories| {
        "f[a-zA-Z0-9.é-]{1,12}".prop_map(move |file| {
            directories
                .iter()
                .map(String::as_str)
                .chain([file.as_str()])
                .collect::<Vec<_>>()
                .join("/")
        })
    });
    let content = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..300),
        (any::<u8>(), 0..200_000_usize).prop_map(|(byte, count)| vec![byte; count]),
    ];
    proptest::collection::btree_map(path, (content, any::<bool>()), 0..12)
}

fn write_all<'f>(
    root: &Path,
    files: impl Iterator<Item = (&'f String, &'f (Vec<u8>, bool))>,
    spare_bits: u32,
) {
    for (path, (content, executable)) in files {
        let mode = if *executable { 0o700 } else { 0o600 };
        write(root, path, content, mode | spare_bits);
    }
}

fn read_all(root: &Path) -> Files {
    walkdir::WalkDir::new(root)
        .into_iter()
        .map(Result::unwrap)
        .filter(|entry| entry.file_type().is_file())
        .map(|entry| {
            let path = entry
                .path()
                .strip_prefix(root)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            let executable = entry.metadata().unwrap().permissions().mode() & 0o111 != 0;
            (path, (fs::read(entry.path()).unwrap(), executable))
        })
        .filter(|(path, _)| path != "FILES")
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_built_is_reproducible_and_comes_out_again(mut files in files()) {
        files.insert("package.toml".to_owned(), (MANIFEST.as_bytes().to_vec(), false));
        files.insert("bin/hello".to_owned(), (b"#!/bin/sh\n".to_vec(), true));
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write_all(&one.path().join("source"), files.iter(), 0o004);
        write_all(&two.path().join("source"), files.iter().rev(), 0o040);

        let (first, second) = (built(&one), built(&two));
        prop_assert_eq!(&first.id, &second.id);
        prop_assert_eq!(fs::read(&first.archive).unwrap(), fs::read(&second.archive).unwrap());
        prop_assert_eq!(digest_of(&first.archive).unwrap(), first.id.digest);

        let dest = one.path().join("dest");
        let contents = unpack(&first.archive, &dest, &first.id.digest).unwrap();
        prop_assert_eq!(contents.id, first.id);
        prop_assert_eq!(read_all(&dest), files);
        prop_assert_eq!(checksum(&dest).unwrap(), []);
    }
}

#[test]
fn modes_and_links_come_out_as_normalised() {
    let scratch = hello();
    let source = scratch.path().join("source");
    write(&source, "bin/setuid", b"", 0o4700);
    symlink("../share/words.txt", source.join("bin/words")).unwrap();
    fs::create_dir(source.join("empty")).unwrap();
    let built = built(&scratch);
    let dest = scratch.path().join("dest");
    unpack(&built.archive, &dest, &built.id.digest).unwrap();

    let mode = |path: &str| dest.join(path).metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!(
        [
            mode("bin/setuid"),
            mode("share/words.txt"),
            mode("empty"),
            mode("")
        ],
        [0o755, 0o644, 0o755, 0o755]
    );
    assert_eq!(
        fs::read_link(dest.join("bin/words")).unwrap(),
        Path::new("../share/words.txt")
    );
}

#[test]
fn a_changed_file_changes_the_digest() {
    let scratch = hello();
    let before = built(&scratch).id.digest;
    write(
        &scratch.path().join("source"),
        "share/words.txt",
        b"hello\nworld!\n",
        0o644,
    );
    assert_ne!(built(&scratch).id.digest, before);
}

#[test]
fn what_a_killed_attempt_left_is_in_nobodys_way() {
    let scratch = hello();
    let built = built(&scratch);
    let dest = scratch.path().join("dest");
    write(
        &scratch.path().join("dest.partial"),
        "bin/half",
        b"ha",
        0o755,
    );
    unpack(&built.archive, &dest, &built.id.digest).unwrap();
    assert_eq!(checksum(&dest).unwrap(), []);
    assert!(!scratch.path().join("dest.partial").exists());
}

#[test]
fn nothing_is_unpacked_over_something() {
    let scratch = hello();
    let built = built(&scratch);
    let dest = scratch.path().join("source");
    let error = unpack(&built.archive, &dest, &built.id.digest).unwrap_err();
    assert!(matches!(error, Error::Exists { .. }), "{error}");
}

#[test]
fn another_archive_than_the_expected_is_not_unpacked() {
    let scratch = hello();
    let built = built(&scratch);
    let dest = scratch.path().join("dest");
    let error = unpack(&built.archive, &dest, &Digest::of(b"another")).unwrap_err();
    assert!(
        matches!(&error, Error::WrongDigest { package, .. } if package == "hello@1.0.0"),
        "{error}"
    );
    assert!(!dest.exists() && !scratch.path().join("dest.partial").exists());
}
