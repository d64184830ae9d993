//! Everything that will be in an archive, collected from directories on disk.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

use walkdir::WalkDir;
use wright_model::{Diagnostic, Digest};

use crate::{Addition, Error, Item, ItemKind, LISTING_FILE, MANIFEST_FILE, listing, path};

/// What goes into an archive, by its path there.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    nodes: BTreeMap<String, Node>,
    findings: Vec<Diagnostic>,
}

/// One thing that goes into an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    /// A directory.
    Directory,
    /// A file, with where its bytes are.
    File { source: PathBuf, executable: bool },
    /// A symbolic link.
    Link { target: String },
}

impl Tree {
    /// Everything below `dir`, and the additions.
    pub(crate) fn collect(dir: &Path, additions: &[Addition]) -> Result<Self, Error> {
        let mut tree = Tree::default();
        tree.add_directory(dir, "")?;
        for addition in additions {
            tree.add_addition(addition)?;
        }
        if tree.nodes.len() > listing::MAX_ITEMS {
            let message = format!(
                "the package would hold {} files, at most {} are allowed",
                tree.nodes.len(),
                listing::MAX_ITEMS
            );
            tree.refuse(
                dir,
                "too-large",
                message,
                "put them into one file, such as a tar",
            );
        }
        if tree.findings.is_empty() {
            Ok(tree)
        } else {
            Err(Error::Refused(tree.findings))
        }
    }

    pub(crate) fn get(&self, path: &str) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// Everything in the order of an archive.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = (&str, &Node)> {
        let first = self.nodes.get_key_value(MANIFEST_FILE);
        let rest = self.nodes.iter().filter(|(path, _)| *path != MANIFEST_FILE);
        first
            .into_iter()
            .chain(rest)
            .map(|(path, node)| (path.as_str(), node))
    }

    /// Reads and hashes every file.
    pub(crate) fn hash(&self) -> Result<Vec<Item>, Error> {
        self.in_order()
            .map(|(path, node)| {
                let kind = match node {
                    Node::Directory => ItemKind::Directory,
                    Node::Link { target } => ItemKind::Link {
                        target: target.clone(),
                    },
                    Node::File { source, executable } => {
                        let (digest, size) = hash_file(source)?;
                        ItemKind::File {
                            executable: *executable,
                            size,
                            digest,
                        }
                    }
                };
                Ok(Item {
                    path: path.to_owned(),
                    kind,
                })
            })
            .collect()
    }

    fn add_addition(&mut self, addition: &Addition) -> Result<(), Error> {
        let Addition { at, source } = addition;
        if let Err(why) = path::check(at) {
            self.refuse(
                source,
                "unsafe-path",
                format!("it cannot be added at {at:?}: {why}"),
                "name a path in the package",
            );
            return Ok(());
        }
        let metadata = match fs::metadata(source) {
            Ok(metadata) => metadata,
            Err(error) => {
                let message = format!("it cannot be added at {at:?}: {error}");
                self.refuse(
                    source,
                    "missing-file",
                    message,
                    "build it first, or name another file",
                );
                return Ok(());
            }
        };
        let mut parent = path::parent(at);
        while let Some(directory) = parent {
            self.insert(directory, Node::Directory, source);
            parent = path::parent(directory);
        }
        if metadata.is_dir() {
            self.insert(at, Node::Directory, source);
            return self.add_directory(source, at);
        }
        if metadata.is_file() {
            self.insert(at, file(source, &metadata), source);
        } else {
            self.refuse_special(source, metadata.file_type());
        }
        Ok(())
    }

    fn add_directory(&mut self, root: &Path, at: &str) -> Result<(), Error> {
        for entry in WalkDir::new(root).min_depth(1).sort_by_file_name() {
            let entry = entry.map_err(|error| {
                let path = error.path().unwrap_or(root).to_owned();
                let source = error
                    .into_io_error()
                    .unwrap_or_else(|| std::io::Error::other("the directories are a loop"));
                Error::io("read", path)(source)
            })?;
            let below = entry.path().strip_prefix(root).unwrap_or(entry.path());
            let Some(below) = below.to_str() else {
                self.refuse(
                    entry.path(),
                    "not-utf8",
                    "its name is not UTF-8".to_owned(),
                    "rename it",
                );
                continue;
            };
            let at = if at.is_empty() {
                below.to_owned()
            } else {
                format!("{at}/{below}")
            };
            self.add_entry(&entry, &at)?;
        }
        Ok(())
    }

    fn add_entry(&mut self, entry: &walkdir::DirEntry, at: &str) -> Result<(), Error> {
        let source = entry.path();
        if at == LISTING_FILE {
            let message = format!("`{LISTING_FILE}` is made when the package is built");
            self.refuse(source, "reserved-name", message, "delete or rename it");
        } else if let Err(why) = path::check(at) {
            self.refuse(
                source,
                "unsafe-path",
                format!("it cannot be in a package: {why}"),
                "rename or remove it",
            );
        } else if entry.file_type().is_dir() {
            self.insert(at, Node::Directory, source);
        } else if entry.file_type().is_symlink() {
            self.add_link(source, at)?;
        } else if entry.file_type().is_file() {
            let metadata = fs::metadata(source).map_err(Error::io("read", source))?;
            self.insert(at, file(source, &metadata), source);
        } else {
            self.refuse_special(source, entry.file_type());
        }
        Ok(())
    }

    fn add_link(&mut self, source: &Path, at: &str) -> Result<(), Error> {
        let target = fs::read_link(source).map_err(Error::io("read", source))?;
        let Some(target) = target.to_str() else {
            self.refuse(
                source,
                "not-utf8",
                "its target is not UTF-8".to_owned(),
                "rename what it points to",
            );
            return Ok(());
        };
        match path::check_link(at, target) {
            Ok(()) => self.insert(
                at,
                Node::Link {
                    target: target.to_owned(),
                },
                source,
            ),
            Err(why) => {
                let message = format!("it is a symbolic link to {target:?}: {why}");
                self.refuse(
                    source,
                    "unsafe-link",
                    message,
                    "copy what it points to into the package, or link to it relatively",
                );
            }
        }
        Ok(())
    }

    fn insert(&mut self, at: &str, node: Node, source: &Path) {
        match self.nodes.get(at) {
            Some(Node::Directory) if node == Node::Directory => {}
            Some(_) => {
                let message = format!("it would be at {at:?}, where something is already");
                self.refuse(
                    source,
                    "clash",
                    message,
                    "add it at another path, or remove the other one",
                );
            }
            None => {
                self.nodes.insert(at.to_owned(), node);
            }
        }
    }

    fn refuse_special(&mut self, source: &Path, sort: fs::FileType) {
        let sort = if sort.is_fifo() {
            "a named pipe"
        } else if sort.is_socket() {
            "a socket"
        } else {
            "a device"
        };
        let message = format!("it is {sort}; a package holds files, directories and links");
        self.refuse(
            source,
            "special-file",
            message,
            "remove it; the program can make it when it starts",
        );
    }

    fn refuse(&mut self, source: &Path, code: &str, message: String, help: &str) {
        let finding = Diagnostic::error(code, message)
            .at(&source.display().to_string(), 0, 0)
            .help(help);
        self.findings.push(finding);
    }
}

fn file(source: &Path, metadata: &fs::Metadata) -> Node {
    Node::File {
        source: source.to_owned(),
        executable: metadata.mode() & 0o111 != 0,
    }
}

/// The digest and the size of a file.
pub(crate) fn hash_file(file: &Path) -> Result<(Digest, u64), Error> {
    let open = File::open(file).map_err(Error::io("read", file))?;
    let mut hasher = blake3::Hasher::new();
    hasher
        .update_reader(open)
        .map_err(Error::io("read", file))?;
    Ok((
        Digest::from_bytes(*hasher.finalize().as_bytes()),
        hasher.count(),
    ))
}
