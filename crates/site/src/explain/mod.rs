//! What a site is, and why what does not run does not.

mod cause;
mod tree;

pub use cause::{Explanation, explain};
pub use tree::{AppStatus, InstanceView, SiteStatus, status};
