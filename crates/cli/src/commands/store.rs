//! `wright store …`

use std::path::Path;

use serde_json::json;

use crate::{
    args::{Format, StoreCommand},
    failure::Failure,
    output,
};

/// Does it.
pub fn run(data: &Path, format: Format, command: StoreCommand) -> Result<(), Failure> {
    let directory = data.join("store");
    let failed = |error: wright_store::StoreError| Failure::failed(error.to_string());
    match command {
        StoreCommand::Check => {
            let summary = wright_store::check(&directory).map_err(failed)?;
            let (keys, newest, oldest) = (summary.keys, summary.newest, summary.oldest);
            let found = json!({ "keys": keys, "newest": newest, "oldest": oldest });
            output::print(format, &found, |_| summary.to_string())?;
        }
        StoreCommand::Backup { file } => {
            wright_store::backup(&directory, &file).map_err(failed)?;
            output::say(&format!("the store was copied to {}", file.display()));
        }
        StoreCommand::Restore { file, replace } => {
            let (summary, kept) =
                wright_store::restore(&directory, &file, replace).map_err(failed)?;
            output::say(&summary.to_string());
            if let Some(kept) = kept {
                output::say(&format!("what was there before is {}", kept.display()));
            }
        }
        StoreCommand::Copy { from, to } => {
            let copied = super::roles::runtime()?.block_on(wright_store::copy(&from, &to));
            output::say(&copied.map_err(failed)?.to_string());
        }
    }
    Ok(())
}
