//! The distinct values of a field, each with its rows.

use std::hash::{BuildHasher as _, Hasher as _};

use hashbrown::{DefaultHashBuilder, HashTable};
use roaring::RoaringBitmap;

use crate::{
    packed::{self, TEXT},
    posting::{Postings, Rows},
    value::Value,
    words::{Start, Texts, Words},
};

/// So many values without rows are kept before room is made.
const MAX_DEAD: usize = 256;
/// No entry.
const NOWHERE: u32 = u32::MAX;

/// Values by code, and codes by value.
#[derive(Debug, Default)]
pub(crate) struct Dictionary {
    /// Entries: a length (LEB128) and so many bytes.
    bytes: Vec<u8>,
    /// Where the entry of a code begins.
    starts: Vec<u32>,
    codes: HashTable<u32>,
    hasher: DefaultHashBuilder,
    rows: Postings,
    /// Codes that had no row at some time.
    dead: Vec<u32>,
    free: Vec<u32>,
    words: Option<Words>,
}

impl Dictionary {
    /// One whose words are found.
    pub(crate) fn searched() -> Self {
        Dictionary {
            words: Some(Words::default()),
            ..Dictionary::default()
        }
    }

    /// The number of distinct values, about.
    pub(crate) fn len(&self) -> usize {
        self.starts.len() - self.free.len()
    }

    /// One more than the highest code.
    pub(crate) fn end(&self) -> u32 {
        u32::try_from(self.starts.len()).unwrap_or(NOWHERE)
    }

    fn entry(&self, code: u32) -> &[u8] {
        entry(&self.bytes, self.starts.get(code as usize).copied())
    }

    pub(crate) fn value(&self, code: u32) -> Value<'_> {
        packed::read(self.entry(code))
    }

    /// The text of a code, nothing where it is no text.
    pub(crate) fn text_of(&self, code: u32) -> &str {
        packed::text_of(self.text(code))
    }

    /// The code of a text.
    pub(crate) fn find_text(&self, text: &str) -> Option<u32> {
        self.find_hashed(hash(&self.hasher, text.as_bytes()), TEXT, text.as_bytes())
    }

    fn find_hashed(&self, hash: u64, tag: u8, rest: &[u8]) -> Option<u32> {
        let is = |code: &u32| {
            let entry = self.entry(*code).split_first();
            entry.is_some_and(|(own, bytes)| *own == tag && bytes == rest)
        };
        self.codes.find(hash, is).copied()
    }

    /// The rows with a text.
    pub(crate) fn rows_of_text(&self, text: &str) -> Rows<'_> {
        self.find_text(text)
            .map_or(Rows::None, |code| self.rows(code))
    }

    pub(crate) fn rows(&self, code: u32) -> Rows<'_> {
        self.rows.rows(code)
    }

    /// Whether a code is that of a value's bytes.
    pub(crate) fn is(&self, code: u32, bytes: &[u8]) -> bool {
        self.entry(code) == bytes
    }

    /// The code of a value's bytes, which may be new.
    pub(crate) fn code(&mut self, bytes: &[u8], loading: bool) -> u32 {
        let (tag, rest) = bytes.split_first().unwrap_or((&0, &[]));
        let hash = hash(&self.hasher, rest);
        match self.find_hashed(hash, *tag, rest) {
            Some(code) => code,
            None => self.add(hash, bytes, loading),
        }
    }

    /// Notes that a row has the value of a code.
    pub(crate) fn insert(&mut self, code: u32, row: u32) {
        self.rows.insert(code, row);
    }

    /// Notes that a row no longer has the value of a code.
    pub(crate) fn remove(&mut self, code: u32, row: u32) {
        if self.rows.remove(code, row) {
            self.dead.push(code);
            if self.dead.len() > MAX_DEAD.max(self.starts.len() / 4) {
                self.make_room();
            }
        }
    }

    fn add(&mut self, hashed: u64, bytes: &[u8], loading: bool) -> u32 {
        let start = u32::try_from(self.bytes.len()).unwrap_or(NOWHERE);
        append(&mut self.bytes, bytes);
        let code = if let Some(code) = self.free.pop() {
            self.starts[code as usize] = start;
            code
        } else {
            self.starts.push(start);
            self.end() - 1
        };
        let (entries, starts, hasher) = (&self.bytes, &self.starts, &self.hasher);
        self.codes.insert_unique(hashed, code, |code| {
            let bytes = entry(entries, starts.get(*code as usize).copied());
            hash(hasher, bytes.get(1..).unwrap_or_default())
        });
        if bytes.first() == Some(&TEXT)
            && let Some(mut words) = self.words.take()
        {
            words.add(code, self, loading);
            self.words = Some(words);
        }
        code
    }

    /// Drops the values that have no row, and closes the gaps.
    fn make_room(&mut self) {
        let mut dead = std::mem::take(&mut self.dead);
        dead.retain(|code| self.rows.rows(*code).len() == 0);
        dead.sort_unstable();
        dead.dedup();
        let is_dead: RoaringBitmap = dead.iter().copied().collect();
        if let Some(words) = &mut self.words {
            words.retain(|code| !is_dead.contains(code));
        }
        for &code in &dead {
            let rest = self.entry(code).get(1..).unwrap_or_default();
            let hash = hash(&self.hasher, rest);
            if let Ok(found) = self.codes.find_entry(hash, |found| *found == code) {
                found.remove();
            }
            self.starts[code as usize] = NOWHERE;
        }
        self.free.extend(dead);
        let mut kept = Vec::with_capacity(self.bytes.len() / 2);
        for start in self.starts.iter_mut().filter(|start| **start != NOWHERE) {
            let bytes = entry(&self.bytes, Some(*start));
            *start = u32::try_from(kept.len()).unwrap_or(NOWHERE);
            append(&mut kept, bytes);
        }
        self.bytes = kept;
    }

    /// How many words begin with a prefix (in lower case).
    pub(crate) fn words_with(&self, prefix: &str) -> usize {
        self.words
            .as_ref()
            .map_or(0, |words| words.count(prefix, self))
    }

    /// The codes of the texts with a word that begins with a prefix (in lower case), and where.
    pub(crate) fn with_word<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = Start> + 'a {
        let words = self.words.iter();
        words.flat_map(move |words| words.find(prefix, self))
    }

    /// The same of the texts that have a whole word.
    pub(crate) fn with_whole_word<'a>(&'a self, word: &'a str) -> impl Iterator<Item = Start> + 'a {
        let words = self.words.iter();
        words.flat_map(move |words| words.find_whole(word, self))
    }

    /// Gives back what was kept for growth, and puts words in order.
    pub(crate) fn settle(&mut self) {
        if let Some(mut words) = self.words.take() {
            words.settle(self);
            self.words = Some(words);
        }
        self.bytes.shrink_to_fit();
        self.starts.shrink_to_fit();
        self.rows.shrink();
    }
}

impl Texts for Dictionary {
    fn text(&self, code: u32) -> &[u8] {
        match self.entry(code) {
            [TEXT, text @ ..] => text,
            _ => &[],
        }
    }
}

/// The hash of a value without its type: what is looked for most is a text.
fn hash(hasher: &DefaultHashBuilder, rest: &[u8]) -> u64 {
    let mut hasher = hasher.build_hasher();
    hasher.write(rest);
    hasher.finish()
}

fn append(entries: &mut Vec<u8>, bytes: &[u8]) {
    let mut length = bytes.len();
    while length >= 0x80 {
        entries.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    entries.push(length as u8);
    entries.extend_from_slice(bytes);
}

fn entry(entries: &[u8], start: Option<u32>) -> &[u8] {
    let mut rest = start
        .and_then(|start| entries.get(start as usize..))
        .unwrap_or_default();
    let (mut length, mut shift) = (0, 0);
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    rest.get(..length).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(dictionary: &mut Dictionary, text: &str, row: u32) -> u32 {
        let code = dictionary.code(&[&[TEXT], text.as_bytes()].concat(), false);
        dictionary.insert(code, row);
        code
    }

    #[test]
    fn values_that_come_and_go_leave_nothing_behind() {
        let mut dictionary = Dictionary::searched();
        let kept = put(&mut dictionary, "kept for long", 0);
        for n in 0..20_000 {
            let code = put(
                &mut dictionary,
                &format!("passing {n} {}", "x".repeat(200)),
                1,
            );
            dictionary.remove(code, 1);
        }
        assert!(
            dictionary.bytes.len() < 200_000,
            "{}",
            dictionary.bytes.len()
        );
        assert!(dictionary.len() < 1000);
        assert_eq!(dictionary.text_of(kept), "kept for long");
        assert_eq!(dictionary.rows_of_text("kept for long").len(), 1);
        let found: Vec<u32> = dictionary
            .with_word("lon")
            .map(|start| start.code)
            .collect();
        assert_eq!(found, [kept]);
    }

    #[test]
    fn a_value_that_returns_is_found_again() {
        let mut dictionary = Dictionary::searched();
        let code = put(&mut dictionary, "flapping", 3);
        dictionary.remove(code, 3);
        assert_eq!(dictionary.rows_of_text("flapping").len(), 0);
        assert_eq!(put(&mut dictionary, "flapping", 4), code);
        assert_eq!(dictionary.rows_of_text("flapping").first(), Some(4));
    }
}
