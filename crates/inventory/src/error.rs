use wright_store::StoreError;

use crate::kind::Violation;

/// Why the inventory did not answer.
#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    /// The store failed, or a guard was false.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A value is not what its kind should be.
    #[error("{what} is not what was expected: {source}")]
    Shape {
        /// Which resource or event.
        what: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A kind that is stored, and is none: a newer one that ships has a field of the same name.
    #[error("the kind {name} cannot be used: {}", violations.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    BrokenKind {
        /// Which.
        name: String,
        /// What is wrong with it.
        violations: Vec<Violation>,
    },
    /// A secret that was sealed with another key, for another place, or changed.
    #[error("the secret {place} cannot be opened: {reason}")]
    Sealed {
        /// `KIND/NAME/FIELD`.
        place: String,
        /// Why not.
        reason: String,
    },
    /// A kind or name that cannot be part of a key.
    #[error("{0:?} cannot be a kind or a name: 1 to 200 of letters, digits and -._@ were expected")]
    BadName(String),
}

/// Wraps a JSON error with what it is about.
pub(crate) fn shape(what: impl Into<String>) -> impl FnOnce(serde_json::Error) -> InventoryError {
    let what = what.into();
    move |source| InventoryError::Shape { what, source }
}
