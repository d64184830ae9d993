//! Names and what follows them.

use cel::common::ast::{CallExpr, Expr as Node, IdedExpr, LiteralValue, operators};

use super::{Compiled, Compiler};
use crate::{
    expr::{Expr, Literal, Within},
    inherit,
    resolve::{self, Key, Wanted, error},
};

impl Compiler<'_> {
    /// The name that a chain of dots and `["…"]` begins with, and what follows it.
    pub(super) fn chain(&self, node: &IdedExpr) -> Option<(String, Vec<Key>)> {
        let key = |name: &str| Key {
            name: name.to_owned(),
            column: self.column(node.id),
        };
        match &node.expr {
            Node::Ident(name) => Some((name.clone(), Vec::new())),
            Node::Select(select) => {
                let (root, mut keys) = self.chain(&select.operand)?;
                keys.push(key(&select.field));
                Some((root, keys))
            }
            Node::Call(CallExpr {
                func_name,
                target,
                args,
            }) if func_name == operators::INDEX => {
                let (of, at) = match (target, args.as_slice()) {
                    (Some(of), [at]) => (&**of, at),
                    (None, [of, at]) => (of, at),
                    _ => return None,
                };
                let Node::Literal(LiteralValue::String(name)) = &at.expr else {
                    return None;
                };
                let (root, mut keys) = self.chain(of)?;
                keys.push(key(name.inner()));
                Some((root, keys))
            }
            _ => None,
        }
    }

    pub(super) fn is_document(&self, name: &str) -> bool {
        name == "self" || name == self.kind.replace('-', "_")
    }

    pub(super) fn path(&mut self, node: &IdedExpr) -> Compiled {
        let test = matches!(&node.expr, Node::Select(select) if select.test);
        let Some((root, mut keys)) = self.chain(node) else {
            return self.select_of_expression(node, test);
        };
        self.place(node, &mut keys);
        let found = self
            .elements
            .iter()
            .rev()
            .position(|element| element.name == root);
        if let Some(up) = found {
            return self.element(up, &keys, test);
        }
        if !self.is_document(&root) {
            let ident = self.kind.replace('-', "_");
            let message = format!("{root} is not known");
            let help = if keys.is_empty() {
                format!("a field is written {ident}.{root}")
            } else {
                format!("the resource is called {ident} or self")
            };
            return Err(error(
                self.column(node.id).min(self.first_column(node)),
                message,
                help,
            ));
        }
        let wanted = if test {
            Wanted::Presence
        } else {
            Wanted::Value
        };
        inherit::expression(self.view, self.kind, &keys, wanted)
    }

    /// Where the leftmost name of a chain stands.
    pub(super) fn first_column(&self, node: &IdedExpr) -> u32 {
        match &node.expr {
            Node::Select(select) => self.first_column(&select.operand),
            Node::Call(call) => match (&call.target, call.args.first()) {
                (Some(first), _) => self.first_column(first),
                (None, Some(first)) => self.first_column(first),
                _ => self.column(node.id),
            },
            _ => self.column(node.id),
        }
    }

    /// The places of keys, where they are written one after the other.
    fn place(&self, node: &IdedExpr, keys: &mut [Key]) {
        let text: Vec<char> = self.source.source.chars().collect();
        let mut at = (self.first_column(node) as usize).saturating_sub(1);
        for key in keys {
            let name: Vec<char> = key.name.chars().collect();
            let ends = |at: usize| {
                let after = text.get(at + name.len());
                after.is_none_or(|c| !c.is_alphanumeric() && *c != '_')
            };
            let found = (at + 1..text.len()).find(|at| text[*at..].starts_with(&name) && ends(*at));
            if let Some(found) = found {
                key.column = u32::try_from(found + 1).unwrap_or(key.column);
                at = found;
            }
        }
    }

    pub(super) fn select_of_expression(&mut self, node: &IdedExpr, test: bool) -> Compiled {
        match &node.expr {
            Node::Select(select) if !test => {
                let of = self.expr(&select.operand)?;
                let key = Expr::Literal(Literal::Text(select.field.clone()));
                Ok(Expr::At(Box::new([of, key])))
            }
            _ => {
                let message = "has() takes a field of the resource".to_owned();
                Err(error(self.column(node.id), message, ""))
            }
        }
    }

    fn element(&self, up: usize, keys: &[Key], test: bool) -> Compiled {
        let element = &self.elements[self.elements.len() - 1 - up];
        let names = || keys.iter().map(|key| key.name.clone()).collect();
        let within = match (&element.kind, keys) {
            (_, []) => Within::Itself,
            (Some(kind), keys) => {
                let path = resolve::path(self.view, kind, keys, Wanted::Value)?;
                if test {
                    let message = "has() of a field of another resource is not possible in a list";
                    let column = keys.first().map_or(1, |key| key.column);
                    return Err(error(column, message.to_owned(), "compare the field"));
                }
                Within::Resource {
                    kind: kind.clone(),
                    path,
                }
            }
            (None, _) if test => return Ok(Expr::HasElement { up, keys: names() }),
            (None, _) => Within::Keys(names()),
        };
        Ok(Expr::Element { up, within })
    }
}
