use wright_query::{Document, Index};

use super::{Equality, Filter};
use crate::{Inventory, InventoryError, Resource};

/// A filter in CEL on the resources of one kind, by what each of them is itself; one that looks at what it
/// refers to is [`Related`](super::Related).
#[derive(Debug)]
pub struct Condition {
    filter: wright_query::Filter,
    equalities: Vec<Equality>,
    /// What it looks at beside the resource; of thousands of watchers each has one.
    nothing: Index,
}

/// Why a filter cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConditionError {
    /// It is not understood.
    #[error("{source}{}", help(source))]
    Filter {
        /// Where, and what was expected.
        #[from]
        source: wright_query::FilterError,
    },
    /// It looks at other resources.
    #[error(
        "the filter looks at resources of {}: only the resource's own fields, name and labels can be used here",
        .0.join(", ")
    )]
    Relations(Vec<String>),
    /// It follows references that nobody could go back.
    #[error(
        "what the filter looks at in the elements of a list cannot be followed: name the list by a field of the resource, or of what it refers to"
    )]
    Unfollowed,
    /// It follows too many references.
    #[error("the filter follows {links} references, each way counted; {most} can be watched")]
    TooFar {
        /// How many.
        links: usize,
        /// How many it may follow.
        most: usize,
    },
    /// Kinds cannot be read.
    #[error(transparent)]
    Inventory(#[from] InventoryError),
}

fn help(error: &wright_query::FilterError) -> String {
    match error.help.as_str() {
        "" => String::new(),
        help => format!("; {help}"),
    }
}

impl Inventory {
    /// Understands a filter on a kind that looks at each resource alone.
    ///
    /// # Errors
    /// What is wrong with it, or that the store failed.
    pub async fn condition(&self, kind: &str, text: &str) -> Result<Condition, ConditionError> {
        let kinds = self.schemas().await?;
        let filter = wright_query::Filter::compile(text, kind, &kinds)?;
        let relations = filter.relations();
        if !relations.is_empty() {
            let relations = relations.into_iter().map(str::to_owned).collect();
            return Err(ConditionError::Relations(relations));
        }
        let equality = |it: wright_query::Equality| Equality {
            path: it.path,
            value: it.value,
        };
        let equalities = filter.equalities().into_iter().map(equality).collect();
        Ok(Condition {
            filter,
            equalities,
            nothing: Index::default(),
        })
    }
}

impl Filter for Condition {
    fn matches(&self, resource: &Resource) -> bool {
        let document = Document {
            kind: &resource.kind,
            name: &resource.name,
            labels: &resource.labels,
            body: &resource.body,
        };
        self.filter.matches(&document, &self.nothing)
    }

    fn equalities(&self) -> &[Equality] {
        &self.equalities
    }
}
