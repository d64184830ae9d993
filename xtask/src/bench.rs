//! `cargo xtask bench`.

use crate::Result;

/// Measures one thing.
pub async fn bench(name: &str, _runs: usize) -> Result {
    Err(format!("there is no bench {name:?}").into())
}
