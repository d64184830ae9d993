//! Package archives on their way to the agents.

use std::{
    io,
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use tokio::{
    fs::{self, File},
    io::AsyncReadExt,
    sync::mpsc,
};
use tonic::Status;
use wright_model::Digest;
use wright_protocol::wire::{ArchivePart, archive_part::Part};

/// How much of an archive is read and sent at once, bytes. Small, because each agent that fetches
/// several archives has several of these in memory, and the allocator keeps what was large once.
const CHUNK: usize = 64 * 1024;

/// Where package archives lie.
#[async_trait]
pub trait Archives: Send + Sync {
    /// The files with the archive and its detached signature, if they are here.
    fn files(&self, digest: Digest) -> Option<(PathBuf, PathBuf)>;

    /// The same, from wherever it is to be had.
    async fn find(&self, digest: Digest) -> Option<(PathBuf, PathBuf)> {
        self.files(digest)
    }
}

impl<F: Fn(Digest) -> Option<(PathBuf, PathBuf)> + Send + Sync> Archives for F {
    fn files(&self, digest: Digest) -> Option<(PathBuf, PathBuf)> {
        self(digest)
    }
}

/// What an archive's stream is written to. It holds two parts at most: a slow reader makes the
/// file wait, not memory grow.
pub(crate) type ToReader = mpsc::Sender<Result<ArchivePart, Status>>;

/// Sends signature and archive; ends early when nobody reads any more.
pub(crate) async fn send((archive, signature): (PathBuf, PathBuf), to: ToReader) {
    if let Err(error) = copy(&archive, &signature, &to).await {
        tracing::error!(archive = %archive.display(), %error, "an archive cannot be read");
        let _ = to
            .send(Err(Status::internal("the server cannot read the archive")))
            .await;
    }
}

async fn copy(archive: &Path, signature: &Path, to: &ToReader) -> io::Result<()> {
    let signature = fs::read(signature).await?;
    let mut file = File::open(archive).await?;
    // As much as the chunk: the default splits a read into 2 MiB at most, but reads less at first.
    file.set_max_buf_size(CHUNK);
    let mut part = Part::Signature(signature);
    while to.send(Ok(ArchivePart { part: Some(part) })).await.is_ok() {
        let mut data = Vec::with_capacity(CHUNK);
        if (&mut file)
            .take(CHUNK as u64)
            .read_to_end(&mut data)
            .await?
            == 0
        {
            break;
        }
        part = Part::Data(data);
    }
    Ok(())
}
