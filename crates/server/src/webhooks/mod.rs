//! Webhooks: changes of resources, posted to whoever cannot keep a connection open.
//!
//! A webhook is a resource of the kind `webhook`. The leading server posts its changes one after the
//! other, signed as the Standard Webhooks specification says (`webhook-id`, `webhook-timestamp`,
//! `webhook-signature`). How far a webhook has come is in the store: what was posted and not yet noted
//! when a server dies is posted again under the same id. What its receiver refuses again and again
//! becomes a dead letter, and the next one has its turn.

mod courier;
mod deliver;
mod letter;
mod records;
mod tend;
#[cfg(test)]
mod tests;

pub use courier::{Courier, Pace};
pub use letter::{Letter, Secret};
pub use records::{DeadLetter, Failing, Hook, KIND, Post, Records};
pub use tend::Webhooks;
