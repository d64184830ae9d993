//! Packages.

use std::io;

use axum::{
    Extension, Json, RequestExt as _,
    extract::{Path, Request, State},
};
use futures::TryStreamExt as _;
use http_body_util::LengthLimitError;
use tokio::{
    fs,
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _},
};
use tokio_util::io::StreamReader;
use wright_model::Name;

use super::{MAX_ARCHIVE, Shared, answer::Refusal, auth::Actor};
use crate::{api::PackageView, library::LibraryError};

/// The longest signature, bytes: one has some two hundred.
const MAX_SIGNATURE: u32 = 64 << 10;

impl From<LibraryError> for Refusal {
    fn from(error: LibraryError) -> Self {
        let detail = error.to_string();
        match error {
            LibraryError::Package(_) | LibraryError::Malformed(_) => {
                Refusal::new(422, "bad-package", "the package was not taken", detail)
            }
            LibraryError::Changed { .. } => {
                Refusal::new(409, "changed-package", "the package was not taken", detail)
            }
            LibraryError::Alone(_) => Refusal::new(
                503,
                "one-server",
                "the package is on one server only",
                detail,
            ),
            LibraryError::Disk(_)
            | LibraryError::Inventory(_)
            | LibraryError::Trust(_)
            | LibraryError::Peer(_) => Refusal::internal(detail),
        }
    }
}

/// All packages.
#[utoipa::path(get, path = "/packages", responses((status = 200, description = "The packages.", body = serde_json::Value)))]
pub async fn list(State(rooms): Shared) -> Result<Json<Vec<PackageView>>, Refusal> {
    Ok(Json(rooms.library.list().await.map_err(Refusal::internal)?))
}

/// All versions of one package.
#[utoipa::path(get, path = "/packages/{name}", params(("name" = String, Path)), responses((status = 200, description = "Its versions.", body = serde_json::Value)))]
pub async fn versions(
    State(rooms): Shared,
    Path(name): Path<Name>,
) -> Result<Json<Vec<PackageView>>, Refusal> {
    let mut packages = rooms.library.list().await.map_err(Refusal::internal)?;
    packages.retain(|package| package.id.name == name);
    if packages.is_empty() {
        Err(Refusal::not_found(format!("package {name}")))
    } else {
        Ok(Json(packages))
    }
}

/// Push an archive: four bytes of big-endian length, the detached signature, the archive.
#[utoipa::path(post, path = "/packages", request_body(content = Vec<u8>, content_type = "application/octet-stream"), responses((status = 200, description = "It was taken.", body = serde_json::Value), (status = 409, description = "The version exists with other bytes.", body = serde_json::Value), (status = 422, description = "Its bytes or signature are wrong.", body = serde_json::Value), (status = 503, description = "It was taken, but no second server could be reached; push it again.", body = serde_json::Value)))]
pub async fn push(
    State(rooms): Shared,
    Extension(actor): Extension<Actor>,
    request: Request,
) -> Result<Json<PackageView>, Refusal> {
    let partial = rooms.library.partial();
    let signature = match receive(request, &partial).await {
        Ok(signature) => signature,
        Err(refusal) => {
            let _ = fs::remove_file(&partial).await;
            return Err(refusal);
        }
    };
    let package = rooms.library.push(&partial, &signature, &actor.0).await?;
    rooms.shelf.spread(package.id.digest).await?;
    Ok(Json(package))
}

/// Writes the archive to a file, however large it is, and returns the signature.
async fn receive(request: Request, partial: &std::path::Path) -> Result<Vec<u8>, Refusal> {
    let body = request.into_limited_body().into_data_stream();
    let mut body = StreamReader::new(body.map_err(io::Error::other));
    let length = body.read_u32().await.map_err(cut_short)?;
    if length > MAX_SIGNATURE {
        let message =
            format!("a signature of {length} bytes; at most {MAX_SIGNATURE} were expected");
        return Err(LibraryError::Malformed(message).into());
    }
    let mut signature = vec![0; length as usize];
    body.read_exact(&mut signature).await.map_err(cut_short)?;
    let mut file = fs::File::create(partial).await.map_err(Refusal::internal)?;
    loop {
        let piece = body.fill_buf().await.map_err(cut_short)?;
        if piece.is_empty() {
            break;
        }
        file.write_all(piece).await.map_err(Refusal::internal)?;
        let taken = piece.len();
        body.consume(taken);
    }
    file.sync_all().await.map_err(Refusal::internal)?;
    Ok(signature)
}

/// Why what was sent did not come whole: it is too large, or no signature and archive, or the link broke.
fn cut_short(error: io::Error) -> Refusal {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(error) = cause {
        if error.is::<LengthLimitError>() {
            return Refusal::new(
                413,
                "too-large",
                "the package is too large",
                format!("an archive has at most {} MiB", MAX_ARCHIVE >> 20),
            );
        }
        cause = error.source();
    }
    LibraryError::Malformed(format!("a signature and an archive were expected: {error}")).into()
}
