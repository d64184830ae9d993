//! What a filter looks at beside the document that it is asked of, and how it gets there.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    Filter,
    expr::{Expr, Leaf, Path, Within},
    schema::Sort,
};

/// One reference on the way to a document that a filter looks at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Link {
    /// The kind of the documents that refer.
    pub kind: String,
    /// The field by which they do.
    pub field: String,
    /// The kind that they refer to.
    pub to: String,
    /// Whether the way leads from what is referred to, to those that refer.
    pub back: bool,
}

impl Link {
    /// The kind of the documents that it leads to.
    pub fn end(&self) -> &str {
        if self.back { &self.kind } else { &self.to }
    }
}

/// What a filter looks at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach {
    /// The ways from the document to all others, each after those that it begins with.
    pub ways: BTreeSet<Vec<Link>>,
    /// By kind, the paths of the fields: `room`, `labels.team`.
    pub fields: BTreeMap<String, BTreeSet<String>>,
}

impl Filter {
    /// Everything that it looks at; `None` where that cannot be said, because elements of a list that is
    /// chosen by a condition are resources.
    pub fn reach(&self) -> Option<Reach> {
        let mut walk = Walk {
            kind: self.kind(),
            reach: Reach::default(),
            elements: Vec::new(),
        };
        walk.expr(&self.root)?;
        Some(walk.reach)
    }
}

/// A way, the kind at its end, and a path from there.
type Begun<'e> = (Vec<Link>, &'e str, &'e Path);

struct Walk<'e> {
    kind: &'e str,
    reach: Reach,
    /// The ways to the elements of the lists around; none where they are no resources.
    elements: Vec<Option<Vec<Link>>>,
}

impl<'e> Walk<'e> {
    fn expr(&mut self, expr: &'e Expr) -> Option<()> {
        match expr {
            Expr::Each(_, two) => {
                self.expr(&two[0])?;
                let elements = self.list(&two[0]);
                self.elements.push(elements);
                let body = self.expr(&two[1]);
                self.elements.pop();
                body
            }
            expr => match self.begun(expr) {
                Some(begun) => {
                    let (way, kind, path) = begun?;
                    self.path(way, kind, path);
                    Some(())
                }
                None => expr.inner().iter().try_for_each(|inner| self.expr(inner)),
            },
        }
    }

    /// Where an expression that is a path begins, and the path; `Some(None)` where nobody can say.
    fn begun(&self, expr: &'e Expr) -> Option<Option<Begun<'e>>> {
        match expr {
            Expr::Path(path) | Expr::Has(path) => Some(Some((Vec::new(), self.kind, path))),
            Expr::Element {
                up,
                within: Within::Resource { kind, path },
            } => {
                let at = self.elements.len().checked_sub(up + 1);
                let way = at.and_then(|at| self.elements[at].clone());
                Some(way.map(|way| (way, kind.as_str(), path)))
            }
            _ => None,
        }
    }

    /// The way to the elements of a list, where they are resources.
    fn list(&mut self, expr: &'e Expr) -> Option<Vec<Link>> {
        let (way, kind, path) = self.begun(expr)??;
        let (mut way, kind) = self.path(way, kind, path);
        if let Leaf::Field(field) = &path.leaf {
            let Sort::Reference { kind: to, .. } = &field.sort else {
                return None;
            };
            self.link(&mut way, &kind, &field.path, to, false);
        }
        matches!(path.leaf, Leaf::Field(_) | Leaf::Referrers { .. }).then_some(way)
    }

    /// Follows a path from documents of a kind: the way to its end, and the kind there.
    fn path(&mut self, mut way: Vec<Link>, kind: &str, path: &Path) -> (Vec<Link>, String) {
        let mut kind = kind.to_owned();
        for hop in &path.hops {
            self.link(&mut way, &kind, &hop.field.path, &hop.kind, false);
            kind.clone_from(&hop.kind);
        }
        match &path.leaf {
            Leaf::Name | Leaf::Kind(_) => {}
            Leaf::Labels => self.field(&kind, "labels"),
            Leaf::Label(key) => self.field(&kind, &format!("labels.{key}")),
            Leaf::Field(field) => self.field(&kind, &field.path),
            Leaf::Referrers { kind: by, path } => {
                self.link(&mut way, by, path, &kind, true);
                kind.clone_from(by);
            }
        }
        (way, kind)
    }

    fn link(&mut self, way: &mut Vec<Link>, kind: &str, field: &str, to: &str, back: bool) {
        self.field(kind, field);
        way.push(Link {
            kind: kind.to_owned(),
            field: field.to_owned(),
            to: to.to_owned(),
            back,
        });
        self.reach.ways.insert(way.clone());
    }

    fn field(&mut self, kind: &str, path: &str) {
        let fields = self.reach.fields.entry(kind.to_owned()).or_default();
        fields.insert(path.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Index, Schema};

    fn reach(text: &str) -> Reach {
        let mut index = Index::default();
        let rack = ("rack", Sort::reference("rack", "hosts"));
        let peers = ("peers", Sort::reference("host", "peered"));
        index.declare(Schema::new("host", [("model", Sort::Text), rack, peers]));
        let room = ("room", Sort::reference("room", "racks"));
        index.declare(Schema::new("rack", [("units", Sort::Integer), room]));
        index.declare(Schema::new("room", [("floor", Sort::Integer)]));
        let filter = Filter::compile(text, "host", &index).unwrap();
        filter.reach().unwrap()
    }

    /// Each way as the ends of its links, `<` before those that are gone backwards.
    fn ways(text: &str) -> Vec<String> {
        let link = |link: &Link| match link.back {
            true => format!("<{}.{}", link.kind, link.field),
            false => format!("{}.{}>{}", link.kind, link.field, link.to),
        };
        let way = |way: &Vec<Link>| way.iter().map(link).collect::<Vec<_>>().join(" ");
        reach(text).ways.iter().map(way).collect()
    }

    #[test]
    fn every_way_is_named_and_what_it_begins_with_before_it() {
        assert!(ways("host.model == \"x\"").is_empty());
        assert_eq!(
            ways("host.rack.room.floor == 2 || host.rack.units > 4"),
            ["host.rack>rack", "host.rack>rack rack.room>room"]
        );
        assert_eq!(
            ways("size(host.rack.hosts) > 2"),
            ["host.rack>rack", "host.rack>rack <host.rack"]
        );
        assert_eq!(
            ways("host.peers.exists(p, p.rack.room.racks.exists(r, r.units > p.rack.units))"),
            [
                "host.peers>host",
                "host.peers>host host.rack>rack",
                "host.peers>host host.rack>rack rack.room>room",
                "host.peers>host host.rack>rack rack.room>room <rack.room",
            ]
        );
    }

    #[test]
    fn the_fields_that_matter_are_named_by_kind() {
        let reach = reach("host.labels.tier == \"web\" && host.rack.room.floor == 2");
        let fields = |kind: &str| -> Vec<&str> {
            let fields = reach.fields.get(kind).into_iter().flatten();
            fields.map(String::as_str).collect()
        };
        assert_eq!(fields("host"), ["labels.tier", "rack"]);
        assert_eq!(fields("rack"), ["room"]);
        assert_eq!(fields("room"), ["floor"]);
    }
}
