use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use utoipa::ToSchema;

use crate::{FilterError, Revision, Step};

/// A question about the documents of one kind, or of all.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Query {
    /// The kind; none: all kinds, which is for counts and groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// A condition in CEL; see [`Filter`](crate::Filter). Over all kinds, those that have not its fields have none
    /// that match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// The group whose members are meant. For those who know groups; the index knows none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Further conditions that must be true, such as those of a group.
    #[serde(skip)]
    pub among: Vec<String>,
    /// Words that all must be there, or begin so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Fields to order by before the name, `-` before those that go downwards.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sort: Vec<String>,
    /// Fields to show beside the name; references are followed: `rack.room.name`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub select: Vec<String>,
    /// Up to four fields: how many there are of each combination of their values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub group_by: Vec<String>,
    /// Only how many there are.
    #[serde(default)]
    pub count: bool,
    /// How many at most; 0: all.
    #[serde(default)]
    pub limit: usize,
    /// Whether to say what was done.
    #[serde(default)]
    pub explain: bool,
    /// To go on with an answer: what it gave as its cursor. For those who keep pages; the index keeps
    /// none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// What was found.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// At which revision.
    pub revision: Revision,
    /// How many there are.
    pub total: u64,
    /// Of one kind: which, the first `limit` in order. For [`Index::page`](crate::Index::page).
    pub rows: Vec<RowNumber>,
    /// How many of each combination, the most first.
    pub groups: Vec<Group>,
    /// What was done.
    pub steps: Vec<Step>,
}

/// Where a document is in its kind, as long as the index keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RowNumber(pub(crate) u32);

/// One document of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = QueryRow)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// The revision that last wrote it.
    #[schema(value_type = u64)]
    pub revision: Revision,
    /// The selected fields, in their order; null where it has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<Value>)]
    pub values: Vec<Json>,
}

/// How many documents have a combination of values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = QueryGroup)]
pub struct Group {
    /// The values; null for none.
    #[schema(value_type = Vec<Value>)]
    pub values: Vec<Json>,
    /// How many.
    pub count: u64,
}

/// Why a query has no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The filter was not understood.
    #[error("the filter is wrong at {0}")]
    Filter(#[from] FilterError),
    /// A field to sort, select or group by was not understood.
    #[error("{what} {path:?}: {}", source.message)]
    Field {
        /// What it was for.
        what: &'static str,
        /// The field.
        path: String,
        /// Why.
        #[source]
        source: FilterError,
    },
    /// It would take too long.
    #[error("the query is refused: it would cost about {} ms, {} ms are allowed; {advice}", cost / 1_000_000, bound / 1_000_000)]
    TooExpensive {
        /// About nanoseconds.
        cost: u64,
        /// What is allowed.
        bound: u64,
        /// What makes it so.
        advice: String,
        /// What would be done.
        steps: Vec<Step>,
    },
    /// Too many groups.
    #[error("there are more than {most} groups: group by fields with fewer values")]
    TooManyGroups {
        /// The most there may be.
        most: usize,
    },
    /// There is no such kind.
    #[error("there is no kind {0:?}")]
    NoKind(String),
    /// Parts that do not go together.
    #[error("{0}")]
    Wrong(String),
}
