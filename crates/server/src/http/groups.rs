//! Groups, wherever resources are taken: of a kind, by what they are or by their names.

use std::collections::HashSet;

use serde::Deserialize;
use wright_inventory::{
    GROUP, Group,
    catalog::{CatalogError, Query, QueryError},
};
use wright_model::{InstanceRecord, InstanceSpec};
use wright_store::Revision;

use super::{Rooms, answer::Refusal};
use crate::{
    records::{instance_name, kind},
    rights::Known,
};

/// The rows of a page while members are listed.
const PAGE: usize = 10_000;

/// Those of a group that a caller sees.
#[derive(Debug)]
pub struct Members {
    /// Their kind.
    pub kind: String,
    /// Their names.
    pub names: HashSet<String>,
    /// When they were so.
    pub revision: Revision,
}

/// Of a list of hosts or instances.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfGroup {
    /// Only members of this group.
    pub group: Option<String>,
}

impl Members {
    /// Refuses a group that is neither of instances nor of hosts.
    ///
    /// # Errors
    /// That it is.
    pub fn of_instances(&self, name: &str) -> Result<(), Refusal> {
        if [kind::INSTANCE, kind::HOST].contains(&self.kind.as_str()) {
            return Ok(());
        }
        let detail = format!(
            "group {name} is of the kind {}, not instance or host",
            self.kind
        );
        Err(Refusal::new(422, "group", "another kind", detail))
    }

    /// Whether an instance is one of them, or on one of them.
    pub fn have(&self, record: &InstanceRecord) -> bool {
        let InstanceSpec { id, host, .. } = &record.spec;
        match self.kind.as_str() {
            kind::HOST => self.names.contains(host.as_str()),
            _ => self.names.contains(&instance_name(id)),
        }
    }
}

impl Rooms {
    /// What a group is, for a caller who may read it.
    ///
    /// # Errors
    /// That there is none, or that its members are of another kind.
    pub async fn group(
        &self,
        known: &Known,
        name: &str,
        kind: Option<&str>,
    ) -> Result<Group, Refusal> {
        let missing = || Refusal::not_found(format!("group {name}"));
        let found = self.inventory.resource(GROUP, name).await?;
        let found = found.and_then(|found| self.rights.seen(&known.caller, found));
        // Of whom its condition is hidden, the group is.
        let group: Group = found
            .ok_or_else(missing)?
            .body_as()
            .map_err(|_| missing())?;
        match kind {
            Some(kind) if kind != group.kind => {
                let detail = format!("group {name} is of the kind {}, not {kind}", group.kind);
                Err(Refusal::new(422, "group", "another kind", detail))
            }
            _ => Ok(group),
        }
    }

    /// Puts a group's condition in the place of its name.
    ///
    /// # Errors
    /// As [`Rooms::group`].
    pub async fn resolved(&self, known: &Known, mut query: Query) -> Result<Query, Refusal> {
        if let Some(name) = query.group.take() {
            let group = self.group(known, &name, query.kind.as_deref()).await?;
            query.among.push(group.condition());
            query.kind = Some(group.kind);
        }
        Ok(query)
    }

    /// All members of a group that a caller sees.
    ///
    /// # Errors
    /// As [`Rooms::group`]; or that the group's condition is no longer understood.
    pub async fn members(
        &self,
        known: &Known,
        name: &str,
        kind: Option<&str>,
    ) -> Result<Members, Refusal> {
        let query = Query {
            group: Some(name.to_owned()),
            kind: kind.map(str::to_owned),
            limit: PAGE,
            ..Query::default()
        };
        let mut query = self.resolved(known, query).await?;
        let kind = query.kind.clone().unwrap_or_default();
        let mut names = HashSet::new();
        loop {
            let page = self.ask(known, query).await?;
            names.extend(page.rows.into_iter().map(|row| row.name));
            let Some(cursor) = page.cursor else {
                return Ok(Members {
                    kind,
                    names,
                    revision: page.revision,
                });
            };
            query = Query {
                cursor: Some(cursor),
                limit: PAGE,
                ..Query::default()
            };
        }
    }

    /// Answers a query with what a caller sees.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn ask(
        &self,
        known: &Known,
        query: Query,
    ) -> Result<wright_inventory::catalog::Answer, Refusal> {
        let query = self.resolved(known, query).await?;
        let sight = self.sight(known).await?;
        let sees_all = sight.is_none();
        let answer = self.catalog.answer(query, sight).await;
        answer.map_err(|error| match error {
            // What it would cost tells how much there is.
            CatalogError::Query(QueryError::TooExpensive { .. }) if !sees_all => {
                let detail = "add a condition that leaves fewer";
                Refusal::new(422, "too-expensive", "the query is too expensive", detail)
            }
            error => error.into(),
        })
    }
}
