use serde::{Deserialize, Serialize};

use crate::Act;

/// What its holders may do: the body of a resource of the kind `role`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Role {
    /// One line.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Each allows something; none takes anything away.
    #[serde(default)]
    pub rules: Vec<Rule>,
}

/// Some acts on some fields of some resources of some kinds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Rule {
    /// Kinds; `*` is every kind but `audit` and `token`, which must be named.
    pub kinds: Vec<String>,
    /// Paths of fields, such as `rack` or `hardware.disks`, each with what is below; none: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
    /// Paths of fields that it does not allow, with what is below.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<String>,
    /// A CEL expression over the resource, as `self` or under its kind's name, with `name` and
    /// `labels` beside the fields; none: all resources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// The acts.
    pub acts: Vec<Act>,
}

/// Who has a role: the body of a resource of the kind `binding`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Binding {
    /// The role.
    pub role: String,
    /// Users who have it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<String>,
    /// Teams whose members have it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub teams: Vec<String>,
    /// Groups of the identity provider whose members have it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Only for what this team owns; none: everywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
}

/// Who owns things together: the body of a resource of the kind `team`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Team {
    /// Users.
    #[serde(default)]
    pub members: Vec<String>,
}

/// How many resources of a kind a team may own: the body of a resource of the kind `quota`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// The team.
    pub team: String,
    /// The kind.
    pub kind: String,
    /// So many.
    pub limit: u64,
}

impl Quota {
    /// Whether so many may be owned after a write. Who has too many already may have fewer.
    ///
    /// # Errors
    /// What is used, and what is allowed.
    pub fn allows(&self, before: u64, after: u64) -> Result<(), Exceeded> {
        if after <= self.limit || after <= before {
            return Ok(());
        }
        Err(Exceeded {
            quota: self.clone(),
            before,
            after,
        })
    }
}

/// A team would own more than it may.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "team {} has {before} of the {} resources of the kind {} that it may have; with this it would have {after}",
    quota.team, quota.limit, quota.kind
)]
pub struct Exceeded {
    /// What is allowed.
    pub quota: Quota,
    /// How many there are.
    pub before: u64,
    /// How many there would be.
    pub after: u64,
}

/// A person: the body of a resource of the kind `user`. What proves who he is is kept elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct User {
    /// As people call him.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub full_name: String,
    /// Where he reads mail.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub email: String,
    /// Whether he is shut out, with every token he made.
    #[serde(default)]
    pub disabled: bool,
    /// Who he is to an identity provider: `ISSUER#SUBJECT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
}
