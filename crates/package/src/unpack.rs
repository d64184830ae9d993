//! From an archive to a directory.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Write},
    ops::ControlFlow,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use wright_model::Digest;

use crate::{
    Contents, Error, Fault, Item, ItemKind, LISTING_FILE, Listing,
    archive::{Content, Head, Visitor, bad, walk},
};

/// Up to this many items each is synchronised by itself; above, the whole file system is, once.
const SYNC_EACH: usize = 64;

/// Unpacks an archive into the new directory `dest`, if its bytes are those of `expected`.
///
/// Everything is written to `{dest}.partial`, brought to the disk, and renamed: `dest` is complete
/// or absent, even after a crash. What an earlier, killed attempt left is removed first; two
/// attempts at one `dest` must not run at once. Directories have mode 755, files 644 or 755.
///
/// # Errors
/// [`Error::Exists`], [`Error::WrongDigest`], [`Error::BadArchive`], or [`Error::Io`] (a full disk);
/// nothing is left behind.
pub fn unpack(archive: &Path, dest: &Path, expected: &Digest) -> Result<Contents, Error> {
    if dest.symlink_metadata().is_ok() {
        return Err(Error::Exists {
            path: dest.to_owned(),
        });
    }
    let partial = partial_path(dest);
    remove(&partial)?;
    let unpacked = unpack_to(archive, &partial, expected).and_then(|contents| {
        sync(&partial, &contents.listing).map_err(Error::io("write", &partial))?;
        fs::rename(&partial, dest).map_err(Error::io("create", dest))?;
        sync_parent(dest)?;
        Ok(contents)
    });
    if unpacked.is_err() {
        // The first error says more than a second one from tidying up would.
        let _ = remove(&partial);
    }
    unpacked
}

fn unpack_to(archive: &Path, partial: &Path, expected: &Digest) -> Result<Contents, Error> {
    if let Some(parent) = partial.parent() {
        fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
    }
    make_directory(partial)?;
    let contents = walk(archive, &mut Writer { root: partial })?
        .ok_or_else(|| bad(archive, Fault::Truncated))?;
    if contents.id.digest != *expected {
        return Err(Error::WrongDigest {
            package: contents.id.to_string(),
            expected: *expected,
            actual: contents.id.digest,
        });
    }
    Ok(contents)
}

fn partial_path(dest: &Path) -> PathBuf {
    let mut name = dest.as_os_str().to_owned();
    name.push(".partial");
    PathBuf::from(name)
}

fn remove(partial: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(partial) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io("remove", partial)(error))
        }
        _ => Ok(()),
    }
}

/// Writes items below a directory that nobody else writes to. Parents of an item are directories
/// that this made before (the list is checked for that), so no path can lead through a link.
struct Writer<'r> {
    root: &'r Path,
}

impl Visitor for Writer<'_> {
    fn head(&mut self, head: &Head) -> Result<ControlFlow<()>, Error> {
        let path = self.root.join(LISTING_FILE);
        let mut file = create(&path, 0o644)?;
        file.write_all(&head.listing_text)
            .map_err(Error::io("write", &path))?;
        Ok(ControlFlow::Continue(()))
    }

    fn item(&mut self, item: &Item, content: &mut Content<'_, '_>) -> Result<(), Error> {
        let path = self.root.join(&item.path);
        match &item.kind {
            ItemKind::Directory => make_directory(&path),
            ItemKind::Link { target } => symlink(target, &path).map_err(Error::io("create", &path)),
            ItemKind::File { .. } => {
                let mut file = create(&path, item.kind.mode())?;
                loop {
                    let chunk = content.next_chunk()?;
                    if chunk.is_empty() {
                        return Ok(());
                    }
                    file.write_all(chunk).map_err(Error::io("write", &path))?;
                }
            }
        }
    }
}

fn make_directory(path: &Path) -> Result<(), Error> {
    DirBuilder::new()
        .mode(0o755)
        .create(path)
        .map_err(Error::io("create", path))?;
    // The process's umask may have taken bits away.
    fs::set_permissions(path, Permissions::from_mode(0o755)).map_err(Error::io("create", path))
}

fn create(path: &Path, mode: u32) -> Result<File, Error> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .map_err(Error::io("create", path))?;
    file.set_permissions(Permissions::from_mode(mode))
        .map_err(Error::io("create", path))?;
    Ok(file)
}

fn sync(root: &Path, listing: &Listing) -> io::Result<()> {
    let top = File::open(root)?;
    if listing.items().len() > SYNC_EACH {
        return Ok(rustix::fs::syncfs(&top)?);
    }
    File::open(root.join(LISTING_FILE))?.sync_all()?;
    for item in listing.items() {
        if !matches!(item.kind, ItemKind::Link { .. }) {
            File::open(root.join(&item.path))?.sync_all()?;
        }
    }
    top.sync_all()
}

fn sync_parent(dest: &Path) -> Result<(), Error> {
    let parent = match dest.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(parent)
        .and_then(|dir| dir.sync_all())
        .map_err(Error::io("write", parent))
}
