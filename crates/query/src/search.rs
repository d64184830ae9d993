//! Words, over all kinds.

use std::collections::BTreeMap;

use roaring::RoaringBitmap;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    Index,
    column::Column,
    posting::Gathered,
    sight::{Seen, View},
    table::Table,
    value::Value,
    words::{Start, has_word},
};

/// The most words of a search that are looked at.
const MAX_WORDS: usize = 8;
/// A prefix that begins more words than this is checked on what the other words leave.
const MAX_CODES: usize = 20_000;
/// So few rows are checked for the other words one by one.
const FEW: u64 = 4096;
/// The most rows of a kind that are checked.
const MAX_CHECKED: usize = 20_000;

/// Why a resource was found, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Rank {
    /// It has exactly this name.
    Name,
    /// Its name begins so.
    Prefix,
    /// It has all the words.
    Words,
    /// It has words that begin so.
    Beginnings,
}

/// A resource that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = SearchHit)]
pub struct Hit {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Why it was found.
    pub rank: Rank,
}

impl Index {
    /// As [`Seen::search`], of all there is.
    pub fn search(&self, text: &str, kinds: &[&str], limit: usize) -> Vec<Hit> {
        self.whole().search(text, kinds, limit)
    }
}

impl Seen<'_> {
    /// The first resources, best first, that have all words of a text, or words that begin so: in
    /// their names, labels, and the texts of fields that no schema says are something else. Upper and
    /// lower case of ASCII letters are the same.
    ///
    /// Of what very many have, the first that are found are given, not those with the least names.
    pub fn search(&self, text: &str, kinds: &[&str], limit: usize) -> Vec<Hit> {
        self.view().search(text, kinds, limit)
    }
}

impl View<'_> {
    fn search(self, text: &str, kinds: &[&str], limit: usize) -> Vec<Hit> {
        let text = text.trim();
        let lower = text.to_ascii_lowercase();
        let mut words: Vec<&str> = lower.split_whitespace().take(MAX_WORDS).collect();
        words.dedup();
        if words.is_empty() || limit == 0 {
            return Vec::new();
        }
        let mut found = self.kinds();
        found.retain(|kind| kinds.is_empty() || kinds.contains(kind));
        let tables: Vec<(&str, &Table)> = found
            .into_iter()
            .filter_map(|kind| Some((kind, self.table(kind)?)))
            .collect();
        let mut hits = Hits::default();
        for (kind, table) in &tables {
            for name in [text, lower.as_str()] {
                if self.resource(kind, name).is_some() {
                    hits.note(kind, name, Rank::Name);
                }
            }
            let names = table.columns.first().map(|column| &column.dictionary);
            for names in names.into_iter() {
                let begins = names.with_word(&lower).filter(|start| start.at == 0);
                let row = |code: u32| names.rows(code).first();
                let taken = begins
                    .filter(|start| row(start.code).is_some_and(|row| self.sees_row(table, row)));
                for start in taken.take(limit) {
                    hits.note(kind, names.text_of(start.code), Rank::Prefix);
                }
            }
        }
        // What ranks lower is looked for only as long as it may be among the first.
        for reach in [Reach::Whole, Reach::Beginning] {
            for (kind, table) in &tables {
                if hits.0.len() >= limit {
                    break;
                }
                for (row, rank) in with_words(self, table, &words, reach, limit) {
                    hits.note(kind, table.name(row), rank);
                }
            }
        }
        hits.first(limit)
    }
}

/// What was found, each with the best reason, by kind and name.
#[derive(Default)]
struct Hits(BTreeMap<(String, String), Rank>);

impl Hits {
    fn note(&mut self, kind: &str, name: &str, rank: Rank) {
        let at = (kind.to_owned(), name.to_owned());
        let best = self.0.entry(at).or_insert(rank);
        *best = rank.min(*best);
    }

    /// The best.
    fn first(self, limit: usize) -> Vec<Hit> {
        let hits = self.0.into_iter();
        let mut hits: Vec<Hit> = hits
            .map(|((kind, name), rank)| Hit { kind, name, rank })
            .collect();
        hits.sort_by(|a, b| (a.rank, &a.name, &a.kind).cmp(&(b.rank, &b.name, &b.kind)));
        hits.truncate(limit);
        hits
    }
}

/// How far a word goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// It is a whole word.
    Whole,
    /// It is one, or one begins so.
    Beginning,
}

fn searched(table: &Table) -> impl Iterator<Item = &Column> {
    table
        .columns
        .iter()
        .filter(|column| column.sort.is_searched())
}

/// The first rows of a table that have all words.
fn with_words(
    view: View<'_>,
    table: &Table,
    words: &[&str],
    reach: Reach,
    limit: usize,
) -> Vec<(u32, Rank)> {
    let (rows, _) = candidates(table, words, reach, MAX_CODES);
    let rows = match view.is_whole() {
        true => rows,
        false => rows & view.live(table),
    };
    let ranked = |row| Some((row, rank(view, table, row, words)?));
    let wanted = |(_, rank): &(u32, Rank)| reach == Reach::Beginning || *rank == Rank::Words;
    let checked = rows.iter().take(MAX_CHECKED);
    checked
        .filter_map(ranked)
        .filter(wanted)
        .take(limit)
        .collect()
}

/// All rows that have the words which the index can tell; and the words that are still to check.
/// Of the first word, `most` values at most are looked at.
pub(crate) fn candidates<'w>(
    table: &Table,
    words: &[&'w str],
    reach: Reach,
    most: usize,
) -> (RoaringBitmap, Vec<&'w str>) {
    let dictionaries = || searched(table).flat_map(|column| [&column.dictionary, &column.members]);
    let count = |word: &str| {
        dictionaries()
            .map(|words| words.words_with(word))
            .sum::<usize>()
    };
    let mut counted: Vec<(usize, &str)> = words.iter().map(|word| (count(word), *word)).collect();
    counted.sort_unstable();
    let mut left: Option<RoaringBitmap> = None;
    let mut unchecked = Vec::new();
    for (count, word) in counted {
        if let Some(left) = &left
            && (count > MAX_CODES || left.len() <= FEW)
        {
            unchecked.push(word);
            continue;
        }
        let mut rows = Gathered::new(table.end());
        for dictionary in dictionaries() {
            let mut add = |start: Start| rows.add(dictionary.rows(start.code));
            match reach {
                Reach::Whole => dictionary
                    .with_whole_word(word)
                    .take(most)
                    .for_each(&mut add),
                Reach::Beginning => dictionary.with_word(word).take(most).for_each(&mut add),
            }
        }
        let rows = rows.rows();
        left = Some(match left {
            Some(left) => left & rows,
            None => rows,
        });
    }
    (left.unwrap_or_default(), unchecked)
}

/// Whether a row has all words, and whether as a whole.
pub(crate) fn rank(view: View<'_>, table: &Table, row: u32, words: &[&str]) -> Option<Rank> {
    let mut rank = Rank::Words;
    for word in words {
        let mut best = None;
        for column in searched(table) {
            if let Some(value) = column.value(row)
                && view.sees(table, row, &column.path)
            {
                best = best.max(in_value(value, word));
            }
            if best == Some(true) {
                break;
            }
        }
        if !best? {
            rank = Rank::Beginnings;
        }
    }
    Some(rank)
}

fn in_value(value: Value<'_>, word: &str) -> Option<bool> {
    match value {
        Value::Text(text) => has_word(text, word),
        Value::List(list) => {
            let mut best = None;
            list.any(|element| {
                if let Value::Text(text) = element {
                    best = best.max(has_word(text, word));
                }
                best == Some(true)
            });
            best
        }
        _ => None,
    }
}
