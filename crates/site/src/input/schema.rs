//! The published JSON Schemas (draft 2020-12), so that editors complete and check what people
//! write.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::Value;

use super::files::{Baseline, SiteFile};

/// The schema of a baseline file.
pub fn baseline() -> Value {
    of::<Baseline>("Sitewright baseline")
}

/// The schema of a site file.
pub fn site() -> Value {
    of::<SiteFile>("Sitewright site")
}

fn of<T: JsonSchema>(title: &str) -> Value {
    // Without references, so that walking the schema needs no resolver.
    let settings = SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    schema.insert("title".to_owned(), title.into());
    schema.to_value()
}
