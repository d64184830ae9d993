//! The texts that have a form of their own: their JSON Schema and their check are one table.

use schemars::{Schema, SchemaGenerator, json_schema};
use wright_model::{ByteSize, Name, Span, VersionReq};

/// A text with a form of its own.
pub(crate) struct Kind {
    /// The schema's `format`.
    pub format: &'static str,
    /// What is expected, in words.
    pub expected: &'static str,
    /// For editors (ECMA 262).
    pattern: &'static str,
    /// Why a text is not of this kind.
    pub check: fn(&str) -> Result<(), String>,
}

fn parses<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<(), String> {
    text.parse::<T>().map(drop).map_err(|e| e.to_string())
}

/// Whether a path stays below the directory it is relative to.
pub(crate) fn inner_path(text: &str) -> Result<(), String> {
    let bad = |why: &str| {
        Err(format!(
            "{text:?} is not a path inside the directory: {why}"
        ))
    };
    if text.is_empty() || text.len() > 255 {
        return bad("it must have 1 to 255 characters");
    }
    if text.starts_with('/') || text.contains('\\') || text.chars().any(char::is_control) {
        return bad("it must be relative, with `/` between its parts");
    }
    if text.split('/').any(|part| part == "..") {
        return bad("it climbs out with `..`");
    }
    if text.split('/').any(|part| part.is_empty() || part == ".") {
        return bad("it has an empty part or a `.`");
    }
    Ok(())
}

fn variable(text: &str) -> Result<(), String> {
    let good = text.len() <= 128
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !good {
        return Err(format!(
            "{text:?} is not the name of an environment variable"
        ));
    }
    if text.starts_with("WRIGHT_") {
        return Err(format!(
            "{text:?} is set by the agent: names that begin with WRIGHT_ are its own"
        ));
    }
    Ok(())
}

fn request_path(text: &str) -> Result<(), String> {
    let good = text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic());
    if good {
        Ok(())
    } else {
        Err(format!(
            "{text:?} is not a path of a URL: it begins with `/` and has no blanks"
        ))
    }
}

pub(crate) const KINDS: [Kind; 7] = [
    Kind {
        format: "wright-name",
        expected: "a name: 1 to 63 of a-z, 0-9 and -, beginning with a letter",
        pattern: "^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$",
        check: parses::<Name>,
    },
    Kind {
        format: "wright-size",
        expected: "a size with its unit, such as 128MiB or 2GiB",
        pattern: "^[0-9]+ ?(B|KiB|MiB|GiB|TiB)$",
        check: parses::<ByteSize>,
    },
    Kind {
        format: "wright-span",
        expected: "a length of time with its unit, such as 500ms, 60s or 5m",
        pattern: "^[0-9]+ ?(ms|s|m|h|d)$",
        check: parses::<Span>,
    },
    Kind {
        format: "wright-package",
        expected: "a package with its version, such as catalog@1.4",
        pattern: "^[a-z][a-z0-9-]*@[0-9]+(\\.[0-9]+){0,2}$",
        check: parses::<VersionReq>,
    },
    Kind {
        format: "wright-path",
        expected: "a path inside the directory, such as etc/catalog.toml",
        pattern: "^[^/\\\\]",
        check: inner_path,
    },
    Kind {
        format: "wright-variable",
        expected: "the name of an environment variable, such as RUST_LOG",
        pattern: "^[A-Za-z_][A-Za-z0-9_]*$",
        check: variable,
    },
    Kind {
        format: "wright-url-path",
        expected: "a path of a URL, such as /healthz",
        pattern: "^/",
        check: request_path,
    },
];

/// The kind of a schema's `format`.
pub(crate) fn kind(format: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.format == format)
}

fn text(format: &str) -> Schema {
    let pattern = kind(format).map_or("", |kind| kind.pattern);
    json_schema!({ "type": "string", "format": format, "pattern": pattern })
}

macro_rules! text_schemas {
    ($($function:ident = $format:literal;)*) => {$(
        pub(crate) fn $function(_: &mut SchemaGenerator) -> Schema {
            text($format)
        }
    )*};
}
text_schemas! {
    name = "wright-name";
    size = "wright-size";
    span = "wright-span";
    package = "wright-package";
    path = "wright-path";
    url_path = "wright-url-path";
}

pub(crate) fn names(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": text("wright-name"), "maxItems": 1000 })
}

pub(crate) fn paths(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": text("wright-path"), "minItems": 1, "maxItems": 2000 })
}

pub(crate) fn variables(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "propertyNames": text("wright-variable"),
        "additionalProperties": { "type": "string" },
    })
}

/// A map from names to values of one type.
pub(crate) fn by_name<T: schemars::JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    let values = generator.subschema_for::<T>();
    json_schema!({ "type": "object", "propertyNames": text("wright-name"), "additionalProperties": values })
}

pub(crate) fn cpu(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "number", "minimum": 0, "maximum": 1024 })
}
