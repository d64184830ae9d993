//! Builds our programs, and the packages of the example site from them and from Debian's files.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{Result, debian, run};

/// The apps of the example site.
const APPS: [&str; 12] = [
    "storefront",
    "catalog",
    "search",
    "pricing",
    "stock",
    "cart",
    "user",
    "order",
    "payment",
    "shipping",
    "recommendation",
    "notification",
];
/// The programs of PostgreSQL that the hooks call.
const POSTGRES_PROGRAMS: [&str; 6] = [
    "initdb",
    "pg_basebackup",
    "pg_controldata",
    "pg_isready",
    "postgres",
    "psql",
];
/// What the server itself loads, and extensions that sites ask for. Conversions between encodings
/// come with them.
const POSTGRES_LIBRARIES: [&str; 8] = [
    "citext",
    "dict_snowball",
    "libpqwalreceiver",
    "pg_stat_statements",
    "pg_trgm",
    "pgcrypto",
    "pgoutput",
    "plpgsql",
];
/// What PostgreSQL's shared files are taken for: the first catalog, samples, time zones, search.
const POSTGRES_SHARED: [&str; 12] = [
    "errcodes.txt",
    "information_schema.sql",
    "pg_hba.conf.sample",
    "pg_ident.conf.sample",
    "postgres.bki",
    "postgresql.conf.sample",
    "snowball_create.sql",
    "sql_features.txt",
    "system_constraints.sql",
    "system_functions.sql",
    "system_views.sql",
    "timezonesets",
];

/// A package: its directory, and what goes into it from elsewhere.
struct Recipe {
    directory: PathBuf,
    additions: Vec<(String, PathBuf)>,
}

/// Builds our programs, all in one go: what some have in common is built once.
///
/// # Errors
/// When one cannot be built.
pub async fn programs() -> Result {
    let programs = [
        "--package",
        "wright-cli",
        "--package",
        "shop",
        "--package",
        "wright-e2e",
        "--bins",
    ];
    run::cargo(&[&["build", "--release"][..], &programs].concat()).await
}

/// Builds everything that the example site needs and gives the archives in `target/packages`.
///
/// # Errors
/// When something cannot be built or installed.
pub async fn prepare() -> Result<Vec<PathBuf>> {
    programs().await?;
    debian::ensure().await?;
    let out = run::target().join("packages");
    // A package that is no longer built must not be taken for one that is.
    match fs::remove_dir_all(&out) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(format!("{}: {error}", out.display()).into());
        }
        _ => fs::create_dir_all(&out)?,
    }
    let mut archives = Vec::new();
    for recipe in recipes(Path::new("/"))? {
        archives.push(build(&recipe, &out).await?);
    }
    Ok(archives)
}

async fn build(recipe: &Recipe, out: &Path) -> Result<PathBuf> {
    let mut command = run::command(run::program("wright"), ["package", "build", "-o", "json"]);
    command
        .env("WRIGHT_DATA", run::data())
        .arg(&recipe.directory)
        .arg("--out")
        .arg(out);
    for (path, source) in &recipe.additions {
        command
            .arg("--add")
            .arg(format!("{path}={}", source.display()));
    }
    let id: serde_json::Value = serde_json::from_str(&run::output(command).await?)?;
    let (Some(name), Some(version)) = (id["name"].as_str(), id["version"].as_str()) else {
        return Err(format!("`wright package build` says neither name nor version: {id}").into());
    };
    println!("packed {name}@{version}");
    Ok(out.join(format!("{name}-{version}.wpk")))
}

/// What there is to build, with the middleware's files taken from an installed Debian.
fn recipes(debian: &Path) -> Result<Vec<Recipe>> {
    let middleware = |name: &str, additions| Recipe {
        directory: run::root().join("packages").join(name),
        additions,
    };
    let from = |path: &str| (path.to_owned(), debian.join(path));
    let mut recipes = vec![
        middleware("postgres", postgres(debian)?),
        middleware(
            "redis",
            vec![from("usr/bin/redis-server"), from("usr/bin/redis-cli")],
        ),
        middleware("nats", vec![from("usr/sbin/nats-server")]),
        middleware("nginx", vec![from("usr/sbin/nginx")]),
    ];
    recipes.extend(APPS.map(|app| Recipe {
        directory: run::root().join("examples/shop/packages").join(app),
        additions: vec![(format!("bin/{app}"), run::program(app))],
    }));
    Ok(recipes)
}

/// PostgreSQL looks for its files relative to its program, so the package keeps Debian's layout.
fn postgres(debian: &Path) -> Result<Vec<(String, PathBuf)>> {
    let keep = |path: String| {
        let source = debian.join(&path);
        (path, source)
    };
    let mut additions: Vec<_> = POSTGRES_PROGRAMS
        .map(|name| keep(format!("usr/lib/postgresql/15/bin/{name}")))
        .into();
    let wanted = |name: &str| {
        name.strip_suffix(".so")
            .is_some_and(|stem| POSTGRES_LIBRARIES.contains(&stem) || stem.contains("_and_"))
    };
    let libraries = names(&debian.join("usr/lib/postgresql/15/lib"))?;
    additions.extend(
        libraries
            .iter()
            .filter(|name| wanted(name))
            .map(|name| keep(format!("usr/lib/postgresql/15/lib/{name}"))),
    );
    additions.extend(POSTGRES_SHARED.map(|name| keep(format!("usr/share/postgresql/15/{name}"))));
    let ours = |name: &str| {
        POSTGRES_LIBRARIES
            .iter()
            .any(|extension| belongs(name, extension))
    };
    let extensions = names(&debian.join("usr/share/postgresql/15/extension"))?;
    additions.extend(
        extensions
            .iter()
            .filter(|name| ours(name))
            .map(|name| keep(format!("usr/share/postgresql/15/extension/{name}"))),
    );
    let search = names(&debian.join("usr/share/postgresql/15/tsearch_data"))?;
    let stop_words = search.iter().filter(|name| name.ends_with(".stop"));
    additions.extend(
        stop_words.map(|name| keep(format!("usr/share/postgresql/15/tsearch_data/{name}"))),
    );
    additions.push((
        "lib/libnss_wrapper.so".to_owned(),
        library(debian, "libnss_wrapper.so")?,
    ));
    Ok(additions)
}

/// Whether a file is part of an extension: `plpgsql.control`, `plpgsql--1.0.sql`.
fn belongs(file: &str, extension: &str) -> bool {
    file.strip_prefix(extension)
        .is_some_and(|rest| rest == ".control" || rest.starts_with("--"))
}

/// A library, wherever this architecture keeps its own.
fn library(debian: &Path, name: &str) -> Result<PathBuf> {
    let lib = debian.join("usr/lib");
    let places = names(&lib)?
        .into_iter()
        .map(|directory| lib.join(directory).join(name));
    let found = places.chain([lib.join(name)]).find(|path| path.is_file());
    found.ok_or_else(|| format!("{name} is not below {}", lib.display()).into())
}

/// What is in a directory, in the order of names.
fn names(directory: &Path) -> Result<Vec<String>> {
    let wrong = |error: std::io::Error| format!("{}: {error}", directory.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(wrong)? {
        names.push(
            entry
                .map_err(wrong)?
                .file_name()
                .to_string_lossy()
                .into_owned(),
        );
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use wright_model::{Digest, PackageId};
    use wright_package::Manifest;
    use wright_site::{Desired, Offer, bundle, resolve};

    use super::*;

    /// The manifest of a package directory as something a site may use.
    fn offer(directory: &Path) -> Offer {
        let manifest = Manifest::of_dir(directory).unwrap();
        let digest = Digest::of(manifest.name.as_str().as_bytes());
        Offer {
            id: PackageId {
                name: manifest.name,
                version: manifest.version,
                digest,
            },
            platform: "any".to_owned(),
        }
    }

    fn offers() -> Vec<Offer> {
        let all = ["packages", "examples/shop/packages"].map(|place| run::root().join(place));
        let directories = all.iter().flat_map(|place| {
            names(place)
                .unwrap()
                .into_iter()
                .map(|name| place.join(name))
        });
        directories
            .filter(|directory| directory.is_dir())
            .map(|directory| offer(&directory))
            .collect()
    }

    fn shop() -> Desired {
        let bundle = bundle::collect(&run::root().join("examples/shop/site.yaml")).unwrap();
        resolve(&bundle, &offers()).unwrap_or_else(|found| {
            panic!(
                "{}",
                found
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join("\n")
            )
        })
    }

    #[test]
    fn the_example_site_resolves_against_the_packages_beside_it() {
        let shop = shop();
        assert_eq!(shop.apps.len(), APPS.len() + 5);
        for app in APPS {
            assert_eq!(shop.apps[app].instances, 2, "{app}");
        }
    }

    #[test]
    fn every_package_directory_is_built() {
        let built: BTreeSet<_> = APPS
            .into_iter()
            .chain(["postgres", "redis", "nats", "nginx"])
            .map(str::to_owned)
            .collect();
        let there: BTreeSet<_> = offers()
            .into_iter()
            .map(|offer| offer.id.name.to_string())
            .collect();
        assert_eq!(built, there);
    }

    #[test]
    fn an_extension_is_its_control_file_and_its_scripts() {
        assert!(belongs("plpgsql.control", "plpgsql") && belongs("plpgsql--1.0.sql", "plpgsql"));
        assert!(
            !belongs("plpgsql_check.control", "plpgsql")
                && !belongs("hstore_plpgsql--1.0.sql", "plpgsql")
        );
    }
}
