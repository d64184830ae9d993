//! What a site is, and why what does not run does not.

mod cause;
mod group;
mod scene;
mod tree;

pub use group::{Causes, CommonCause};
pub use scene::{Explanation, Scene, Why};
pub use tree::{AppStatus, InstanceView, SiteStatus, status};
