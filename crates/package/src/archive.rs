//! Reads archives as streams, and refuses everything that [`build`](crate::build) does not write.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    ops::ControlFlow,
    path::Path,
};

use tar::{Entries, Entry, EntryType};
use wright_model::{Digest, PackageId};

use crate::{
    Error, Fault, Item, ItemKind, LISTING_FILE, Listing, MANIFEST_FILE, Manifest, listing, manifest,
};

/// The largest archive, in bytes.
pub(crate) const MAX_ARCHIVE: u64 = 2 << 30;

/// The zstd window as a power of two: 2 MiB, which is what a reader must set aside.
pub(crate) const WINDOW_LOG: u32 = 21;

/// How often larger than its archive a package may be, once it is larger than [`RATIO_FREE`].
pub(crate) const MAX_RATIO: u64 = 200;

/// Packages up to this size, in bytes, may be compressed as well as they can.
pub(crate) const RATIO_FREE: u64 = 64 << 20;

/// What follows a tar's last entry: zeros, padded to a record of twenty blocks at the most.
const MAX_PADDING: usize = 20 * 512;

/// What an archive holds, after all of it was read and found sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// Which package it is.
    pub id: PackageId,
    /// Its manifest.
    pub manifest: Manifest,
    /// Its files.
    pub listing: Listing,
    /// The size of the archive, in bytes.
    pub archive_size: u64,
}

/// What an archive begins with.
pub(crate) struct Head {
    pub(crate) manifest: Manifest,
    pub(crate) listing: Listing,
    pub(crate) listing_text: Vec<u8>,
}

/// What is done with an archive while it is read. Nothing is certain until the reading has ended
/// without an error: hashes are known only behind the bytes.
pub(crate) trait Visitor {
    /// The beginning is read. `Break` ends the reading here.
    fn head(&mut self, head: &Head) -> Result<ControlFlow<()>, Error>;

    /// One item; what of its content is not taken is skipped.
    fn item(&mut self, item: &Item, content: &mut Content<'_, '_>) -> Result<(), Error>;
}

/// Reads a whole archive and says what is in it, or why it is not sound.
///
/// # Errors
/// Where the file cannot be read or is not an archive as [`build`](crate::build) makes it.
pub fn inspect(archive: &Path) -> Result<Contents, Error> {
    struct Skip;
    impl Visitor for Skip {
        fn head(&mut self, _: &Head) -> Result<ControlFlow<()>, Error> {
            Ok(ControlFlow::Continue(()))
        }

        fn item(&mut self, _: &Item, _: &mut Content<'_, '_>) -> Result<(), Error> {
            Ok(())
        }
    }
    walk(archive, &mut Skip)?.ok_or_else(|| bad(archive, Fault::Truncated))
}

/// Reads an archive's manifest, and nothing of the archive behind it. Nothing is verified.
///
/// # Errors
/// As [`inspect`], as far as it reads.
pub fn read_manifest(archive: &Path) -> Result<Manifest, Error> {
    read_head(archive).map(|head| head.0)
}

/// Reads an archive's file list, and nothing of the archive behind it. Nothing is verified.
///
/// # Errors
/// As [`inspect`], as far as it reads.
pub fn read_listing(archive: &Path) -> Result<Listing, Error> {
    read_head(archive).map(|head| head.1)
}

fn read_head(archive: &Path) -> Result<(Manifest, Listing), Error> {
    struct Take(Option<(Manifest, Listing)>);
    impl Visitor for Take {
        fn head(&mut self, head: &Head) -> Result<ControlFlow<()>, Error> {
            self.0 = Some((head.manifest.clone(), head.listing.clone()));
            Ok(ControlFlow::Break(()))
        }

        fn item(&mut self, _: &Item, _: &mut Content<'_, '_>) -> Result<(), Error> {
            Ok(())
        }
    }
    let mut take = Take(None);
    walk(archive, &mut take)?;
    take.0.ok_or_else(|| bad(archive, Fault::Truncated))
}

type Frame = Decompressed<zstd::Decoder<'static, BufReader<Hashed<File>>>>;

/// Reads an archive from the beginning to the end; `None` where the visitor ended it.
pub(crate) fn walk(archive: &Path, visitor: &mut dyn Visitor) -> Result<Option<Contents>, Error> {
    let file = File::open(archive).map_err(Error::io("read", archive))?;
    let archive_size = file.metadata().map_err(Error::io("read", archive))?.len();
    if archive_size > MAX_ARCHIVE {
        return Err(bad(
            archive,
            Fault::TooLarge("it is larger than 2 GiB".to_owned()),
        ));
    }
    let source = Source { archive };
    let mut tar = tar::Archive::new(source.open(file)?);
    let mut entries = tar.entries().map_err(|e| source.fault(e))?.raw(true);

    let listing_text = source.listing_text(&mut entries)?;
    let listing = Listing::parse(&listing_text).map_err(|fault| bad(archive, fault))?;
    if listing.total_size() > RATIO_FREE.max(archive_size.saturating_mul(MAX_RATIO)) {
        let why = format!(
            "its files take {} bytes, more than {MAX_RATIO} times the archive",
            listing.total_size()
        );
        return Err(bad(archive, Fault::TooLarge(why)));
    }
    let [first, rest @ ..] = listing.items() else {
        return Err(bad(archive, Fault::Truncated));
    };
    let mut buffer = vec![0; 64 << 10].into_boxed_slice();
    let mut entry = source.entry(&mut entries, first)?;
    let mut manifest_text = Vec::new();
    source
        .content(&mut entry, &mut buffer)
        .take_all(first, &mut |bytes| manifest_text.extend_from_slice(bytes))?;
    let manifest = manifest::parse(&manifest_text, MANIFEST_FILE)
        .map_err(|findings| bad(archive, Fault::Manifest(findings)))?
        .manifest;

    let head = Head {
        manifest,
        listing: listing.clone(),
        listing_text,
    };
    if visitor.head(&head)?.is_break() {
        return Ok(None);
    }
    visitor.item(
        first,
        &mut source.content(&mut manifest_text.as_slice(), &mut buffer),
    )?;
    for item in rest {
        let mut entry = source.entry(&mut entries, item)?;
        let mut content = source.content(&mut entry, &mut buffer);
        visitor.item(item, &mut content)?;
        content.take_all(item, &mut |_| ())?;
    }
    source.no_more(&mut entries)?;
    let digest = source.end(tar.into_inner())?;
    let id = PackageId {
        name: head.manifest.name.clone(),
        version: head.manifest.version,
        digest,
    };
    Ok(Some(Contents {
        id,
        manifest: head.manifest,
        listing,
        archive_size,
    }))
}

/// An archive's name, for errors.
struct Source<'a> {
    archive: &'a Path,
}

impl<'a> Source<'a> {
    fn open(&self, file: File) -> Result<Frame, Error> {
        let hashed = Hashed {
            file,
            hasher: blake3::Hasher::new(),
        };
        let mut decoder = zstd::Decoder::new(hashed)
            .map_err(|e| self.fault(e))?
            .single_frame();
        decoder
            .window_log_max(WINDOW_LOG)
            .map_err(|e| self.fault(e))?;
        Ok(Decompressed(decoder))
    }

    fn listing_text(&self, entries: &mut Entries<'_, Frame>) -> Result<Vec<u8>, Error> {
        let entry = self.next(entries)?;
        let header = entry.header();
        let size = header.entry_size().map_err(|e| self.fault(e))?;
        if *header.path_bytes() != *LISTING_FILE.as_bytes()
            || header.entry_type() != EntryType::Regular
        {
            let why =
                "the first entry must be `FILES`; build the package with `wright package build`"
                    .to_owned();
            return Err(bad(self.archive, Fault::Listing { line: 0, why }));
        }
        if size > listing::MAX_SIZE {
            return Err(bad(
                self.archive,
                Fault::TooLarge("its file list is larger than 16 MiB".to_owned()),
            ));
        }
        let mut text = Vec::new();
        entry
            .take(size)
            .read_to_end(&mut text)
            .map_err(|e| self.fault(e))?;
        if text.len() as u64 == size {
            Ok(text)
        } else {
            Err(bad(self.archive, Fault::Truncated))
        }
    }

    /// The next entry, which must be the listed one.
    fn entry<'e>(
        &self,
        entries: &mut Entries<'e, Frame>,
        item: &Item,
    ) -> Result<Entry<'e, Frame>, Error> {
        let entry = self.next(entries)?;
        let header = entry.header();
        let path = header.path_bytes();
        let refuse = |why: String| {
            let path = String::from_utf8_lossy(&path).into_owned();
            Err(bad(self.archive, Fault::NotAsListed { path, why }))
        };
        if *path != *item.path.as_bytes() {
            return refuse(format!("{:?} is the next on the list", item.path));
        }
        let (sort, size, target) = match &item.kind {
            ItemKind::Directory => (EntryType::Directory, 0, None),
            ItemKind::File { size, .. } => (EntryType::Regular, *size, None),
            ItemKind::Link { target } => (EntryType::Symlink, 0, Some(target.as_bytes())),
        };
        if header.entry_type() != sort {
            return refuse(format!(
                "it is {:?}, {sort:?} is listed",
                header.entry_type()
            ));
        }
        if header.entry_size().map_err(|e| self.fault(e))? != size {
            return refuse(format!("{size} bytes are listed"));
        }
        if header.mode().map_err(|e| self.fault(e))? != item.kind.mode() {
            return refuse(format!("mode {:o} is listed", item.kind.mode()));
        }
        if header.link_name_bytes().as_deref() != target {
            return refuse("another target is listed".to_owned());
        }
        Ok(entry)
    }

    fn next<'e>(&self, entries: &mut Entries<'e, Frame>) -> Result<Entry<'e, Frame>, Error> {
        match entries.next() {
            Some(entry) => entry.map_err(|e| self.fault(e)),
            None => Err(bad(self.archive, Fault::Truncated)),
        }
    }

    fn content<'c, 'b>(&self, from: &'c mut dyn Read, buffer: &'b mut [u8]) -> Content<'c, 'b>
    where
        'a: 'c,
    {
        Content {
            archive: self.archive,
            from,
            buffer,
            hasher: blake3::Hasher::new(),
            size: 0,
        }
    }

    fn no_more(&self, entries: &mut Entries<'_, Frame>) -> Result<(), Error> {
        let Some(entry) = entries.next() else {
            return Ok(());
        };
        let entry = entry.map_err(|e| self.fault(e))?;
        let path = String::from_utf8_lossy(&entry.header().path_bytes()).into_owned();
        let why = "it is not listed".to_owned();
        Err(bad(self.archive, Fault::NotAsListed { path, why }))
    }

    /// Reads what follows the last entry, and says the digest of the whole file.
    fn end(&self, mut frame: Frame) -> Result<Digest, Error> {
        let mut padding = Vec::new();
        (&mut frame)
            .take(MAX_PADDING as u64 + 1)
            .read_to_end(&mut padding)
            .map_err(|e| self.fault(e))?;
        if padding.len() > MAX_PADDING || padding.iter().any(|byte| *byte != 0) {
            return Err(bad(self.archive, Fault::Trailing));
        }
        let mut below = frame.0.finish();
        if !below.fill_buf().map_err(|e| self.fault(e))?.is_empty() {
            return Err(bad(self.archive, Fault::Trailing));
        }
        Ok(Digest::from_bytes(
            *below.into_inner().hasher.finalize().as_bytes(),
        ))
    }

    fn fault(&self, error: io::Error) -> Error {
        fault(self.archive, error)
    }
}

fn fault(archive: &Path, error: io::Error) -> Error {
    if error.raw_os_error().is_some() {
        return Error::io("read", archive)(error);
    }
    let undecodable = error
        .get_ref()
        .is_some_and(|inner| inner.is::<Undecodable>());
    // The tar reader has no kind of its own for a header that ends too early.
    let cut =
        error.kind() == io::ErrorKind::UnexpectedEof || error.to_string().contains("entire block");
    let fault = match (undecodable, cut) {
        (true, _) => Fault::Compression(error),
        (false, true) => Fault::Truncated,
        (false, false) => Fault::Structure(error.to_string()),
    };
    bad(archive, fault)
}

pub(crate) fn bad(archive: &Path, fault: Fault) -> Error {
    Error::BadArchive {
        archive: archive.to_owned(),
        fault,
    }
}

/// The bytes of one item, hashed as they are read.
pub(crate) struct Content<'c, 'b> {
    archive: &'c Path,
    from: &'c mut dyn Read,
    buffer: &'b mut [u8],
    hasher: blake3::Hasher,
    size: u64,
}

impl Content<'_, '_> {
    /// The next bytes; none at the end.
    pub(crate) fn next_chunk(&mut self) -> Result<&[u8], Error> {
        loop {
            match self.from.read(self.buffer) {
                Ok(count) => {
                    let chunk = &self.buffer[..count];
                    self.hasher.update(chunk);
                    self.size += count as u64;
                    return Ok(chunk);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(fault(self.archive, error)),
            }
        }
    }

    /// Reads to the end and compares with what is listed.
    fn take_all(mut self, item: &Item, each: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
        loop {
            let chunk = self.next_chunk()?;
            if chunk.is_empty() {
                break;
            }
            each(chunk);
        }
        let ItemKind::File { size, digest, .. } = &item.kind else {
            return Ok(());
        };
        if self.size < *size {
            return Err(bad(self.archive, Fault::Truncated));
        }
        let actual = Digest::from_bytes(*self.hasher.finalize().as_bytes());
        if actual == *digest {
            return Ok(());
        }
        let why = format!("its digest is {actual}, {digest} is listed");
        Err(bad(
            self.archive,
            Fault::NotAsListed {
                path: item.path.clone(),
                why,
            },
        ))
    }
}

/// Hashes a file as it is read.
struct Hashed<R> {
    file: R,
    hasher: blake3::Hasher,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}

/// Marks the decoder's errors, so that they can be told from the tar reader's.
struct Decompressed<R>(R);

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Undecodable(io::Error);

impl<R: Read> Read for Decompressed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::Interrupted => error,
            _ if error.raw_os_error().is_some() => error,
            kind => io::Error::new(kind, Undecodable(error)),
        })
    }
}
