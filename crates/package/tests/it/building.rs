//! What can be built, and what is refused before anything is written.

use std::{
    fs,
    os::unix::{fs::symlink, net::UnixListener},
    path::Path,
};

use wright_package::{Addition, Error, build, inspect, read_listing, read_manifest, scaffold};

use crate::support::{built, hello, told, write};

/// Builds the package after something was done to it, and shows the refusal.
fn refusal(prepare: impl FnOnce(&Path), additions: &[(&str, &str)]) -> String {
    let scratch = hello();
    prepare(&scratch.path().join("source"));
    let additions: Vec<_> = additions
        .iter()
        .map(|(at, file)| Addition::new(*at, scratch.path().join(file)))
        .collect();
    let out = scratch.path().join("out");
    let error = build(&scratch.path().join("source"), &additions, &out).unwrap_err();
    assert!(matches!(error, Error::Refused(_)), "{error:?}");
    assert!(
        !out.exists() || fs::read_dir(&out).unwrap().next().is_none(),
        "something was written"
    );
    told(error, &scratch)
}

#[test]
fn a_new_package_builds_and_says_what_it_is() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("greeter");
    scaffold(&dir, &"greeter".parse().unwrap()).unwrap();
    let built = build(&dir, &[], &scratch.path().join("out")).unwrap();
    assert_eq!(built.id.to_string(), "greeter@0.1.0");
    assert!(built.archive.ends_with("out/greeter-0.1.0.wpk"));
    assert_eq!(read_manifest(&built.archive).unwrap(), built.manifest);
    assert_eq!(read_listing(&built.archive).unwrap(), built.listing);
    assert_eq!(inspect(&built.archive).unwrap().id, built.id);
}

#[test]
fn a_new_package_is_not_written_over_another() {
    let scratch = hello();
    let error = scaffold(&scratch.path().join("source"), &"hello".parse().unwrap()).unwrap_err();
    assert!(matches!(error, Error::Exists { .. }), "{error}");
}

#[test]
fn files_and_directories_are_added_from_elsewhere() {
    let scratch = hello();
    let elsewhere = scratch.path().join("target");
    write(&elsewhere, "release/tool", b"binary", 0o700);
    write(&elsewhere, "assets/css/a.css", b"a {}", 0o600);
    let additions = [
        Addition::new("libexec/hello/tool", elsewhere.join("release/tool")),
        Addition::new("share", elsewhere.join("assets")),
    ];
    let built = build(
        &scratch.path().join("source"),
        &additions,
        &scratch.path().join("out"),
    )
    .unwrap();
    let text = built.listing.to_text();
    let items: Vec<_> = text
        .lines()
        .skip(1)
        .map(|line| {
            let fields: Vec<_> = line.split('\t').collect();
            (
                fields[0],
                if fields[0] == "file" { fields[1] } else { "" },
                *fields.last().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        items,
        [
            ("file", "644", "package.toml"),
            ("dir", "", "bin"),
            ("file", "755", "bin/hello"),
            ("dir", "", "libexec"),
            ("dir", "", "libexec/hello"),
            ("file", "755", "libexec/hello/tool"),
            ("dir", "", "share"),
            ("dir", "", "share/css"),
            ("file", "644", "share/css/a.css"),
            ("file", "644", "share/words.txt"),
        ]
    );
}

#[test]
fn a_directory_without_manifest_is_no_package() {
    insta::assert_snapshot!(refusal(
        |dir| fs::remove_file(dir.join("package.toml")).unwrap(),
        &[]
    ));
}

#[test]
fn a_manifest_that_is_not_utf8_is_refused_with_its_place() {
    let message = refusal(
        |dir| {
            write(
                dir,
                "package.toml",
                b"name = \"hello\"\nrun = \"\xff\"\n",
                0o644,
            )
        },
        &[],
    );
    insta::assert_snapshot!(message);
}

#[test]
fn a_program_that_is_not_in_the_package_is_refused() {
    insta::assert_snapshot!(refusal(
        |dir| fs::remove_file(dir.join("bin/hello")).unwrap(),
        &[]
    ));
}

#[test]
fn a_hook_that_is_not_executable_is_refused() {
    let message = refusal(
        |dir| {
            let more = "[operations.install]\ncommand = [\"{package}/hooks/install.sh\"]\n";
            write(
                dir,
                "package.toml",
                format!("{}{more}", crate::support::MANIFEST).as_bytes(),
                0o644,
            );
            write(dir, "hooks/install.sh", b"#!/bin/sh\n", 0o644);
        },
        &[],
    );
    insta::assert_snapshot!(message);
}

#[test]
fn a_program_of_the_host_need_not_be_in_the_package() {
    let scratch = hello();
    for program in ["postgres", "/usr/sbin/nginx", "{data}/made-by-install"] {
        let manifest = format!("name = \"hello\"\nversion = \"1.0.0\"\nrun = [\"{program}\"]\n");
        write(
            &scratch.path().join("source"),
            "package.toml",
            manifest.as_bytes(),
            0o644,
        );
        built(&scratch);
    }
}

#[test]
fn links_that_leave_are_refused() {
    let message = refusal(
        |dir| {
            symlink("/etc/passwd", dir.join("share/absolute")).unwrap();
            symlink("../../outside", dir.join("share/climbs")).unwrap();
        },
        &[],
    );
    insta::assert_snapshot!(message);
}

#[test]
fn special_files_are_refused() {
    let message = refusal(
        |dir| drop(UnixListener::bind(dir.join("share/socket")).unwrap()),
        &[],
    );
    insta::assert_snapshot!(message);
}

#[test]
fn names_that_are_not_utf8_are_refused() {
    use std::os::unix::ffi::OsStrExt;
    let message = refusal(
        |dir| fs::write(dir.join(std::ffi::OsStr::from_bytes(b"share/\xff")), b"").unwrap(),
        &[],
    );
    insta::assert_snapshot!(message);
}

#[test]
fn the_file_lists_own_name_is_refused() {
    insta::assert_snapshot!(refusal(|dir| write(dir, "FILES", b"", 0o644), &[]));
}

#[test]
fn additions_that_climb_clash_or_are_not_there_are_refused() {
    let message = refusal(
        |_| {},
        &[
            ("../bin/x", "source/bin/hello"),
            ("bin/hello", "source/share/words.txt"),
            ("bin/y", "nowhere"),
        ],
    );
    insta::assert_snapshot!(message);
}

#[test]
fn names_too_long_for_an_archive_are_refused() {
    let message = refusal(
        |dir| write(dir, &format!("share/{}", "x".repeat(120)), b"", 0o644),
        &[],
    );
    assert!(
        message.contains("a name has at most 100 bytes"),
        "{message}"
    );
}

#[test]
fn an_archive_does_not_go_into_its_own_package() {
    let scratch = hello();
    let source = scratch.path().join("source");
    let error = build(&source, &[], &source.join("target/out")).unwrap_err();
    insta::assert_snapshot!(told(error, &scratch));
    assert!(!source.join("target").exists());
}
