//! A filter after it was compiled: names are resolved, what is constant is a value.

use std::fmt;

use regex::Regex;

use crate::{
    schema::Sort,
    value::{List, Value},
};

/// A constant.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Time(i64),
    Span(i64),
    List(Vec<Literal>),
}

/// A field of the document at hand.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Field {
    /// Joined by dots: the name of the column.
    pub(crate) path: String,
    pub(crate) keys: Vec<String>,
    pub(crate) sort: Sort,
}

/// What is looked at in a document once all references are followed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Leaf {
    Name,
    /// The kind, which is known.
    Kind(String),
    Labels,
    Label(String),
    Field(Field),
    /// The resources of a kind that refer by a field.
    Referrers {
        kind: String,
        path: String,
    },
}

/// Follows a reference.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Hop {
    pub(crate) field: Field,
    pub(crate) kind: String,
}

/// From a document to a value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Path {
    pub(crate) hops: Vec<Hop>,
    pub(crate) leaf: Leaf,
}

/// What is looked at in an element of a list.
#[derive(Debug, Clone)]
pub(crate) enum Within {
    Itself,
    /// Entries of maps.
    Keys(Vec<String>),
    /// A field of the resource that the element is or names.
    Resource {
        kind: String,
        path: Path,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    AtMost,
    Greater,
    AtLeast,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Affix {
    Start,
    End,
    Inside,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quantifier {
    Any,
    All,
    One,
    /// How many: `size(list.filter(x, …))`.
    Count,
}

/// A network: the addresses whose first bits are those of one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network {
    pub(crate) address: std::net::IpAddr,
    pub(crate) bits: u8,
}

#[derive(Debug, Clone)]
pub(crate) enum Expr {
    Literal(Literal),
    Path(Path),
    Has(Path),
    /// An element of the list that so many quantifiers further out go through.
    Element {
        up: usize,
        within: Within,
    },
    HasElement {
        up: usize,
        keys: Vec<String>,
    },
    Compare(Comparison, Box<[Expr; 2]>),
    In(Box<[Expr; 2]>),
    Affix(Affix, Box<[Expr; 2]>),
    Matches(Regex, Box<Expr>),
    Within(Network, Box<Expr>),
    Size(Box<Expr>),
    At(Box<[Expr; 2]>),
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Not(Box<Expr>),
    Each(Quantifier, Box<[Expr; 2]>),
    Arithmetic(Arithmetic, Box<[Expr; 2]>),
    Negate(Box<Expr>),
    Choice(Box<[Expr; 3]>),
    /// The names along the main line, from the document's own outwards: it can be shown and compared, and
    /// has no value by itself.
    Line(Vec<Expr>),
}

impl Literal {
    pub(crate) fn value(&self) -> Value<'_> {
        match self {
            Literal::Null => Value::Null,
            Literal::Bool(value) => Value::Bool(*value),
            Literal::Int(value) => Value::Int(*value),
            Literal::Float(value) => Value::Float(*value),
            Literal::Text(text) => Value::Text(text),
            Literal::Time(at) => Value::Time(*at),
            Literal::Span(span) => Value::Span(*span),
            Literal::List(elements) => Value::List(List::Literal(elements)),
        }
    }
}

impl Network {
    pub(crate) fn contains(self, text: &str) -> Option<bool> {
        let text = text.split('/').next().unwrap_or(text);
        let bits = |address: std::net::IpAddr| match address {
            std::net::IpAddr::V4(address) => (32, u128::from(address.to_bits())),
            std::net::IpAddr::V6(address) => (128, address.to_bits()),
        };
        let ((width, own), (other_width, other)) = (bits(self.address), bits(text.parse().ok()?));
        let shift = u32::from(width - self.bits.min(width));
        let first = |address: u128| address.checked_shr(shift).unwrap_or(0);
        Some(width == other_width && first(own) == first(other))
    }
}

impl Expr {
    /// The expressions inside.
    pub(crate) fn inner(&self) -> &[Expr] {
        match self {
            Expr::Literal(_)
            | Expr::Path(_)
            | Expr::Has(_)
            | Expr::Element { .. }
            | Expr::HasElement { .. } => &[],
            Expr::Compare(_, two)
            | Expr::In(two)
            | Expr::Affix(_, two)
            | Expr::At(two)
            | Expr::Each(_, two)
            | Expr::Arithmetic(_, two) => &two[..],
            Expr::Choice(three) => &three[..],
            Expr::Matches(_, one)
            | Expr::Within(_, one)
            | Expr::Size(one)
            | Expr::Not(one)
            | Expr::Negate(one) => std::slice::from_ref(one),
            Expr::And(many) | Expr::Or(many) | Expr::Line(many) => many,
        }
    }

    fn inner_mut(&mut self) -> &mut [Expr] {
        match self {
            Expr::Literal(_)
            | Expr::Path(_)
            | Expr::Has(_)
            | Expr::Element { .. }
            | Expr::HasElement { .. } => &mut [],
            Expr::Compare(_, two)
            | Expr::In(two)
            | Expr::Affix(_, two)
            | Expr::At(two)
            | Expr::Each(_, two)
            | Expr::Arithmetic(_, two) => &mut two[..],
            Expr::Choice(three) => &mut three[..],
            Expr::Matches(_, one)
            | Expr::Within(_, one)
            | Expr::Size(one)
            | Expr::Not(one)
            | Expr::Negate(one) => std::slice::from_mut(one),
            Expr::And(many) | Expr::Or(many) | Expr::Line(many) => many,
        }
    }

    /// Every path from the document itself.
    pub(crate) fn paths<'e>(&'e self, each: &mut impl FnMut(&'e Path)) {
        if let Expr::Path(path) | Expr::Has(path) = self {
            each(path);
        }
        self.inner().iter().for_each(|inner| inner.paths(each));
    }

    /// Every path within elements of lists, with the kind of the elements.
    pub(crate) fn elements<'e>(&'e self, each: &mut impl FnMut(&'e str, &'e Path)) {
        if let Expr::Element {
            within: Within::Resource { kind, path },
            ..
        } = self
        {
            each(kind, path);
        }
        self.inner().iter().for_each(|inner| inner.elements(each));
    }

    /// The same as seen from where the paths' first reference leads.
    pub(crate) fn beyond_hop(&self) -> Expr {
        let mut expr = self.clone();
        expr.strip();
        expr
    }

    fn strip(&mut self) {
        if let Expr::Path(path) | Expr::Has(path) = self
            && !path.hops.is_empty()
        {
            path.hops.remove(0);
        }
        self.inner_mut().iter_mut().for_each(Expr::strip);
    }

    /// The path that the expression is about, where it is about one only.
    pub(crate) fn only_path(&self) -> Option<&Path> {
        let (mut only, mut others) = (None, false);
        self.paths(&mut |path| match only {
            None => only = Some(path),
            Some(first) => others |= first != path,
        });
        only.filter(|_| !others)
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Literal::Time(at) => write!(f, "timestamp({})", Value::Time(*at).to_json()),
            Literal::Span(span) => write!(f, "duration({})", Value::Span(*span).to_json()),
            literal => write!(f, "{}", literal.value().to_json()),
        }
    }
}

impl fmt::Display for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Leaf::Name => f.write_str("name"),
            Leaf::Kind(_) => f.write_str("kind"),
            Leaf::Labels => f.write_str("labels"),
            Leaf::Label(key) => write!(f, "labels.{key}"),
            Leaf::Field(field) => f.write_str(&field.path),
            Leaf::Referrers { kind, path } => write!(f, "({kind} by {path})"),
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.hops
            .iter()
            .try_for_each(|hop| write!(f, "{}.", hop.field.path))?;
        write!(f, "{}", self.leaf)
    }
}

impl fmt::Display for Expr {
    /// For `explain`: near to how it was written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, exprs: &[Expr], by: &str| {
            f.write_str("(")?;
            for (at, expr) in exprs.iter().enumerate() {
                write!(f, "{}{expr}", if at > 0 { by } else { "" })?;
            }
            f.write_str(")")
        };
        match self {
            Expr::Literal(literal) => write!(f, "{literal}"),
            Expr::Path(path) => write!(f, "{path}"),
            Expr::Has(path) => write!(f, "has({path})"),
            Expr::Element { within, .. } => match within {
                Within::Itself => f.write_str("element"),
                Within::Keys(keys) => write!(f, "element.{}", keys.join(".")),
                Within::Resource { path, .. } => write!(f, "element.{path}"),
            },
            Expr::HasElement { keys, .. } => write!(f, "has(element.{})", keys.join(".")),
            Expr::Compare(comparison, two) => {
                let sign = match comparison {
                    Comparison::Equal => "==",
                    Comparison::NotEqual => "!=",
                    Comparison::Less => "<",
                    Comparison::AtMost => "<=",
                    Comparison::Greater => ">",
                    Comparison::AtLeast => ">=",
                };
                write!(f, "{} {sign} {}", two[0], two[1])
            }
            Expr::In(two) => write!(f, "{} in {}", two[0], two[1]),
            Expr::Affix(affix, two) => {
                let name = match affix {
                    Affix::Start => "startsWith",
                    Affix::End => "endsWith",
                    Affix::Inside => "contains",
                };
                write!(f, "{}.{name}({})", two[0], two[1])
            }
            Expr::Matches(pattern, one) => write!(f, "{one}.matches({:?})", pattern.as_str()),
            Expr::Within(network, one) => {
                write!(f, "{one} in {}/{}", network.address, network.bits)
            }
            Expr::Size(one) => write!(f, "size({one})"),
            Expr::At(two) => write!(f, "{}[{}]", two[0], two[1]),
            Expr::And(many) => list(f, many, " && "),
            Expr::Or(many) => list(f, many, " || "),
            Expr::Not(one) => write!(f, "!{one}"),
            Expr::Each(quantifier, two) => {
                let name = match quantifier {
                    Quantifier::Any => "exists",
                    Quantifier::All => "all",
                    Quantifier::One => "exists_one",
                    Quantifier::Count => "count",
                };
                write!(f, "{}.{name}({})", two[0], two[1])
            }
            Expr::Arithmetic(operation, two) => {
                let sign = match operation {
                    Arithmetic::Add => "+",
                    Arithmetic::Subtract => "-",
                    Arithmetic::Multiply => "*",
                    Arithmetic::Divide => "/",
                    Arithmetic::Remainder => "%",
                };
                write!(f, "({} {sign} {})", two[0], two[1])
            }
            Expr::Negate(one) => write!(f, "-{one}"),
            Expr::Choice(three) => write!(f, "({} ? {} : {})", three[0], three[1], three[2]),
            Expr::Line(_) => f.write_str("path"),
        }
    }
}
