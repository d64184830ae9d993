use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use tempfile::TempDir;
use wright_package::{Built, build};

pub const MANIFEST: &str = "name = \"hello\"\nversion = \"1.0.0\"\nrun = [\"bin/hello\"]\n";

/// A directory that holds the package `hello` in `source`, with room for more beside it.
pub fn hello() -> TempDir {
    let scratch = tempfile::tempdir().unwrap();
    let source = scratch.path().join("source");
    write(&source, "package.toml", MANIFEST.as_bytes(), 0o644);
    write(
        &source,
        "bin/hello",
        b"#!/bin/sh\nexec sleep infinity\n",
        0o755,
    );
    write(&source, "share/words.txt", b"hello\nworld\n", 0o644);
    scratch
}

pub fn write(root: &Path, path: &str, content: &[u8], mode: u32) {
    let file = root.join(path);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, content).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
}

pub fn built(scratch: &TempDir) -> Built {
    build(
        &scratch.path().join("source"),
        &[],
        &scratch.path().join("out"),
    )
    .unwrap()
}

/// The error's text, with the scratch directory's name taken out.
pub fn told(error: impl std::fmt::Display, scratch: &TempDir) -> String {
    error
        .to_string()
        .replace(&scratch.path().display().to_string(), "TMP")
}
