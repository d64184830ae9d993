//! Wrong files and what is said of them: every `bad/NAME.txt` is a site, the snapshot beside it is
//! the message. Write a new one with `INSTA_UPDATE=always cargo test -p wright-site --test bad`.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests may

mod common;

use std::{fs, path::Path};

use common::{bundle, offers};
use wright_model::Diagnostic;
use wright_site::{Bundle, resolve};

fn refused(bundle: &Bundle) -> Vec<Diagnostic> {
    match resolve(bundle, &offers()) {
        Ok(_) => panic!("it was taken for good"),
        Err(found) => found,
    }
}

#[test]
fn every_wrong_site_is_refused_with_place_and_help() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad");
    let files = fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut fixtures: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|e| e == "txt"))
        .collect();
    fixtures.sort();
    assert!(fixtures.len() >= 45, "{}", fixtures.len());
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(&directory);
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| {
        for path in fixtures {
            let case = path.file_stem().unwrap().to_string_lossy().into_owned();
            let found = refused(&bundle(&fs::read_to_string(&path).unwrap()));
            for finding in &found {
                let placed = !finding.file.is_empty() && finding.line > 0 && finding.column > 0;
                assert!(placed, "{case} without a place: {finding}");
                assert!(!finding.help.is_empty(), "{case} without help: {finding}");
            }
            let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
            insta::assert_snapshot!(case, lines.join("\n"));
        }
    });
}

#[test]
fn a_huge_file_is_refused_before_it_is_parsed() {
    let mut site = bundle("--- site.yaml\nsite: shop\nbaselines: [web.yaml]\n--- web.yaml\n");
    site.files
        .insert("web.yaml".to_owned(), "# ".repeat(1 << 20));
    let found = refused(&site);
    assert_eq!(
        found[0].to_string().lines().next(),
        Some("web.yaml:1:1: 2097152 bytes; a file has at most 1048576 [too-large]")
    );
}

#[test]
fn too_many_files_are_refused() {
    let mut site = bundle("--- site.yaml\nsite: shop\nbaselines: [web.yaml]\n");
    site.files
        .extend((0..2_001).map(|number| (format!("{number}.yaml"), String::new())));
    assert_eq!(refused(&site)[0].code, "too-large");
}

#[test]
fn a_bundle_with_a_path_that_climbs_out_is_refused() {
    let mut site = bundle("--- site.yaml\nsite: shop\nbaselines: [web.yaml]\n");
    site.files.insert("../web.yaml".to_owned(), String::new());
    assert_eq!(refused(&site)[0].code, "path");
}
