use std::fmt;

use serde_json::Value;

use crate::{Inventory, InventoryError, Resource, kind::sealed};

/// What seals the secret fields of resources, so that their clear values are in no store, history or
/// feed.
pub trait Sealer: Send + Sync + fmt::Debug {
    /// A text sealed for one place, `KIND/NAME/FIELD`.
    ///
    /// # Errors
    /// Why it cannot be sealed.
    fn seal(&self, place: &str, clear: &str) -> Result<String, String>;

    /// The text that was sealed for this place.
    ///
    /// # Errors
    /// Why it cannot be opened, such as that it was sealed for another place.
    fn open(&self, place: &str, sealed: &str) -> Result<String, String>;
}

/// The place of a secret field.
pub(crate) fn place(kind: &str, name: &str, field: &str) -> String {
    format!("{kind}/{name}/{field}")
}

impl Inventory {
    /// A secret field in clear. Who may see it, and that it was seen, is the caller's business.
    ///
    /// # Errors
    /// Where the store fails, or the secret cannot be opened.
    pub async fn reveal(
        &self,
        kind: &str,
        name: &str,
        field: &str,
    ) -> Result<Option<String>, InventoryError> {
        let resource = self.resource(kind, name).await?;
        let value = resource
            .as_ref()
            .and_then(|resource| resource.body.get(field));
        let (Some(text), Some(sealer)) = (value.and_then(sealed), &self.sealer) else {
            return Ok(None);
        };
        let place = place(kind, name, field);
        let opened = sealer.open(&place, text);
        opened
            .map(Some)
            .map_err(|reason| InventoryError::Sealed { place, reason })
    }

    /// A resource with its secret fields in clear, for the platform's own use.
    ///
    /// # Errors
    /// Where one cannot be opened.
    pub fn in_clear(&self, mut resource: Resource) -> Result<Resource, InventoryError> {
        let (Some(sealer), Value::Object(body)) = (&self.sealer, &mut resource.body) else {
            return Ok(resource);
        };
        for (field, value) in body {
            let Some(text) = sealed(value) else {
                continue;
            };
            let place = place(&resource.kind, &resource.name, field);
            let opened = sealer.open(&place, text);
            *value =
                Value::String(opened.map_err(|reason| InventoryError::Sealed { place, reason })?);
        }
        Ok(resource)
    }
}
