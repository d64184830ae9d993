//! `cargo xtask bench NAME`: measures beside its peers, all in one run.

mod ansible;
pub mod inventory;
mod lookup;
mod process;
mod results;
mod scale;
mod site;
mod wright;

use crate::Result;

/// Measures one thing `runs` times (the inventory once, with so many resources; of `scale` perhaps only
/// a part) and writes `bench/results/NAME.json`.
///
/// # Errors
/// When there is no bench of this name, or when something it measures does not work. A target that
/// is missed is a result, not an error.
pub async fn bench(name: &str, runs: usize, resources: Option<u64>, only: Option<&str>) -> Result {
    match name {
        "inventory" => inventory::inventory(resources.unwrap_or(inventory::RESOURCES)).await,
        "scale" => scale::scale(runs.max(1), only).await,
        "site" => site::site(runs.max(1)).await,
        _ => Err(format!("there is no bench {name:?}; there are: inventory, scale, site").into()),
    }
}
