//! Reading a site's files from a directory.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests may

use std::{fs, path::Path};

use wright_site::bundle::collect;

fn directory(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (path, bytes) in files {
        let path = directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    directory
}

fn site(directory: &Path) -> std::path::PathBuf {
    directory.join("shop/site.yaml")
}

const SITE: &[u8] = b"site: shop\nbaselines: [baselines, extra.yaml]\n";

#[test]
fn the_site_its_baselines_and_their_templates_are_read_and_nothing_else() {
    let directory = directory(&[
        ("shop/site.yaml", SITE),
        (
            "shop/baselines/web.yaml",
            b"app: web\npackage: web@1\nconfig: { file: a, template: web.j2 }\n",
        ),
        ("shop/baselines/notes.txt", b"not a baseline"),
        (
            "shop/extra.yaml",
            b"app: x\npackage: x@1\nconfig: [{ file: a, template: x.j2 }]\n",
        ),
        ("shop/templates/web.j2", b"web"),
        ("shop/templates/unused.j2", b"unused"),
        ("shop/x.j2", b"x"),
        ("secret.yaml", b"not ours"),
    ]);
    let bundle = collect(&site(directory.path())).unwrap();
    let paths: Vec<&str> = bundle.files.keys().map(String::as_str).collect();
    assert_eq!(bundle.root, "site.yaml");
    assert_eq!(
        paths,
        [
            "baselines/web.yaml",
            "extra.yaml",
            "site.yaml",
            "templates/web.j2",
            "x.j2"
        ]
    );
}

#[test]
fn a_byte_that_is_not_utf8_is_named_with_its_place() {
    let directory = directory(&[
        ("shop/site.yaml", b"site: shop\nbaselines: [web.yaml]\n"),
        ("shop/web.yaml", b"app: web\npackage: w\xc3\xa9\xffb@1\n"),
    ]);
    let found = collect(&site(directory.path())).unwrap_err();
    assert_eq!(
        found[0].to_string(),
        "web.yaml:2:12: byte 21 (0xff) is not UTF-8 [not-utf8]\n  help: save the file as UTF-8"
    );
}

#[test]
fn a_baseline_outside_of_the_directory_is_not_read() {
    for entry in ["../secret.yaml", "/etc/passwd"] {
        let text = format!("site: shop\nbaselines: [{entry}]\n");
        let directory = directory(&[("shop/site.yaml", text.as_bytes()), ("secret.yaml", b"x")]);
        let found = collect(&site(directory.path())).unwrap_err();
        assert_eq!(
            (found[0].code.as_str(), found[0].line),
            ("path", 2),
            "{entry}"
        );
    }
}

#[test]
fn a_link_out_of_the_directory_is_not_followed() {
    let directory = directory(&[
        ("shop/site.yaml", b"site: shop\nbaselines: [web.yaml]\n"),
        ("secret.yaml", b"x"),
    ]);
    std::os::unix::fs::symlink("../secret.yaml", directory.path().join("shop/web.yaml")).unwrap();
    let found = collect(&site(directory.path())).unwrap_err();
    assert!(
        found[0].message.contains("leaves the site's directory"),
        "{found:?}"
    );
}

#[test]
fn a_site_that_is_not_there_is_named() {
    let found = collect(Path::new("/no/such/site.yaml")).unwrap_err();
    assert!(found[0].message.contains("/no/such/site.yaml"));
}
