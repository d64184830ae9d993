use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::{
    Index, compile,
    eval::{Frame, Here},
    expr::{Comparison, Expr, Leaf, Literal, Path},
    schema::Sort,
    sight::View,
};

/// A document as a writer or a watch has it.
#[derive(Debug, Clone, Copy)]
pub struct Document<'a> {
    /// Its kind.
    pub kind: &'a str,
    /// Its name, unique among its kind.
    pub name: &'a str,
    /// Its labels.
    pub labels: &'a BTreeMap<String, String>,
    /// Its fields.
    pub body: &'a Json,
}

/// A condition on the documents of one kind, written in CEL: `host.model == "compute" &&
/// host.rack.room.name == "b2" && size(host.instances) < 4`.
///
/// The document is called by its kind (a hyphen written as `_`) or `self`. Its fields are at the top,
/// beside `name`, `kind` and `labels`. A field that refers leads to the fields of its target; the
/// resources that refer are a list by the name of the relation.
///
/// It is true, false, or neither, as in CEL: where a field is missing, or of a type that a
/// comparison does not go with. Only what it is true for matches. Other than in CEL, `has(a.b)` is
/// false where `a` is missing.
#[derive(Debug, Clone)]
pub struct Filter {
    kind: String,
    text: String,
    pub(crate) root: Expr,
}

/// Why a filter was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {message}")]
pub struct FilterError {
    /// Where, in characters from 1.
    pub column: u32,
    /// What is wrong, and what was expected.
    pub message: String,
    /// What to write instead; empty where the message says it.
    pub help: String,
}

/// A field that must have a value for a filter to match.
#[derive(Debug, Clone, PartialEq)]
pub struct Equality {
    /// From the document down: `["name"]`, `["labels", "team"]`, `["body", "hardware", "cores"]`.
    pub path: Vec<String>,
    /// Its value: a text, a number (4 and 4.0 are the same), or true or false.
    pub value: Json,
}

impl Filter {
    /// Compiles a filter on a kind whose fields and relations `index` knows.
    ///
    /// # Errors
    /// Where it is no CEL, uses what a filter cannot do, names a field that the kind has not, or
    /// compares a field with what it cannot be.
    pub fn compile(text: &str, kind: &str, index: &Index) -> Result<Self, FilterError> {
        Filter::in_view(text, kind, index.whole())
    }

    /// As somebody sees the index: what he does not see of a kind at all, he cannot name.
    pub(crate) fn in_view(text: &str, kind: &str, view: View<'_>) -> Result<Self, FilterError> {
        let root = compile::compile(text, kind, view)?;
        Ok(Filter {
            kind: kind.to_owned(),
            text: text.to_owned(),
            root,
        })
    }

    /// As [`Filter::compile`], but a field that nothing has is missing, and no mistake.
    pub(crate) fn lenient(text: &str, kind: &str, index: &Index) -> Result<Self, FilterError> {
        let mut view = index.whole();
        view.is_lenient = true;
        Filter::in_view(text, kind, view)
    }

    /// Both.
    pub(crate) fn and(self, other: Filter) -> Self {
        let conjuncts = |root| match root {
            Expr::And(many) => many,
            one => vec![one],
        };
        let mut both = conjuncts(self.root);
        both.extend(conjuncts(other.root));
        Filter {
            root: Expr::And(both),
            ..self
        }
    }

    /// The kind it is about.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it is true for a document. What the document refers to, and what refers to it, is as
    /// in `index`; a filter without [`Filter::relations`] takes an empty one.
    pub fn matches<'v>(&'v self, document: &'v Document<'v>, index: &'v Index) -> bool {
        document.kind == self.kind
            && Frame::new(index.whole(), Here::Document(document)).truth(&self.root) == Some(true)
    }

    /// The other kinds whose resources it looks at: a change of one of them may change what matches.
    pub fn relations(&self) -> Vec<&str> {
        fn of<'e>(kinds: &mut Vec<&'e str>, path: &'e Path) {
            kinds.extend(path.hops.iter().map(|hop| hop.kind.as_str()));
            if let Leaf::Referrers { kind, .. } = &path.leaf {
                kinds.push(kind);
            }
        }
        let mut kinds = Vec::new();
        self.root.paths(&mut |path| of(&mut kinds, path));
        self.root.elements(&mut |kind, path| {
            kinds.push(kind);
            of(&mut kinds, path);
        });
        kinds.sort_unstable();
        kinds.dedup();
        kinds
    }

    /// What a document must have for the filter to match: a watch of many filters needs to ask only
    /// those whose equalities a changed document has.
    pub fn equalities(&self) -> Vec<Equality> {
        let conjuncts = match &self.root {
            Expr::And(conjuncts) => conjuncts.as_slice(),
            root => std::slice::from_ref(root),
        };
        conjuncts.iter().filter_map(equality).collect()
    }
}

fn equality(expr: &Expr) -> Option<Equality> {
    let Expr::Compare(Comparison::Equal, two) = expr else {
        return None;
    };
    let (Expr::Path(path), Expr::Literal(literal)) = (&two[0], &two[1]) else {
        return None;
    };
    let value = match literal {
        Literal::Text(text) => text.as_str().into(),
        Literal::Bool(value) => (*value).into(),
        Literal::Int(value) => (*value).into(),
        Literal::Float(value) => serde_json::Number::from_f64(*value)?.into(),
        _ => return None,
    };
    let path = match &path.leaf {
        _ if !path.hops.is_empty() => return None,
        Leaf::Name => vec!["name"],
        Leaf::Label(key) => vec!["labels", key],
        // Those are compared by what the text means.
        Leaf::Field(field) if !matches!(field.sort, Sort::Time | Sort::Span | Sort::Bytes) => {
            let keys = field.keys.iter().map(String::as_str);
            ["body"].into_iter().chain(keys).collect()
        }
        _ => return None,
    };
    let path = path.into_iter().map(str::to_owned).collect();
    Some(Equality { path, value })
}
