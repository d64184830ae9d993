//! From a directory to an archive.

use std::{
    fs::{self, File, Permissions},
    io::{self, Read, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use tar::{EntryType, Header};
use wright_model::{Diagnostic, Digest, PackageId};

use crate::{
    Addition, Error, Fault, Item, ItemKind, LISTING_FILE, Listing, MANIFEST_FILE, Manifest,
    archive::{MAX_ARCHIVE, MAX_RATIO, RATIO_FREE, WINDOW_LOG},
    manifest::{self, Parsed, Program},
    tree::{Node, Tree},
};

/// zstd's level: a third smaller than its default for programs, at about 40 MB/s.
const LEVEL: i32 = 9;

/// A package that was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// Which package it is; the digest is the archive's.
    pub id: PackageId,
    /// Its manifest.
    pub manifest: Manifest,
    /// The archive: `{name}-{version}.wpk` in the directory asked for.
    pub archive: PathBuf,
    /// The archive's size in bytes.
    pub archive_size: u64,
    /// What it holds.
    pub listing: Listing,
}

/// Builds the package that lies in `dir`, with what is to be added from elsewhere, and writes its
/// archive into `out_dir`. The same files give the same bytes.
///
/// # Errors
/// [`Error::Refused`] with every finding where the manifest or a file cannot be taken; nothing was
/// written then. [`Error::Io`] where the system refuses to read or write.
pub fn build(dir: &Path, additions: &[Addition], out_dir: &Path) -> Result<Built, Error> {
    let parsed = manifest::of_dir(dir)?;
    let tree = Tree::collect(dir, additions)?;
    programs_are_there(dir, &parsed, &tree)?;
    out_is_outside(dir, out_dir)?;
    let listing = Listing::new(tree.hash()?).map_err(|fault| refused(dir, &fault))?;

    fs::create_dir_all(out_dir).map_err(Error::io("create", out_dir))?;
    let manifest = parsed.manifest;
    let archive = out_dir.join(format!("{}-{}.wpk", manifest.name, manifest.version));
    let partial = tempfile::Builder::new()
        .prefix(".wright-")
        .permissions(Permissions::from_mode(0o644))
        .tempfile_in(out_dir)
        .map_err(Error::io("write into", out_dir))?;
    let (digest, archive_size) = write_archive(partial.as_file(), &archive, &tree, &listing)?;
    if listing.total_size() > RATIO_FREE.max(archive_size * MAX_RATIO) {
        let why = format!(
            "its files are more than {MAX_RATIO} times as large as the archive, as a compression bomb's"
        );
        return Err(refused(dir, &Fault::TooLarge(why)));
    }
    partial
        .as_file()
        .sync_all()
        .map_err(Error::io("write", &archive))?;
    partial
        .persist(&archive)
        .map_err(|error| Error::io("write", &archive)(error.error))?;
    let id = PackageId {
        name: manifest.name.clone(),
        version: manifest.version,
        digest,
    };
    Ok(Built {
        id,
        manifest,
        archive,
        archive_size,
        listing,
    })
}

fn refused(dir: &Path, fault: &Fault) -> Error {
    let finding =
        Diagnostic::error("not-a-package", fault.to_string()).at(&dir.display().to_string(), 0, 0);
    Error::Refused(vec![finding])
}

/// Whatever a command names by a path inside the package must be there and executable.
fn programs_are_there(dir: &Path, parsed: &Parsed, tree: &Tree) -> Result<(), Error> {
    let file = dir.join(MANIFEST_FILE).display().to_string();
    let findings: Vec<_> = parsed
        .programs
        .iter()
        .filter_map(|program| missing(program, tree, &file))
        .collect();
    if findings.is_empty() {
        Ok(())
    } else {
        Err(Error::Refused(findings))
    }
}

fn missing(program: &Program, tree: &Tree, file: &str) -> Option<Diagnostic> {
    let word = program.word.as_str();
    let own = word.strip_prefix("{package}/");
    let path = own.unwrap_or(word);
    let path = path.strip_prefix("./").unwrap_or(path);
    let refuse = |code, message, help: String| {
        Some(
            Diagnostic::error(code, message)
                .at(file, program.line, program.column)
                .help(help),
        )
    };
    match tree.get(path) {
        Some(
            Node::File {
                executable: true, ..
            }
            | Node::Link { .. },
        ) => None,
        Some(Node::File { source, .. }) => refuse(
            "not-executable",
            format!("the program `{path}` is not executable"),
            format!("chmod +x {}", source.display()),
        ),
        Some(Node::Directory) => refuse(
            "wrong-value",
            format!("`{path}` is a directory, a program was expected"),
            "name a file in it".to_owned(),
        ),
        // Without a `/` it is looked for in PATH as well; with one at its beginning, or behind
        // another placeholder, it is the host's.
        None if own.is_none() && (!word.contains('/') || word.starts_with(['/', '{'])) => None,
        None => refuse(
            "missing-program",
            format!("the program `{path}` is not in the package"),
            format!("put it there, or add it: --add {path}=FILE"),
        ),
    }
}

/// An archive in the package's own directory would be in the next archive.
fn out_is_outside(dir: &Path, out_dir: &Path) -> Result<(), Error> {
    let dir = dir.canonicalize().map_err(Error::io("read", dir))?;
    let out = std::path::absolute(out_dir).map_err(Error::io("find", out_dir))?;
    let real = out
        .ancestors()
        .find_map(|existing| existing.canonicalize().ok());
    if real.is_some_and(|real| real.starts_with(&dir)) {
        let message =
            "the archive would lie in the package's own directory, and so in the next archive";
        let finding = Diagnostic::error("out-inside-package", message)
            .at(&out_dir.display().to_string(), 0, 0)
            .help("write it to another directory");
        return Err(Error::Refused(vec![finding]));
    }
    Ok(())
}

fn write_archive(
    file: &File,
    archive: &Path,
    tree: &Tree,
    listing: &Listing,
) -> Result<(Digest, u64), Error> {
    let failed = |error: io::Error| match error.get_ref() {
        Some(inner) if inner.is::<OverLimit>() => refused(
            archive,
            &Fault::TooLarge("it would be larger than 2 GiB".to_owned()),
        ),
        _ => Error::io("write", archive)(error),
    };
    let sink = Sink {
        to: file,
        hasher: blake3::Hasher::new(),
        limit: MAX_ARCHIVE,
    };
    let mut encoder = zstd::Encoder::new(sink, LEVEL).map_err(failed)?;
    encoder.window_log(WINDOW_LOG).map_err(failed)?;
    encoder.include_checksum(true).map_err(failed)?;
    let mut tar = tar::Builder::new(encoder);

    let text = listing.to_text();
    let mut head = header(EntryType::Regular, 0o644, text.len() as u64);
    head.set_path(LISTING_FILE).map_err(failed)?;
    head.set_cksum();
    tar.append(&head, text.as_bytes()).map_err(failed)?;
    for ((path, node), item) in tree.in_order().zip(listing.items()) {
        append(&mut tar, path, node, item, failed)?;
    }
    let sink = tar
        .into_inner()
        .and_then(zstd::Encoder::finish)
        .map_err(failed)?;
    Ok((
        Digest::from_bytes(*sink.hasher.finalize().as_bytes()),
        sink.hasher.count(),
    ))
}

fn append<W: Write>(
    tar: &mut tar::Builder<W>,
    path: &str,
    node: &Node,
    item: &Item,
    failed: impl Fn(io::Error) -> Error,
) -> Result<(), Error> {
    let (sort, size) = match &item.kind {
        ItemKind::Directory => (EntryType::Directory, 0),
        ItemKind::Link { .. } => (EntryType::Symlink, 0),
        ItemKind::File { size, .. } => (EntryType::Regular, *size),
    };
    let mut head = header(sort, item.kind.mode(), size);
    if head.set_path(path).is_err() || *head.path_bytes() != *path.as_bytes() {
        let why = format!("{path:?} does not fit: a name has at most 100 bytes, a path 255");
        return Err(refused(Path::new(path), &Fault::TooLarge(why)));
    }
    if let Node::Link { target } = node {
        head.set_link_name_literal(target).map_err(&failed)?;
    }
    head.set_cksum();
    let Node::File { source, .. } = node else {
        return tar.append(&head, io::empty()).map_err(failed);
    };

    let open = File::open(source).map_err(Error::io("read", source))?;
    let mut content = Rehashed {
        from: open.take(size),
        hasher: blake3::Hasher::new(),
        failure: None,
    };
    let appended = tar.append(&head, &mut content);
    if let Some(failure) = content.failure {
        return Err(Error::io("read", source)(failure));
    }
    appended.map_err(failed)?;
    match &item.kind {
        ItemKind::File { digest, .. }
            if digest.as_bytes() != content.hasher.finalize().as_bytes() =>
        {
            let finding = Diagnostic::error("changed", "it changed while the package was built")
                .at(&source.display().to_string(), 0, 0)
                .help("build again when nothing writes to it");
            Err(Error::Refused(vec![finding]))
        }
        _ => Ok(()),
    }
}

/// A header without time or owner, as every build writes it.
fn header(sort: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(sort);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

/// Hashes what is written, up to a limit.
struct Sink<W> {
    to: W,
    hasher: blake3::Hasher,
    limit: u64,
}

#[derive(Debug, thiserror::Error)]
#[error("more than the limit was written")]
struct OverLimit;

impl<W: Write> Write for Sink<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.hasher.count() + bytes.len() as u64 > self.limit {
            return Err(io::Error::other(OverLimit));
        }
        let count = self.to.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Hashes a file again while it is archived, and keeps its own failures apart from the writer's.
struct Rehashed<R> {
    from: R,
    hasher: blake3::Hasher,
    failure: Option<io::Error>,
}

impl<R: Read> Read for Rehashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.from.read(buffer) {
            Ok(count) => {
                self.hasher.update(&buffer[..count]);
                Ok(count)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                self.failure = Some(error);
                Err(io::Error::other("the file could not be read"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_ends_at_its_limit() {
        let mut sink = Sink {
            to: Vec::new(),
            hasher: blake3::Hasher::new(),
            limit: 10,
        };
        sink.write_all(b"12345678").unwrap();
        let error = sink.write_all(b"901").unwrap_err();
        assert!(error.get_ref().unwrap().is::<OverLimit>());
    }
}
