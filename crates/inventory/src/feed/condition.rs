use wright_query::{Document, Index};

use super::{Equality, Filter};
use crate::{Inventory, InventoryError, Resource};

/// A filter in CEL on the resources of one kind, by what each of them is itself: what it refers to may
/// change without it, and its watcher would not be told.
#[derive(Debug)]
pub struct Condition {
    filter: wright_query::Filter,
    equalities: Vec<Equality>,
    /// It has kinds and no documents.
    kinds: Index,
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
        "the filter looks at resources of {}, which may change without the one that is watched: only its own fields, name and labels can be used here",
        .0.join(", ")
    )]
    Relations(Vec<String>),
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
    /// Understands a filter on a kind.
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
            kinds,
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
        self.filter.matches(&document, &self.kinds)
    }

    fn equalities(&self) -> &[Equality] {
        &self.equalities
    }
}
