//! Macros over lists.

use cel::common::ast::{ComprehensionExpr, Expr as Node, IdedExpr, operators};

use super::{Compiled, Compiler, Element};
use crate::{
    expr::{Expr, Leaf, Path, Quantifier},
    resolve::error,
    schema::Sort,
};

impl Compiler<'_> {
    /// A macro over a list, as CEL's parser expanded it.
    pub(super) fn each(
        &mut self,
        comprehension: &ComprehensionExpr,
        id: u64,
        as_count: Option<Quantifier>,
    ) -> Compiled {
        let column = self.column(id);
        let step = match &comprehension.loop_step.expr {
            Node::Call(call) => Some((call.func_name.as_str(), call.args.as_slice())),
            _ => None,
        };
        let found = match (step, as_count) {
            (Some((operators::LOGICAL_OR, [_, body])), None) => Some((Quantifier::Any, body)),
            (Some((operators::LOGICAL_AND, [_, body])), None) => Some((Quantifier::All, body)),
            (Some((operators::CONDITIONAL, [body, yes, _])), as_count) => {
                // `filter` adds the element itself; `map` with a condition something else.
                let is_one = matches!(comprehension.accu_init.expr, Node::Literal(_));
                match as_count {
                    None if is_one => Some((Quantifier::One, body)),
                    Some(count) if adds(yes, &comprehension.iter_var) => Some((count, body)),
                    _ => None,
                }
            }
            _ => None,
        };
        let Some((quantifier, body)) = found else {
            let message = "map and filter make lists, which are no condition".to_owned();
            return Err(error(
                column,
                message,
                "write exists(…), or size(….filter(…))",
            ));
        };
        let list = self.expr(&comprehension.iter_range)?;
        let kind = match &list {
            Expr::Path(Path {
                leaf: Leaf::Referrers { kind, .. },
                ..
            }) => Some(kind.clone()),
            Expr::Path(Path {
                leaf: Leaf::Field(field),
                ..
            }) => match &field.sort {
                Sort::Reference { kind, .. } => Some(kind.clone()),
                _ => None,
            },
            _ => None,
        };
        let name = comprehension.iter_var.clone();
        self.elements.push(Element { name, kind });
        let body = self.condition(body);
        self.elements.pop();
        Ok(Expr::Each(quantifier, Box::new([list, body?])))
    }
}

/// Whether a step of `filter` adds the element of this name.
fn adds(step: &IdedExpr, name: &str) -> bool {
    let Node::Call(call) = &step.expr else {
        return false;
    };
    let Some(Node::List(list)) = call.args.last().map(|added| &added.expr) else {
        return false;
    };
    matches!(list.elements.as_slice(), [IdedExpr { expr: Node::Ident(added), .. }] if added == name)
}
