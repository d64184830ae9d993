//! Packages.

use axum::{
    Extension, Json,
    extract::{Path, State},
};
use bytes::Bytes;
use wright_model::Name;

use super::{Shared, answer::Refusal, auth::Actor};
use crate::{api::PackageView, library::LibraryError};

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
    body: Bytes,
) -> Result<Json<PackageView>, Refusal> {
    let (signature, archive) = split(&body).ok_or_else(|| {
        LibraryError::Malformed("a signature and an archive were expected".to_owned())
    })?;
    let package = rooms.library.push(archive, signature, &actor.0).await?;
    rooms.shelf.spread(package.id.digest).await?;
    Ok(Json(package))
}

fn split(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = body.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_be_bytes(*length) as usize)
}
