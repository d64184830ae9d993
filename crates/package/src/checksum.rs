//! Whether what is installed is what was shipped.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs, io,
    os::unix::fs::PermissionsExt,
    path::Path,
};

use serde::{Deserialize, Serialize};
use walkdir::WalkDir;
use wright_model::Digest;

use crate::{Error, Item, ItemKind, LISTING_FILE, Listing, archive::bad, listing, tree};

/// One difference between a package as shipped and as it is on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The path in the package.
    pub path: String,
    /// What is different.
    #[serde(flatten)]
    pub kind: FindingKind,
}

/// What is different about one path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "finding", rename_all = "lowercase")]
pub enum FindingKind {
    /// The file's bytes.
    Changed {
        /// The digest as shipped.
        expected: Digest,
        /// The digest on disk.
        actual: Digest,
    },
    /// It was shipped and is not there.
    Missing,
    /// It is there and was not shipped.
    Extra,
    /// The permission bits.
    Mode {
        /// As shipped.
        expected: u32,
        /// On disk.
        actual: u32,
    },
    /// A file became a directory, or the like.
    Kind {
        /// As shipped: `file`, `directory` or `link`.
        expected: String,
        /// On disk; also `special`.
        actual: String,
    },
    /// Where a symbolic link points.
    Target {
        /// As shipped.
        expected: String,
        /// On disk.
        actual: String,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.path)?;
        match &self.kind {
            FindingKind::Changed { expected, actual } => {
                write!(f, "changed: BLAKE3 {expected} was shipped, it is {actual}")
            }
            FindingKind::Missing => f.write_str("missing"),
            FindingKind::Extra => f.write_str("was not shipped"),
            FindingKind::Mode { expected, actual } => {
                write!(
                    f,
                    "mode changed: {expected:o} was shipped, it is {actual:o}"
                )
            }
            FindingKind::Kind { expected, actual } => {
                write!(f, "a {expected} was shipped, it is a {actual}")
            }
            FindingKind::Target { expected, actual } => {
                write!(
                    f,
                    "a link to {expected:?} was shipped, it is one to {actual:?}"
                )
            }
        }
    }
}

/// Compares an unpacked package with the list that was unpacked with it, in the order of paths.
/// Whoever may rewrite the package may rewrite that list too; [`checksum_against`] the list of a
/// verified archive finds even that.
///
/// # Errors
/// Where a file, or the list, cannot be read.
pub fn checksum(dir: &Path) -> Result<Vec<Finding>, Error> {
    let file = dir.join(LISTING_FILE);
    let size = match file.symlink_metadata() {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound && dir.is_dir() => {
            return Ok(vec![finding(LISTING_FILE, FindingKind::Missing)]);
        }
        Err(error) => return Err(Error::io("read", file)(error)),
    };
    let text = if size <= listing::MAX_SIZE {
        fs::read(&file).map_err(Error::io("read", &file))?
    } else {
        Vec::new()
    };
    let listing = Listing::parse(&text).map_err(|fault| bad(dir, fault))?;
    compare(dir, &listing)
}

/// Compares an unpacked package, its list included, with a list from elsewhere, such as
/// [`read_listing`](crate::read_listing) of the archive.
///
/// # Errors
/// Where a file cannot be read.
pub fn checksum_against(dir: &Path, listing: &Listing) -> Result<Vec<Finding>, Error> {
    let text = listing.to_text();
    let shipped = Item {
        path: LISTING_FILE.to_owned(),
        kind: ItemKind::File {
            executable: false,
            size: text.len() as u64,
            digest: Digest::of(text.as_bytes()),
        },
    };
    let mut findings = Vec::new();
    compare_item(dir, &shipped, &mut findings)?;
    findings.extend(compare(dir, listing)?);
    Ok(findings)
}

fn compare(dir: &Path, listing: &Listing) -> Result<Vec<Finding>, Error> {
    let mut present = present(dir)?;
    let mut findings = Vec::new();
    for item in listing.items() {
        if present.remove(&item.path) {
            compare_item(dir, item, &mut findings)?;
        } else {
            findings.push(finding(&item.path, FindingKind::Missing));
        }
    }
    findings.extend(
        present
            .into_iter()
            .map(|path| finding(&path, FindingKind::Extra)),
    );
    let by_path: BTreeMap<_, Vec<_>> =
        findings
            .into_iter()
            .fold(BTreeMap::new(), |mut map, finding| {
                map.entry(finding.path.clone())
                    .or_insert_with(Vec::new)
                    .push(finding);
                map
            });
    Ok(by_path.into_values().flatten().collect())
}

/// Every path below a directory but the list's own. Names that are not UTF-8 were never shipped,
/// so showing them approximately is enough.
fn present(dir: &Path) -> Result<BTreeSet<String>, Error> {
    let mut paths = BTreeSet::new();
    for entry in WalkDir::new(dir).min_depth(1) {
        let entry = entry.map_err(|error| {
            let path = error.path().unwrap_or(dir).to_owned();
            Error::io("read", path)(error.into())
        })?;
        let below = entry.path().strip_prefix(dir).unwrap_or(entry.path());
        paths.insert(below.to_string_lossy().into_owned());
    }
    paths.remove(LISTING_FILE);
    Ok(paths)
}

fn compare_item(dir: &Path, item: &Item, findings: &mut Vec<Finding>) -> Result<(), Error> {
    let path = dir.join(&item.path);
    let mut report = |kind| findings.push(finding(&item.path, kind));
    let metadata = match path.symlink_metadata() {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            report(FindingKind::Missing);
            return Ok(());
        }
        Err(error) => return Err(Error::io("read", path)(error)),
    };
    let actual = sort_of(metadata.file_type());
    let expected = match item.kind {
        ItemKind::Directory => "directory",
        ItemKind::File { .. } => "file",
        ItemKind::Link { .. } => "link",
    };
    if actual != expected {
        report(FindingKind::Kind {
            expected: expected.to_owned(),
            actual: actual.to_owned(),
        });
        return Ok(());
    }
    match &item.kind {
        ItemKind::Directory => {}
        ItemKind::File { digest, .. } => {
            let (actual, _) = tree::hash_file(&path)?;
            if actual != *digest {
                report(FindingKind::Changed {
                    expected: *digest,
                    actual,
                });
            }
        }
        ItemKind::Link { target } => {
            let actual = fs::read_link(&path).map_err(Error::io("read", &path))?;
            if actual.as_os_str() != target.as_str() {
                let actual = actual.to_string_lossy().into_owned();
                report(FindingKind::Target {
                    expected: target.clone(),
                    actual,
                });
            }
            return Ok(());
        }
    }
    let mode = metadata.permissions().mode() & 0o7777;
    if mode != item.kind.mode() {
        report(FindingKind::Mode {
            expected: item.kind.mode(),
            actual: mode,
        });
    }
    Ok(())
}

fn sort_of(kind: fs::FileType) -> &'static str {
    if kind.is_dir() {
        "directory"
    } else if kind.is_symlink() {
        "link"
    } else if kind.is_file() {
        "file"
    } else {
        "special"
    }
}

fn finding(path: &str, kind: FindingKind) -> Finding {
    Finding {
        path: path.to_owned(),
        kind,
    }
}
