use indexmap::IndexMap;
use regex::Regex;
use serde_json::Value;
use wright_model::{ByteSize, Span, nearest};

use super::{
    FieldDefinition, FieldType, OnDelete,
    expression::Expression,
    shape::{Bounds, Reference, Shape},
    violation::{At, Violation, quoted},
};

/// The longest name of a field.
const MAX_NAME: usize = 64;
/// How deep lists, maps and objects may stand in each other.
const MAX_DEPTH: usize = 8;

/// The kind of people.
const USER: &str = "user";

/// A field, compiled.
#[derive(Debug)]
pub(crate) struct Field {
    pub shape: Shape,
    pub required: bool,
    pub immutable: bool,
    pub platform: bool,
    pub default: Option<Value>,
    pub computed: Option<Expression>,
    pub found: Option<Expression>,
}

/// Compiles the fields of a body or an object, and says all that is wrong with them.
pub(super) fn compile_all(
    definitions: &IndexMap<String, FieldDefinition>,
    at: At<'_>,
    depth: usize,
    violations: &mut Vec<Violation>,
) -> IndexMap<String, Field> {
    let mut fields = IndexMap::with_capacity(definitions.len());
    for (name, definition) in definitions {
        let at = At::Field(&at, name);
        if !is_field_name(name) {
            violations.push(Violation::new(
                "field-name",
                at.to_string(),
                format!("{name:?}"),
                "a letter and then letters, digits, _ and -, at most 64 in all",
            ));
        }
        if let Some(field) = compile(definition, at, depth, violations) {
            fields.insert(name.clone(), field);
        }
    }
    fields
}

fn is_field_name(name: &str) -> bool {
    name.len() <= MAX_NAME
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

fn compile(
    definition: &FieldDefinition,
    at: At<'_>,
    depth: usize,
    violations: &mut Vec<Violation>,
) -> Option<Field> {
    let before = violations.len();
    misplaced(definition, at, depth, violations);
    let shape = shape(definition, at, depth, violations)?;
    let default = definition.default.clone().and_then(|default| {
        let at = At::Field(&at, "default");
        shape.normalise(default, at, violations)
    });
    let mut expression = |attribute, source: &Option<String>| {
        Expression::compile(source.as_ref(), At::Field(&at, attribute), violations)
    };
    let computed = expression("computed", &definition.computed);
    let found = expression("found", &definition.found);
    (violations.len() == before).then_some(Field {
        shape,
        required: definition.required,
        immutable: definition.immutable,
        platform: definition.platform,
        default,
        computed,
        found,
    })
}

/// Attributes that say nothing of this type, or contradict each other.
fn misplaced(
    definition: &FieldDefinition,
    at: At<'_>,
    depth: usize,
    violations: &mut Vec<Violation>,
) {
    use FieldType as T;
    let of = definition.of_type;
    let is = |types: &[FieldType]| types.contains(&of);
    let nested = depth > 0;
    let refers = [T::Reference, T::User];
    let checks = [
        (
            "minimum",
            definition.minimum.is_some(),
            is(&[T::Integer, T::Float, T::Duration, T::Bytes]),
        ),
        (
            "maximum",
            definition.maximum.is_some(),
            is(&[T::Integer, T::Float, T::Duration, T::Bytes]),
        ),
        ("pattern", definition.pattern.is_some(), is(&[T::Text])),
        (
            "min-length",
            definition.min_length.is_some(),
            is(&[T::Text, T::List, T::Map]),
        ),
        (
            "max-length",
            definition.max_length.is_some(),
            is(&[T::Text, T::List, T::Map]),
        ),
        (
            "values",
            !definition.values.is_empty(),
            is(&[T::Enumeration]),
        ),
        ("of", definition.of.is_some(), is(&[T::List, T::Map])),
        ("fields", !definition.fields.is_empty(), is(&[T::Object])),
        ("to", definition.to.is_some(), is(&[T::Reference])),
        (
            "reverse",
            definition.reverse.is_some(),
            is(&refers) && !nested,
        ),
        ("many", definition.many, is(&refers) && !nested),
        (
            "on-delete",
            definition.on_delete.is_some(),
            is(&refers) && !nested,
        ),
        (
            "on-delete",
            definition.on_delete == Some(OnDelete::Clear),
            !definition.required || definition.many,
        ),
        ("secret", definition.secret, is(&[T::Text]) && !nested),
        (
            "computed",
            definition.computed.is_some(),
            !nested && !definition.required,
        ),
        (
            "found",
            definition.found.is_some(),
            !nested && definition.computed.is_none() && !definition.secret,
        ),
        (
            "default",
            definition.default.is_some(),
            !definition.secret && definition.computed.is_none() && !is(&refers),
        ),
        (
            "immutable",
            definition.immutable,
            !nested && definition.computed.is_none(),
        ),
    ];
    for (attribute, set, fits) in checks {
        if set && !fits {
            violations.push(Violation::new(
                "misplaced",
                At::Field(&at, attribute).to_string(),
                attribute,
                format!("no {attribute} for this field of type {}", of.as_str()),
            ));
        }
    }
    let nested_reference = nested && of == T::Reference;
    if nested_reference || depth > MAX_DEPTH {
        violations.push(Violation::new(
            "misplaced",
            at.to_string(),
            of.as_str(),
            if nested_reference {
                "references among the kind's own fields only".to_owned()
            } else {
                format!("at most {MAX_DEPTH} levels")
            },
        ));
    }
}

fn shape(
    definition: &FieldDefinition,
    at: At<'_>,
    depth: usize,
    violations: &mut Vec<Violation>,
) -> Option<Shape> {
    let length = Bounds {
        least: definition.min_length,
        most: definition.max_length,
    };
    Some(match definition.of_type {
        FieldType::Text => {
            let pattern = pattern(definition, at, violations)?;
            if definition.secret {
                Shape::Secret { pattern, length }
            } else {
                Shape::Text { pattern, length }
            }
        }
        FieldType::Integer => Shape::Integer(bounds(definition, at, violations, Value::as_i64)),
        FieldType::Float => Shape::Float(bounds(definition, at, violations, Value::as_f64)),
        FieldType::Duration => Shape::Duration(bounds(definition, at, violations, parsed::<Span>)),
        FieldType::Bytes => Shape::Bytes(bounds(definition, at, violations, parsed::<ByteSize>)),
        FieldType::Boolean => Shape::Boolean,
        FieldType::Enumeration => {
            if definition.values.is_empty() {
                let at = At::Field(&at, "values").to_string();
                violations.push(Violation::new(
                    "required",
                    at,
                    "nothing",
                    "a list of values",
                ));
            }
            Shape::Enumeration(definition.values.clone())
        }
        FieldType::Time => Shape::Time,
        FieldType::Date => Shape::Date,
        FieldType::Address => Shape::Address,
        FieldType::Prefix => Shape::Prefix,
        FieldType::Mac => Shape::Mac,
        FieldType::Url => Shape::Url,
        FieldType::Email => Shape::Email,
        FieldType::Json => Shape::Json,
        FieldType::User => Shape::Reference(Reference {
            to: USER.to_owned(),
            many: definition.many,
            on_delete: definition.on_delete.unwrap_or(OnDelete::Restrict),
            reverse: definition.reverse.clone(),
        }),
        FieldType::List => Shape::List(Box::new(item(definition, at, depth, violations)?), length),
        FieldType::Map => Shape::Map(Box::new(item(definition, at, depth, violations)?), length),
        FieldType::Object => {
            let at = At::Field(&at, "fields");
            Shape::Object(compile_all(&definition.fields, at, depth + 1, violations))
        }
        FieldType::Reference => {
            let Some(to) = definition.to.clone() else {
                let at = At::Field(&at, "to").to_string();
                violations.push(Violation::new(
                    "required",
                    at,
                    "nothing",
                    "the name of a kind",
                ));
                return None;
            };
            Shape::Reference(Reference {
                to,
                many: definition.many,
                on_delete: definition.on_delete.unwrap_or(OnDelete::Restrict),
                reverse: definition.reverse.clone(),
            })
        }
    })
}

fn item(
    definition: &FieldDefinition,
    at: At<'_>,
    depth: usize,
    violations: &mut Vec<Violation>,
) -> Option<Shape> {
    let text = FieldDefinition::default();
    let of = definition.of.as_deref().unwrap_or(&text);
    let at = At::Field(&at, "of");
    compile(of, at, depth + 1, violations).map(|field| field.shape)
}

fn pattern(
    definition: &FieldDefinition,
    at: At<'_>,
    violations: &mut Vec<Violation>,
) -> Option<Option<Regex>> {
    let Some(pattern) = &definition.pattern else {
        return Some(None);
    };
    match Regex::new(&format!("^(?:{pattern})$")) {
        Ok(regex) => Some(Some(regex)),
        Err(error) => {
            let at = At::Field(&at, "pattern").to_string();
            let found = format!("{pattern:?}");
            let violation = Violation::new("pattern", at, found, "a regular expression");
            violations.push(violation.help(error.to_string()));
            None
        }
    }
}

fn parsed<T: std::str::FromStr>(value: &Value) -> Option<T> {
    value.as_str()?.parse().ok()
}

fn bounds<T: PartialOrd>(
    definition: &FieldDefinition,
    at: At<'_>,
    violations: &mut Vec<Violation>,
    read: impl Fn(&Value) -> Option<T>,
) -> Bounds<T> {
    let mut bound = |attribute, given: &Option<Value>| {
        let given = given.as_ref()?;
        let read = read(given);
        if read.is_none() {
            violations.push(Violation::new(
                "value",
                At::Field(&at, attribute).to_string(),
                quoted(given),
                format!("a value of type {}", definition.of_type.as_str()),
            ));
        }
        read
    };
    let bounds = Bounds {
        least: bound("minimum", &definition.minimum),
        most: bound("maximum", &definition.maximum),
    };
    if let (Some(least), Some(most)) = (&bounds.least, &bounds.most)
        && least > most
    {
        let at = At::Field(&at, "minimum").to_string();
        violations.push(Violation::new(
            "value",
            at,
            "more than the maximum",
            "at most that",
        ));
    }
    bounds
}

/// Says that a name is none of the fields.
pub(super) fn unknown(name: &str, fields: &IndexMap<String, Field>, at: At<'_>) -> Violation {
    let violation = Violation::new(
        "unknown-field",
        at.to_string(),
        format!("{name:?}"),
        "a declared field",
    );
    match nearest(name, fields.keys().map(String::as_str)) {
        Some(near) => violation.help(format!("did you mean {near}?")),
        None if fields.len() <= 20 => {
            let names: Vec<&str> = fields.keys().map(String::as_str).collect();
            violation.help(format!("it has {}", names.join(", ")))
        }
        None => violation,
    }
}
