use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a kind says of itself: the body of a resource of the kind `kind`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Definition {
    /// What the kind is for, one line.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Where a portal lists it, such as `facilities`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// The platform makes and removes these resources and keeps the fields marked so; people own the
    /// other declared fields. Only shipped kinds.
    #[serde(skip_serializing_if = "is_false")]
    pub platform: bool,
    /// People may declare one of the platform's before the platform makes it, and what they declare
    /// stays when the platform removes it. Only shipped kinds.
    #[serde(skip_serializing_if = "is_false")]
    pub declarable: bool,
    /// What agents discover about these resources is kept beside them, in the fields of the platform
    /// that nothing else writes. Only shipped kinds of the platform.
    #[serde(skip_serializing_if = "is_false")]
    pub discovered: bool,
    /// The reference field that is the main line: what this is a part of. Of the platform's kinds also a
    /// path into what it records, whose last part is the kind that it leads to: `spec.host`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Fields that are the parent's, or its parent's, where a resource has none of its own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inherit: Vec<String>,
    /// The fields that a table shows, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub display: Vec<String>,
    /// The groups of fields that a form shows, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<FieldGroup>,
    /// The fields, in the order in which they are shown.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub fields: IndexMap<String, FieldDefinition>,
    /// Fields whose values, taken together, no two resources share. A resource that lacks one of
    /// them is not compared.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unique: Vec<Vec<String>>,
    /// Fields by which resources are looked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub index: Vec<String>,
}

impl Definition {
    /// The main line: the path of the reference, and the kind that it leads to.
    pub fn parent(&self) -> Option<(&str, &str)> {
        let path = self.parent.as_deref()?;
        let to = match self.fields.get(path) {
            Some(field) => field.to.as_deref()?,
            None => path.rsplit_once('.')?.1,
        };
        Some((path, to))
    }
}

/// A group of fields in a form.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct FieldGroup {
    /// As the fields name it.
    pub name: String,
    /// As it is shown.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub title: String,
}

/// What a field says of itself.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct FieldDefinition {
    /// What stands in it.
    #[serde(rename = "type")]
    pub of_type: FieldType,
    /// What it is for, one line.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The group of the form it is shown in.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// What its number counts, such as `W` or `mm`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub unit: String,
    /// The platform writes it, nobody else does. Only in shipped kinds of the platform.
    #[serde(skip_serializing_if = "is_false")]
    pub platform: bool,
    /// Every resource has it.
    #[serde(skip_serializing_if = "is_false")]
    pub required: bool,
    /// What it is where nobody says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// It never changes once it is set.
    #[serde(skip_serializing_if = "is_false")]
    pub immutable: bool,
    /// A CEL expression over `self`, the body, that gives its value; nobody writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub computed: Option<String>,
    /// A CEL expression over `self`, the whole resource, that gives what was discovered of this field;
    /// a list where any one of several will do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
    /// A text that is stored sealed. Only of type `text`.
    #[serde(skip_serializing_if = "is_false")]
    pub secret: bool,
    /// The least: of `integer`, `float`, `duration` and `bytes`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimum: Option<Value>,
    /// The most: of the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maximum: Option<Value>,
    /// A regular expression that the whole of a `text` matches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// The fewest characters of a `text`, items of a `list` or entries of a `map`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_length: Option<usize>,
    /// The most of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_length: Option<usize>,
    /// The values of an `enumeration`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    /// What is in a `list` or `map`; text where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<Box<FieldDefinition>>,
    /// The fields of an `object`.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub fields: IndexMap<String, FieldDefinition>,
    /// The kind that a `reference` leads to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// What the relation is called from there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reverse: Option<String>,
    /// A `reference` or `user`: several.
    #[serde(skip_serializing_if = "is_false")]
    pub many: bool,
    /// What becomes of this resource when what it refers to is deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_delete: Option<OnDelete>,
}

/// What stands in a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FieldType {
    /// Any text.
    #[default]
    Text,
    /// A whole number of 64 bits.
    Integer,
    /// A number.
    Float,
    /// True or false.
    Boolean,
    /// One of some words.
    Enumeration,
    /// A moment (RFC 3339); kept in UTC.
    Time,
    /// A day, such as `2026-03-01`.
    Date,
    /// A length of time with its unit, such as `90s`.
    Duration,
    /// A number of bytes with its unit, such as `4GiB`.
    Bytes,
    /// An IP address.
    Address,
    /// A network in CIDR form, such as `10.0.0.0/8`.
    Prefix,
    /// A MAC address of 48 or 64 bits; kept as `aa:bb:cc:dd:ee:ff`.
    Mac,
    /// An absolute URL.
    Url,
    /// An e-mail address.
    Email,
    /// Anything.
    Json,
    /// Several of one sort.
    List,
    /// Names with values of one sort.
    Map,
    /// Fields of its own.
    Object,
    /// The name of a resource of the kind `user`.
    User,
    /// The name of another resource.
    Reference,
}

impl FieldType {
    /// As it is written in a kind.
    pub fn as_str(self) -> &'static str {
        match self {
            FieldType::Text => "text",
            FieldType::Integer => "integer",
            FieldType::Float => "float",
            FieldType::Boolean => "boolean",
            FieldType::Enumeration => "enumeration",
            FieldType::Time => "time",
            FieldType::Date => "date",
            FieldType::Duration => "duration",
            FieldType::Bytes => "bytes",
            FieldType::Address => "address",
            FieldType::Prefix => "prefix",
            FieldType::Mac => "mac",
            FieldType::Url => "url",
            FieldType::Email => "email",
            FieldType::Json => "json",
            FieldType::List => "list",
            FieldType::Map => "map",
            FieldType::Object => "object",
            FieldType::User => "user",
            FieldType::Reference => "reference",
        }
    }
}

/// What becomes of a resource when what it refers to is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnDelete {
    /// What it refers to cannot be deleted.
    #[default]
    Restrict,
    /// It is deleted too.
    Cascade,
    /// The field is cleared; of a list, the one name goes.
    Clear,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
fn is_false(flag: &bool) -> bool {
    !flag
}
