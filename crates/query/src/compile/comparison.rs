//! Fields beside constants, which must be what the field holds.

use cel::common::ast::{Expr as Node, IdedExpr, LiteralValue};

use super::{Compiled, Compiler};
use crate::{
    FilterError,
    expr::{Comparison, Expr, Leaf, Literal, Path},
    inherit, line,
    resolve::{self, error},
    schema::{self, Sort},
};

impl Compiler<'_> {
    pub(super) fn contained(&mut self, value: &IdedExpr, holder: &IdedExpr) -> Compiled {
        // A label is asked for by its key.
        if let Some((root, keys)) = self.chain(holder)
            && self.is_document(&root)
            && matches!(keys.as_slice(), [key] if key.name == "labels")
            && let Node::Literal(LiteralValue::String(key)) = &value.expr
        {
            let at_key = self.column(value.id);
            resolve::readable(
                self.view,
                self.kind,
                &format!("labels.{}", key.inner()),
                at_key,
            )?;
            let leaf = Leaf::Label(key.inner().to_owned());
            return Ok(Expr::Has(Path {
                hops: Vec::new(),
                leaf,
            }));
        }
        let (value, at) = (self.expr(value)?, holder.id);
        let holder = self.expr(holder)?;
        inherit::of_each(value, &mut |value| {
            inherit::of_each(holder.clone(), &mut |holder| {
                let mut two = [value.clone(), holder];
                if let [Expr::Path(path), Expr::Literal(Literal::List(elements))] = &mut two {
                    for element in elements {
                        self.fit(path, element, at)?;
                    }
                }
                Ok(Expr::In(Box::new(two)))
            })
        })
    }

    pub(super) fn compare(
        &mut self,
        comparison: Comparison,
        a: &IdedExpr,
        b: &IdedExpr,
    ) -> Compiled {
        use Comparison::{AtLeast, AtMost, Greater, Less};
        let (mut two, mut comparison) = ([self.expr(a)?, self.expr(b)?], comparison);
        let mut at = b.id;
        if matches!(two, [Expr::Literal(_), _]) && !matches!(two, [_, Expr::Literal(_)]) {
            two.reverse();
            at = a.id;
            comparison = match comparison {
                Less => Greater,
                AtMost => AtLeast,
                Greater => Less,
                AtLeast => AtMost,
                same => same,
            };
        }
        if let [Expr::Line(line), Expr::Literal(Literal::Text(text))] = &two {
            match comparison {
                Comparison::Equal => return Ok(line::is(line, text)),
                Comparison::NotEqual => return Ok(Expr::Not(Box::new(line::is(line, text)))),
                _ => {}
            }
        }
        let [one, other] = two;
        inherit::of_each(one, &mut |one| {
            inherit::of_each(other.clone(), &mut |other| {
                let mut two = [one.clone(), other];
                if let [Expr::Path(path), Expr::Literal(literal)] = &mut two {
                    self.fit(path, literal, at)?;
                }
                Ok(Expr::Compare(comparison, Box::new(two)))
            })
        })
    }

    /// Makes a constant what the field that it is compared with holds, or refuses it.
    fn fit(&self, path: &Path, literal: &mut Literal, id: u64) -> Result<(), FilterError> {
        let sort = match &path.leaf {
            Leaf::Field(field) => &field.sort,
            Leaf::Name | Leaf::Label(_) | Leaf::Kind(_) => &Sort::Text,
            Leaf::Labels | Leaf::Referrers { .. } => return Ok(()),
        };
        if let Literal::Text(text) = literal {
            let read = match sort {
                Sort::Time => schema::time(text).map(Literal::Time),
                Sort::Span => schema::span(text).map(Literal::Span),
                Sort::Bytes => schema::bytes(text).map(Literal::Int),
                _ => None,
            };
            if let Some(read) = read {
                *literal = read;
            }
        }
        let fits = match (sort, &*literal) {
            (_, Literal::Null) | (Sort::Any | Sort::Json, _) => true,
            (Sort::Text, Literal::Text(_)) | (Sort::Boolean, Literal::Bool(_)) => true,
            (Sort::Integer | Sort::Float | Sort::Bytes, literal) => {
                matches!(literal, Literal::Int(_) | Literal::Float(_))
            }
            (Sort::Time, Literal::Time(_)) | (Sort::Span, Literal::Span(_)) => true,
            (Sort::List, Literal::List(_)) => true,
            (Sort::Reference { .. }, Literal::Text(_) | Literal::List(_)) => true,
            _ => false,
        };
        if fits {
            return Ok(());
        }
        let message = format!("{path} holds {}, not {literal}", sort.expected());
        Err(error(self.column(id), message, ""))
    }
}
