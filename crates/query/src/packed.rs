//! Values as bytes: what a dictionary keeps.
//!
//! One byte says the type; numbers follow in eight bytes, little end first. Texts, lists and maps
//! inside of others are preceded by their length; a text by itself is all that follows.

use serde_json::Value as Json;

use crate::value::{List, Map, Value};

const NULL: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
const INT: u8 = 3;
const FLOAT: u8 = 4;
/// Also the first byte of a text by itself.
pub(crate) const TEXT: u8 = 5;
const LIST: u8 = 6;
const MAP: u8 = 7;

/// A list or map: how many elements, and the bytes after that number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Packed<'v> {
    len: u32,
    bytes: &'v [u8],
}

/// Writes a value.
pub(crate) fn pack(value: &Json, into: &mut Vec<u8>) {
    match value {
        Json::String(text) => {
            into.push(TEXT);
            into.extend_from_slice(text.as_bytes());
        }
        value => pack_inner(value, into),
    }
}

fn pack_inner(value: &Json, into: &mut Vec<u8>) {
    match value {
        Json::Null => into.push(NULL),
        Json::Bool(value) => into.push(if *value { TRUE } else { FALSE }),
        Json::Number(number) => match number.as_i64() {
            Some(value) => {
                into.push(INT);
                into.extend_from_slice(&value.to_le_bytes());
            }
            None => {
                into.push(FLOAT);
                into.extend_from_slice(&number.as_f64().unwrap_or(f64::MAX).to_le_bytes());
            }
        },
        Json::String(text) => {
            into.push(TEXT);
            pack_text(text, into);
        }
        Json::Array(elements) => {
            into.push(LIST);
            sized(into, elements.len(), |into| {
                elements
                    .iter()
                    .for_each(|element| pack_inner(element, into));
            });
        }
        Json::Object(map) => {
            into.push(MAP);
            sized(into, map.len(), |into| {
                for (key, value) in map {
                    pack_text(key, into);
                    pack_inner(value, into);
                }
            });
        }
    }
}

/// What `inner` writes, after how long it is and how many elements it has.
fn sized(into: &mut Vec<u8>, count: usize, inner: impl FnOnce(&mut Vec<u8>)) {
    let at = into.len();
    into.extend_from_slice(&[0; 4]);
    into.extend_from_slice(&length(count).to_le_bytes());
    inner(into);
    let size = length(into.len() - at - 8);
    into[at..at + 4].copy_from_slice(&size.to_le_bytes());
}

fn pack_text(text: &str, into: &mut Vec<u8>) {
    into.extend_from_slice(&length(text.len()).to_le_bytes());
    into.extend_from_slice(text.as_bytes());
}

/// A document is far below 4 GiB: the store takes values of 1 MiB.
fn length(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// Reads what [`pack`] wrote.
pub(crate) fn read(bytes: &[u8]) -> Value<'_> {
    match bytes.split_first() {
        Some((&TEXT, text)) => Value::Text(text_of(text)),
        _ => take(&mut &bytes[..]),
    }
}

/// What was a text when it was written.
pub(crate) fn text_of(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

fn take<'v>(rest: &mut &'v [u8]) -> Value<'v> {
    let Some((tag, after)) = rest.split_first() else {
        return Value::Null;
    };
    *rest = after;
    match *tag {
        FALSE => Value::Bool(false),
        TRUE => Value::Bool(true),
        INT => Value::Int(i64::from_le_bytes(array(rest))),
        FLOAT => Value::Float(f64::from_le_bytes(array(rest))),
        TEXT => Value::Text(take_text(rest)),
        LIST => Value::List(List::Packed(take_packed(rest))),
        MAP => Value::Map(Map::Packed(take_packed(rest))),
        _ => Value::Null,
    }
}

fn array<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    match rest.split_first_chunk() {
        Some((array, after)) => {
            *rest = after;
            *array
        }
        None => [0; N],
    }
}

fn take_bytes<'v>(rest: &mut &'v [u8], size: usize) -> &'v [u8] {
    let (taken, after) = rest.split_at(size.min(rest.len()));
    *rest = after;
    taken
}

fn take_text<'v>(rest: &mut &'v [u8]) -> &'v str {
    let size = u32::from_le_bytes(array(rest));
    text_of(take_bytes(rest, size as usize))
}

fn take_packed<'v>(rest: &mut &'v [u8]) -> Packed<'v> {
    let size = u32::from_le_bytes(array(rest));
    let len = u32::from_le_bytes(array(rest));
    let bytes = take_bytes(rest, size as usize);
    Packed { len, bytes }
}

impl<'v> Packed<'v> {
    pub(crate) fn len(self) -> usize {
        self.len as usize
    }

    pub(crate) fn elements(self) -> impl Iterator<Item = Value<'v>> {
        let mut rest = self.bytes;
        (0..self.len).map(move |_| take(&mut rest))
    }

    pub(crate) fn entries(self) -> impl Iterator<Item = (&'v str, Value<'v>)> {
        let mut rest = self.bytes;
        (0..self.len).map(move |_| (take_text(&mut rest), take(&mut rest)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_json_value_comes_back() {
        for value in [
            json!(null),
            json!(true),
            json!(-7),
            json!(1.5),
            json!(""),
            json!("Ä text"),
            json!([]),
            json!(["a", 1, [null, {}], { "k": ["v", 2.5], "l": "m" }]),
            json!({}),
        ] {
            let mut bytes = Vec::new();
            pack(&value, &mut bytes);
            assert_eq!(read(&bytes).to_json(), value);
        }
    }
}
