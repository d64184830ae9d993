//! Where words begin in the values of a dictionary, in alphabetical order: prefixes are found by
//! binary search, and a word needs eight bytes, however many rows have it.

use std::cmp::Ordering;

/// The most words of one value that are found.
const MAX_WORDS: usize = 64;
/// So many new words are looked through one by one before they are put in order.
const MAX_RECENT: usize = 512;

/// A place where a word begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) code: u32,
    /// Bytes into the value.
    pub(crate) at: u16,
}

/// All places where words begin.
#[derive(Debug, Default)]
pub(crate) struct Words {
    sorted: Vec<Start>,
    recent: Vec<Start>,
}

/// The value of a code.
pub(crate) trait Texts {
    fn text(&self, code: u32) -> &[u8];
}

fn rest<T: Texts>(texts: &T, start: Start) -> &[u8] {
    texts
        .text(start.code)
        .get(start.at.into()..)
        .unwrap_or_default()
}

fn folded(bytes: &[u8]) -> impl Iterator<Item = u8> {
    bytes.iter().map(u8::to_ascii_lowercase)
}

/// The first 16 bytes as a number of the same order.
fn key(bytes: &[u8]) -> u128 {
    let mut key = [0; 16];
    for (to, from) in key.iter_mut().zip(folded(bytes)) {
        *to = from;
    }
    u128::from_be_bytes(key)
}

/// How a text compares with all that begin with a prefix (in lower case).
fn against(text: &[u8], prefix: &[u8]) -> Ordering {
    let length = prefix.len().min(text.len());
    folded(&text[..length])
        .cmp(prefix[..length].iter().copied())
        .then(if text.len() < prefix.len() {
            Ordering::Less
        } else {
            Ordering::Equal
        })
}

/// Where words begin in a text: at its beginning, and at each letter or digit after something else.
fn starts(text: &[u8]) -> impl Iterator<Item = u16> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte >= 0x80;
    let begins = move |&at: &usize| at == 0 || (is_word(text[at]) && !is_word(text[at - 1]));
    (0..text.len())
        .filter(begins)
        .take(MAX_WORDS)
        .map_while(|at| u16::try_from(at).ok())
}

impl Words {
    /// Notes the words of a new value. While much is loaded they are put in order later, by
    /// [`Words::settle`].
    pub(crate) fn add<T: Texts>(&mut self, code: u32, texts: &T, loading: bool) {
        let text = texts.text(code);
        self.recent
            .extend(starts(text).map(|at| Start { code, at }));
        if !loading && self.recent.len() > MAX_RECENT {
            self.settle(texts);
        }
    }

    /// Puts all words in order.
    pub(crate) fn settle<T: Texts>(&mut self, texts: &T) {
        if self.recent.len() * 4 > self.sorted.len() {
            self.sorted.append(&mut self.recent);
            sort(&mut self.sorted, texts);
            self.sorted.shrink_to_fit();
        } else {
            self.merge(texts);
        }
        self.recent = Vec::new();
    }

    /// Few into many: a search for each of the few, the many are only moved.
    fn merge<T: Texts>(&mut self, texts: &T) {
        sort(&mut self.recent, texts);
        let mut end = self.sorted.len();
        let filler = Start { code: 0, at: 0 };
        self.sorted.resize(end + self.recent.len(), filler);
        for (before, start) in self.recent.iter().enumerate().rev() {
            let new = rest(texts, *start);
            let after = self.sorted[..end]
                .partition_point(|old| folded(rest(texts, *old)).cmp(folded(new)).is_le());
            self.sorted.copy_within(after..end, after + before + 1);
            self.sorted[after + before] = *start;
            end = after;
        }
    }

    /// Forgets the words of values that are gone.
    pub(crate) fn retain(&mut self, mut is_kept: impl FnMut(u32) -> bool) {
        self.sorted.retain(|start| is_kept(start.code));
        self.recent.retain(|start| is_kept(start.code));
    }

    fn range<T: Texts>(&self, prefix: &[u8], texts: &T) -> &[Start] {
        let compare = |start: &Start| against(rest(texts, *start), prefix);
        let first = self.sorted.partition_point(|start| compare(start).is_lt());
        let length = self.sorted[first..].partition_point(|start| compare(start).is_eq());
        &self.sorted[first..first + length]
    }

    /// Every place where a word begins with the prefix, which is in lower case; in alphabetical
    /// order, except for the newest.
    pub(crate) fn find<'a, T: Texts>(
        &'a self,
        prefix: &'a str,
        texts: &'a T,
    ) -> impl Iterator<Item = Start> + 'a {
        let prefix = prefix.as_bytes();
        let is = move |start: &&Start| against(rest(texts, **start), prefix).is_eq();
        let sorted = self.range(prefix, texts).iter();
        sorted.chain(self.recent.iter().filter(is)).copied()
    }

    /// Every such place where the word ends with the prefix.
    pub(crate) fn find_whole<'a, T: Texts>(
        &'a self,
        word: &'a str,
        texts: &'a T,
    ) -> impl Iterator<Item = Start> + 'a {
        let follows = |start: &Start| Follows::at(texts.text(start.code), *start, word.len());
        let found = self.range(word.as_bytes(), texts);
        let sorted = Follows::WHOLE.into_iter().flat_map(move |wanted| {
            let first = found.partition_point(|start| follows(start) < wanted);
            let length = found[first..].partition_point(|start| follows(start) == wanted);
            &found[first..first + length]
        });
        let is = move |start: &&Start| {
            against(rest(texts, **start), word.as_bytes()).is_eq() && follows(start).is_whole()
        };
        sorted.chain(self.recent.iter().filter(is)).copied()
    }

    /// About how many places [`Words::find`] finds.
    pub(crate) fn count<T: Texts>(&self, prefix: &str, texts: &T) -> usize {
        self.range(prefix.as_bytes(), texts).len() + self.recent.len()
    }
}

/// Whether a word of a text begins with a prefix in lower case; and whether one is it.
pub(crate) fn has_word(text: &str, prefix: &str) -> Option<bool> {
    let (text, prefix) = (text.as_bytes(), prefix.as_bytes());
    let mut found = None;
    for at in starts(text) {
        let start = Start { code: 0, at };
        if against(&text[at.into()..], prefix).is_eq() {
            if Follows::at(text, start, prefix.len()).is_whole() {
                return Some(true);
            }
            found = Some(false);
        }
    }
    found
}

fn sort<T: Texts>(starts: &mut [Start], texts: &T) {
    let mut keyed: Vec<(u128, Start)> = starts
        .iter()
        .map(|start| (key(rest(texts, *start)), *start))
        .collect();
    keyed.sort_unstable_by(|(key, start), (other_key, other)| {
        key.cmp(other_key)
            .then_with(|| folded(rest(texts, *start)).cmp(folded(rest(texts, *other))))
    });
    for (to, (_, start)) in starts.iter_mut().zip(keyed) {
        *to = start;
    }
}

/// What comes after the beginning of a word, in the order of bytes in lower case: so places that
/// begin alike and are put in order are in this order, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Follows {
    EndOrBeforeDigits,
    Digit,
    BeforeLetters,
    Letter,
    AfterLetters,
    BeyondAscii,
}

impl Follows {
    /// Those that are no part of a word.
    const WHOLE: [Follows; 3] = [
        Follows::EndOrBeforeDigits,
        Follows::BeforeLetters,
        Follows::AfterLetters,
    ];

    fn at(text: &[u8], start: Start, length: usize) -> Self {
        let next = text.get(usize::from(start.at) + length);
        match next.map(u8::to_ascii_lowercase) {
            None | Some(..b'0') => Follows::EndOrBeforeDigits,
            Some(b'0'..=b'9') => Follows::Digit,
            Some(..b'a') => Follows::BeforeLetters,
            Some(b'a'..=b'z') => Follows::Letter,
            Some(..0x80) => Follows::AfterLetters,
            Some(_) => Follows::BeyondAscii,
        }
    }

    fn is_whole(self) -> bool {
        Follows::WHOLE.contains(&self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Texts for Vec<&str> {
        fn text(&self, code: u32) -> &[u8] {
            self[code as usize].as_bytes()
        }
    }

    fn found(words: &Words, prefix: &str, texts: &Vec<&str>) -> Vec<u32> {
        let mut codes: Vec<u32> = words.find(prefix, texts).map(|start| start.code).collect();
        codes.sort_unstable();
        codes
    }

    #[test]
    fn words_are_found_before_and_after_they_are_put_in_order() {
        let texts = vec!["Host-0042", "a rack in room B2", "hos", "zebra"];
        let mut words = Words::default();
        for code in 0..3 {
            words.add(code, &texts, true);
        }
        for _ in 0..2 {
            assert_eq!(found(&words, "host", &texts), [0]);
            assert_eq!(found(&words, "ho", &texts), [0, 2]);
            assert_eq!(found(&words, "0042", &texts), [0]);
            assert_eq!(found(&words, "b2", &texts), [1]);
            assert_eq!(found(&words, "r", &texts), [1, 1]);
            words.settle(&texts);
        }
        words.add(3, &texts, true);
        words.merge(&texts);
        words.recent.clear();
        assert_eq!(found(&words, "zeb", &texts), [3]);
        assert_eq!(found(&words, "ho", &texts), [0, 2]);
        words.retain(|code| code != 0);
        assert_eq!(found(&words, "host", &texts), [0; 0]);
    }

    #[test]
    fn whole_words_are_found_whatever_ends_them() {
        let ends = ["b", "a b", "b c", "B-1", "b:", "b_2", "b~", "x.b"];
        let others = ["b1", "bc", "Back", "b\u{e9}", "xb", "c"];
        let texts: Vec<&str> = ends.into_iter().chain(others).collect();
        let mut words = Words::default();
        for code in 0..texts.len() {
            words.add(u32::try_from(code).unwrap(), &texts, true);
        }
        for _ in 0..2 {
            let mut whole: Vec<u32> = words.find_whole("b", &texts).map(|at| at.code).collect();
            whole.sort_unstable();
            assert_eq!(whole, [0, 1, 2, 3, 4, 5, 6, 7]);
            words.settle(&texts);
        }
    }
}
