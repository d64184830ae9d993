//! What every endpoint needs, in one table: an endpoint that is not in it is refused, and a test finds
//! it. The gate decides before the handler; the reveal leaves out of the answer what the caller may
//! not see; every write, refused or not, is written to the audit.

mod note;
mod pass;
mod reveal;
mod stream;
mod table;
#[cfg(test)]
pub mod tests;

pub use note::Deed;
pub use pass::{Peer, pass, require};
pub use reveal::Eyes;
pub use table::TABLE;

use wright_access::Act;

/// What must be so before a handler is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// Nothing: whoever comes has not shown who he is yet.
    Anybody,
    /// The caller is known. What he is shown is decided in the answer, or by the handler.
    Known,
    /// The caller may do this to that.
    Needs(Act, On),
    /// As `Needs`, and the caller may read all of these kinds on the same site: the answer is made of
    /// them, and cannot be taken apart.
    NeedsWhole(Act, On, &'static [&'static str]),
}

/// What is acted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// A kind as a whole.
    All(&'static str),
    /// Something of a kind; the handler finds out what, and asks again.
    Some(&'static str),
    /// What is named by a parameter of the path.
    One(&'static str, &'static str),
    /// The instance that `site` and `name` of the path name.
    Instance,
    /// The resource that `kind` and `name` of the path name.
    Resource,
}

/// What an answer is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The gate has decided; or it tells nothing of resources.
    Open,
    /// One of these.
    Item(Shape),
    /// A list of them.
    List(Shape),
    /// A list of them under this field.
    Within(&'static str, Shape),
    /// Server-sent events, each one of these.
    Stream(Shape),
}

/// How to find in an item of an answer what it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A resource: its kind, name, labels and body.
    Resource,
    /// What a write did to a resource: the resource is under `resource`.
    Outcome,
    /// What a resource was; kind and name are the path's.
    Past,
    /// A change of a resource: kind, name, before and after.
    Change,
    /// A host and what its agent says.
    Host,
    /// A package.
    Package,
    /// An instance's record and status.
    Instance,
    /// A line of the list of sites.
    Site,
    /// A job's summary, or all of it.
    Job,
    /// An event: who did what to what.
    Event,
}

/// One endpoint of the API.
#[derive(Debug, Clone, Copy)]
pub struct Endpoint {
    /// The HTTP method.
    pub method: &'static str,
    /// The path below `/api/v1`, as routes write it.
    pub path: &'static str,
    /// What it needs.
    pub gate: Gate,
    /// What it answers.
    pub answer: Answer,
    /// As what it is written to the audit; none: it only reads.
    pub audited: Option<Act>,
}
