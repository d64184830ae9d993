//! From text to checked values: YAML, its shape, and the two sorts of file people write.

pub(crate) mod files;
pub(crate) mod glance;
pub(crate) mod kinds;
pub mod schema;
pub(crate) mod shape;
pub(crate) mod yaml;
