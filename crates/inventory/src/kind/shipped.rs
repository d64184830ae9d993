use std::{collections::BTreeMap, sync::LazyLock};

use super::Definition;

macro_rules! shipped {
    ($($name:literal)*) => {
        [$(($name, include_str!(concat!("../../kinds/", $name, ".yaml")))),*]
    };
}

/// The kinds that ship with the platform.
const FILES: [(&str, &str); 28] = shipped! {
    "address" "app" "binding" "cable" "cluster" "contract" "device" "group" "host" "identity-provider"
    "instance" "interface" "kind" "model" "network" "package" "prefix" "quota" "rack" "role" "room" "service" "site"
    "supplier" "team" "user" "vm" "webhook"
};

static SHIPPED: LazyLock<BTreeMap<&str, Definition>> = LazyLock::new(|| {
    // A test reads every one; a file that cannot be read would leave its kind unknown, no more.
    let read = |(name, text)| Some((name, serde_saphyr::from_str(text).ok()?));
    FILES.into_iter().filter_map(read).collect()
});

/// What ships under a kind's name.
pub fn shipped(name: &str) -> Option<&'static Definition> {
    SHIPPED.get(name)
}

/// The names of all kinds that ship, in order.
pub fn shipped_names() -> impl Iterator<Item = &'static str> {
    SHIPPED.keys().copied()
}

/// Whether the platform itself writes resources of this kind.
pub(crate) fn is_platform(name: &str) -> bool {
    shipped(name).is_some_and(|definition| definition.platform)
}

/// Whether agents discover something about resources of this kind.
pub(crate) fn is_discovered(name: &str) -> bool {
    shipped(name).is_some_and(|definition| definition.discovered)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Kind;

    #[test]
    fn every_shipped_kind_compiles_and_leads_to_kinds_that_ship() {
        for (name, text) in FILES {
            let definition: Definition =
                serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{name}.yaml: {error}"));
            let kind = Kind::compile(name, Some(&definition), None, 0)
                .unwrap_or_else(|wrong| panic!("{name}.yaml: {wrong:#?}"));
            for relation in kind.relations() {
                assert!(shipped(relation.to).is_some(), "{name}: {relation:?}");
            }
        }
        assert_eq!(shipped_names().count(), FILES.len());
    }

    #[test]
    fn every_file_of_a_kind_ships() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/kinds");
        let files = std::fs::read_dir(directory).unwrap();
        let name =
            |path: std::path::PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut names: Vec<String> = files.map(|file| name(file.unwrap().path())).collect();
        names.sort_unstable();
        assert_eq!(names, FILES.map(|(name, _)| name));
    }

    #[test]
    fn a_relation_has_one_name_from_the_other_side() {
        let mut names = std::collections::BTreeSet::new();
        for name in shipped_names() {
            let kind = Kind::compile(name, shipped(name), None, 0).unwrap();
            for relation in kind
                .relations()
                .filter(|relation| relation.reverse.is_some())
            {
                let reverse = (relation.to.to_owned(), relation.reverse.map(str::to_owned));
                assert!(
                    names.insert(reverse.clone()),
                    "{name}.{}: {reverse:?}",
                    relation.field
                );
            }
        }
    }

    #[test]
    fn the_kind_of_kinds_takes_every_kind_that_ships() {
        let kinds = Kind::compile("kind", shipped("kind"), None, 0).unwrap();
        for (name, text) in FILES {
            let body: serde_json::Value = serde_saphyr::from_str(text).unwrap();
            kinds
                .validate(body, None)
                .unwrap_or_else(|wrong| panic!("{name}.yaml: {wrong:#?}"));
        }
    }
}
