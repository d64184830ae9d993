use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
};

use serde_json::Value;
use wright_query::{Document, Index};

use crate::Target;

/// The longest filter, bytes: parsing is recursive.
pub const MAX_FILTER: usize = 4 << 10;
/// The most brackets that may be open at once.
const MAX_DEPTH: usize = 32;
/// A kind that nobody has declared: what is wrong of it is wrong of every kind.
const UNKNOWN: &str = "resource";

/// Why a filter cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// Too long, or too deep.
    #[error("the filter is too large: at most {MAX_FILTER} bytes and {MAX_DEPTH} open brackets")]
    TooLarge,
    /// None of the rule's kinds has what it names, or it is not CEL.
    #[error("the filter `{text}` is wrong: {source}")]
    Wrong {
        /// The filter.
        text: String,
        /// What is wrong, for the first of the kinds.
        #[source]
        source: wright_query::FilterError,
    },
    /// It looks at other resources, which change without the one that is decided on.
    #[error("the filter `{text}` follows references")]
    Follows {
        /// The filter.
        text: String,
    },
}

/// A CEL expression over one resource, as queries understand it.
pub(crate) struct Filter {
    pub(crate) text: String,
    /// By kind; none: it says nothing of resources of the kind.
    by_kind: HashMap<String, Option<wright_query::Filter>>,
    /// It has kinds and no documents.
    kinds: Arc<Index>,
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Filter").field(&self.text).finish()
    }
}

impl Filter {
    /// For a rule on some kinds, of which `*` is all.
    pub(crate) fn compile(
        text: &str,
        on: &[String],
        kinds: &Arc<Index>,
    ) -> Result<Self, FilterError> {
        if text.len() > MAX_FILTER || depth(text) > MAX_DEPTH {
            return Err(FilterError::TooLarge);
        }
        let mut filter = Filter {
            text: text.to_owned(),
            by_kind: HashMap::new(),
            kinds: kinds.clone(),
        };
        let mut concerned: Vec<&str> = on.iter().map(String::as_str).collect();
        if let Some(at) = concerned.iter().position(|kind| *kind == "*") {
            concerned.swap_remove(at);
            concerned.extend(kinds.kinds());
            concerned.push(UNKNOWN);
        }
        let mut wrong = None;
        for kind in concerned {
            let own = filter.of_kind(kind);
            let understood = match own {
                Ok(own) => Some(own),
                Err(error) => {
                    wrong.get_or_insert(error);
                    None
                }
            };
            filter.by_kind.insert(kind.to_owned(), understood);
        }
        match wrong {
            Some(error) if filter.by_kind.values().all(Option::is_none) => Err(error),
            _ => Ok(filter),
        }
    }

    fn of_kind(&self, kind: &str) -> Result<wright_query::Filter, FilterError> {
        let text = || self.text.clone();
        let filter = wright_query::Filter::compile(&self.text, kind, &self.kinds);
        let filter = filter.map_err(|source| FilterError::Wrong {
            text: text(),
            source,
        })?;
        match filter.relations().is_empty() {
            true => Ok(filter),
            false => Err(FilterError::Follows { text: text() }),
        }
    }

    /// What it is on a kind, if anything.
    pub(crate) fn on(&self, kind: &str) -> Option<Cow<'_, wright_query::Filter>> {
        match self.by_kind.get(kind) {
            Some(filter) => filter.as_ref().map(Cow::Borrowed),
            None => self.of_kind(kind).ok().map(Cow::Owned),
        }
    }

    /// Whether it is true of the target. Where it cannot be told, such as of a field that is not
    /// there, it is not.
    pub(crate) fn holds(&self, target: &Target<'_>) -> bool {
        let (Some(body @ Value::Object(_)), Some(filter)) = (target.body, self.on(target.kind))
        else {
            return false;
        };
        let none = BTreeMap::new();
        let document = Document {
            kind: target.kind,
            name: target.name,
            labels: target.labels.unwrap_or(&none),
            body,
        };
        filter.matches(&document, &self.kinds)
    }
}

fn depth(text: &str) -> usize {
    let (mut open, mut deepest) = (0_usize, 0);
    for c in text.chars() {
        match c {
            '(' | '[' | '{' | '!' | '-' | '?' => open += 1,
            ')' | ']' | '}' => open = open.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(open);
    }
    deepest
}
