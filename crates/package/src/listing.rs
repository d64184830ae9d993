//! `FILES`: everything a package holds, with its size and hash.

use std::{collections::HashSet, fmt::Write as _};

use wright_model::Digest;

use crate::{Fault, MANIFEST_FILE, manifest, path};

/// The list's name in a package.
pub const LISTING_FILE: &str = "FILES";

/// The most items a package may hold.
pub(crate) const MAX_ITEMS: usize = 50_000;

/// The largest list, in bytes.
pub(crate) const MAX_SIZE: u64 = 16 << 20;

/// The most that the files of a package may take together, in bytes.
pub(crate) const MAX_TOTAL: u64 = 8 << 30;

const HEADER: &str = "wright-files 1";

/// Everything a package holds besides the list itself: `package.toml` first, then the rest in the
/// order of the bytes of their paths.
///
/// Written as one line of tab-separated fields for each item, below a line with the format's name:
/// `file MODE SIZE BLAKE3 PATH`, `dir PATH` and `link TARGET PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    items: Vec<Item>,
}

/// One thing in a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Where in the package; never climbs out.
    pub path: String,
    /// What it is.
    pub kind: ItemKind,
}

/// What a thing in a package is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ItemKind {
    /// A directory, mode 755.
    Directory,
    /// A regular file.
    File {
        /// Whether its mode is 755 and not 644.
        executable: bool,
        /// In bytes.
        size: u64,
        /// Of its bytes.
        digest: Digest,
    },
    /// A symbolic link to somewhere else in the package.
    Link {
        /// As it stands in the link.
        target: String,
    },
}

impl ItemKind {
    /// The permission bits; a link has none of its own.
    pub fn mode(&self) -> u32 {
        match self {
            ItemKind::File {
                executable: false, ..
            } => 0o644,
            ItemKind::Link { .. } => 0o777,
            ItemKind::Directory | ItemKind::File { .. } => 0o755,
        }
    }
}

impl Listing {
    /// Takes items in the order of an archive.
    pub(crate) fn new(items: Vec<Item>) -> Result<Self, Fault> {
        let listing = Listing { items };
        listing.check()?;
        Ok(listing)
    }

    /// Reads a list.
    ///
    /// # Errors
    /// Where it is not what [`Listing::to_text`] writes, climbs out, or goes beyond the limits.
    pub fn parse(text: &[u8]) -> Result<Self, Fault> {
        let text = std::str::from_utf8(text).map_err(|_| fault(0, "it is not UTF-8"))?;
        let body = text
            .strip_prefix(HEADER)
            .and_then(|rest| rest.strip_prefix('\n'))
            .ok_or_else(|| fault(1, "`wright-files 1` was expected"))?;
        let mut items = Vec::new();
        for (index, line) in body.lines().enumerate() {
            if items.len() == MAX_ITEMS {
                return Err(too_many());
            }
            items.push(item(line).ok_or_else(|| fault(index + 2, "it is not an item"))?);
        }
        Listing::new(items)
    }

    /// The list as it stands in the archive.
    pub fn to_text(&self) -> String {
        let mut text = format!("{HEADER}\n");
        for Item { path, kind } in &self.items {
            // Writing into a String cannot fail.
            let _ = match kind {
                ItemKind::Directory => writeln!(text, "dir\t{path}"),
                ItemKind::Link { target } => writeln!(text, "link\t{target}\t{path}"),
                ItemKind::File { size, digest, .. } => {
                    writeln!(text, "file\t{:o}\t{size}\t{digest}\t{path}", kind.mode())
                }
            };
        }
        text
    }

    /// What the package holds.
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// What its files take together, in bytes.
    pub fn total_size(&self) -> u64 {
        self.items.iter().fold(0, |sum, item| match item.kind {
            ItemKind::File { size, .. } => sum.saturating_add(size),
            _ => sum,
        })
    }

    fn check(&self) -> Result<(), Fault> {
        if self.items.len() > MAX_ITEMS {
            return Err(too_many());
        }
        match self.items.first() {
            Some(Item {
                path,
                kind: ItemKind::File { size, .. },
            }) if path == MANIFEST_FILE && *size <= manifest::MAX_SIZE => {}
            _ => return Err(fault(2, "package.toml of at most 64 KiB was expected")),
        }
        let mut directories = HashSet::new();
        let mut before = "";
        for (index, Item { path, kind }) in self.items.iter().enumerate() {
            let refuse = |why: &str| fault(index + 2, &format!("{path:?}: {why}"));
            path::check(path).map_err(refuse)?;
            if path == LISTING_FILE {
                return Err(refuse("the list cannot list itself"));
            }
            if index > 0 && (path.as_str() <= before || path == MANIFEST_FILE) {
                return Err(refuse("it is out of order or listed twice"));
            }
            if path::parent(path).is_some_and(|parent| !directories.contains(parent)) {
                return Err(refuse("what it lies in is not listed as a directory"));
            }
            match kind {
                ItemKind::Directory => {
                    directories.insert(path.as_str());
                }
                ItemKind::Link { target } => path::check_link(path, target).map_err(refuse)?,
                ItemKind::File { .. } => {}
            }
            before = if index == 0 { "" } else { path };
        }
        let total = self.total_size();
        if total > MAX_TOTAL {
            return Err(Fault::TooLarge(format!(
                "its files take {total} bytes together; at most 8 GiB are allowed"
            )));
        }
        Ok(())
    }
}

fn item(line: &str) -> Option<Item> {
    let (sort, rest) = line.split_once('\t')?;
    let (kind, path) = match sort {
        "dir" => (ItemKind::Directory, rest),
        "link" => {
            let (target, path) = rest.split_once('\t')?;
            (
                ItemKind::Link {
                    target: target.to_owned(),
                },
                path,
            )
        }
        "file" => {
            let mut fields = rest.splitn(4, '\t');
            let executable = match fields.next()? {
                "755" => true,
                "644" => false,
                _ => return None,
            };
            let size = fields.next()?.parse().ok()?;
            let digest = fields.next()?.parse().ok()?;
            (
                ItemKind::File {
                    executable,
                    size,
                    digest,
                },
                fields.next()?,
            )
        }
        _ => return None,
    };
    Some(Item {
        path: path.to_owned(),
        kind,
    })
}

fn fault(line: usize, why: &str) -> Fault {
    Fault::Listing {
        line,
        why: why.to_owned(),
    }
}

fn too_many() -> Fault {
    Fault::TooLarge(format!(
        "it holds more than {MAX_ITEMS} files; put them into one file, such as a tar"
    ))
}
