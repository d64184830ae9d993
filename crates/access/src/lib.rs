#![doc = include_str!("../README.md")]
//!
//! The central function is [`allows`]: a pure decision over a [`Caller`] (what somebody is granted,
//! from a compiled [`Policy`]), an [`Act`] and a [`Target`]. [`Tokens`] and [`Passwords`] keep in the
//! store by what callers are known; [`Audit`] keeps there what they did.
//!
//! # Invariants
//! - Nothing is allowed but by a rule: a faulty rule grants nothing.
//! - To take a rule away, or to narrow a token, never allows more.
//! - The store has no token and no password, only what proves them.

mod act;
mod audit;
mod caller;
mod decision;
mod fields;
mod filter;
mod identity;
mod password;
mod policy;
mod role;
mod shipped;
mod shown;
mod target;
mod throttle;
mod tokens;

pub use act::{Act, NoAct};
pub use audit::{Audit, AuditQuery, AuditRecord, NoOutcome, Outcome};
pub use caller::Caller;
pub use decision::{Decision, allows};
pub use fields::Fields;
pub use filter::{FilterError, MAX_FILTER};
pub use identity::{Identity, Scope};
pub use password::{PasswordError, Passwords};
pub use policy::{Fault, Policy, Sources};
pub use role::{Binding, Exceeded, Quota, Role, Rule, Team, User};
pub use shipped::{ADMINISTRATOR, shipped_roles};
pub use target::Target;
pub use throttle::Throttle;
pub use tokens::{Issued, NewToken, TokenError, TokenRecord, TokenSort, Tokens};
