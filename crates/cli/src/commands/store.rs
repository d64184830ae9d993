//! `wright store …`

use std::path::Path;

use crate::{args::StoreCommand, failure::Failure, output};

/// Does it.
pub fn run(data: &Path, command: StoreCommand) -> Result<(), Failure> {
    let directory = data.join("store");
    let failed = |error: wright_store::StoreError| Failure::failed(error.to_string());
    match command {
        StoreCommand::Check => {
            let summary = wright_store::check(&directory).map_err(failed)?;
            output::say(&summary.to_string());
        }
        StoreCommand::Backup { file } => {
            wright_store::backup(&directory, &file).map_err(failed)?;
            output::say(&format!("the store was copied to {}", file.display()));
        }
        StoreCommand::Copy { from, to } => {
            let copied = super::roles::runtime()?.block_on(wright_store::copy(&from, &to));
            output::say(&copied.map_err(failed)?.to_string());
        }
    }
    Ok(())
}
