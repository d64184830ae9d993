//! The names of the inventory's keys in the store (see ARCHITECTURE.md).

use uuid::Uuid;
use wright_store::Range;

use crate::kind::is_platform;

/// The store's key of a resource, for guards.
pub fn key(kind: &str, name: &str) -> String {
    format!("r/{kind}/{name}")
}

pub(crate) fn kind_range(kind: &str) -> Range {
    Range::prefix(format!("r/{kind}/"))
}

/// What people say of a resource of the platform. `+` is before `/`, so that one range holds these and
/// all resources.
pub(crate) fn own_key(kind: &str, name: &str) -> String {
    format!("r+/{kind}/{name}")
}

/// What was discovered about a resource of the platform. `-` is between `+` and `/`: the same range has
/// it.
pub(crate) fn discovered_key(kind: &str, name: &str) -> String {
    format!("r-/{kind}/{name}")
}

/// All that was discovered about a kind's resources.
pub(crate) fn discovered_range(kind: &str) -> Range {
    Range::prefix(discovered_key(kind, ""))
}

/// Where people's writes of a resource go.
pub(crate) fn written_key(kind: &str, name: &str) -> String {
    if is_platform(kind) {
        own_key(kind, name)
    } else {
        key(kind, name)
    }
}

/// Everything that people wrote of a kind.
pub(crate) fn written_range(kind: &str) -> Range {
    Range::prefix(written_key(kind, ""))
}

/// All resources, and what people say of those of the platform and agents discover.
pub(crate) fn everything() -> Range {
    Range {
        start: "r+/".into(),
        end: Range::prefix("r/").end,
    }
}

/// The kind and the name of the resource that a key has a part of.
pub(crate) fn resource_in(key: &[u8]) -> Option<(String, String)> {
    let key = std::str::from_utf8(key).ok()?;
    let (part, rest) = key.split_once('/')?;
    let (kind, name) = rest.split_once('/')?;
    matches!(part, "r" | "r+" | "r-").then(|| (kind.to_owned(), name.to_owned()))
}

/// Time-ordered, so that the history is read in order without knowing the commit's revision.
pub(crate) fn history_key(kind: &str, name: &str) -> String {
    format!("h/{kind}/{name}/{}", Uuid::now_v7())
}

pub(crate) fn history_range(kind: &str, name: &str) -> Range {
    Range::prefix(format!("h/{kind}/{name}/"))
}

/// All that is claimed under a constraint.
pub(crate) fn claims(kind: &str, fields: &[String]) -> String {
    format!("u/{kind}/{}/", fields.join("+"))
}

/// Touched by every write that begins to refer to a resource.
pub(crate) fn referred_key(kind: &str, name: &str) -> String {
    format!("n/{kind}/{name}")
}
