//! Which rows have a value: most values of a unique field have one row, and that needs four bytes.

use roaring::RoaringBitmap;

/// No row, one row, or a number in the postings' lists (with the highest bit set).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Posting(u32);

const NONE: u32 = u32::MAX;
const LISTED: u32 = 1 << 31;
/// The most rows of a kind.
pub(crate) const MAX_ROWS: u32 = LISTED - 1;

/// The rows of a posting.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rows<'v> {
    None,
    One(u32),
    Many(&'v RoaringBitmap),
}

/// Postings by number; the lists of those with more than one row.
#[derive(Debug, Default)]
pub(crate) struct Postings {
    postings: Vec<Posting>,
    lists: Vec<RoaringBitmap>,
    free: Vec<u32>,
}

impl Postings {
    fn list(&self, posting: Posting) -> Option<usize> {
        let listed = posting.0 != NONE && posting.0 & LISTED != 0;
        listed.then_some((posting.0 & !LISTED) as usize)
    }

    pub(crate) fn rows(&self, at: u32) -> Rows<'_> {
        let Some(&posting) = self.postings.get(at as usize) else {
            return Rows::None;
        };
        match self.list(posting) {
            _ if posting.0 == NONE => Rows::None,
            Some(list) => self.lists.get(list).map_or(Rows::None, Rows::Many),
            None => Rows::One(posting.0),
        }
    }

    pub(crate) fn insert(&mut self, at: u32, row: u32) {
        let at = at as usize;
        if self.postings.len() <= at {
            self.postings.resize(at + 1, Posting(NONE));
        }
        let posting = self.postings[at];
        self.postings[at] = match (posting.0, self.list(posting)) {
            (NONE, _) => Posting(row),
            (_, Some(list)) => {
                self.lists[list].insert(row);
                posting
            }
            (first, None) if first == row => posting,
            (first, None) => {
                let list = RoaringBitmap::from_iter([first, row]);
                let number = if let Some(number) = self.free.pop() {
                    self.lists[number as usize] = list;
                    number
                } else {
                    self.lists.push(list);
                    // Fewer lists than rows.
                    u32::try_from(self.lists.len() - 1).unwrap_or(MAX_ROWS)
                };
                Posting(number | LISTED)
            }
        };
    }

    /// Takes a row out; whether none is left.
    pub(crate) fn remove(&mut self, at: u32, row: u32) -> bool {
        let Some(&posting) = self.postings.get(at as usize) else {
            return true;
        };
        let left = match self.list(posting) {
            Some(number) => {
                let list = &mut self.lists[number];
                list.remove(row);
                if list.len() > 1 {
                    return false;
                }
                let last = list.min();
                *list = RoaringBitmap::new();
                self.free.push(posting.0 & !LISTED);
                last.map_or(Posting(NONE), Posting)
            }
            None if posting.0 == row => Posting(NONE),
            None => posting,
        };
        self.postings[at as usize] = left;
        left.0 == NONE
    }

    pub(crate) fn shrink(&mut self) {
        self.postings.shrink_to_fit();
        self.lists.shrink_to_fit();
        for list in &mut self.lists {
            list.optimize();
        }
    }
}

impl Rows<'_> {
    pub(crate) fn len(self) -> usize {
        match self {
            Rows::None => 0,
            Rows::One(_) => 1,
            Rows::Many(rows) => usize::try_from(rows.len()).unwrap_or(usize::MAX),
        }
    }

    pub(crate) fn first(self) -> Option<u32> {
        match self {
            Rows::None => None,
            Rows::One(row) => Some(row),
            Rows::Many(rows) => rows.min(),
        }
    }

    pub(crate) fn add_to(self, set: &mut RoaringBitmap) {
        match self {
            Rows::None => {}
            Rows::One(row) => {
                set.insert(row);
            }
            Rows::Many(rows) => *set |= rows,
        }
    }
}

impl<'v> Rows<'v> {
    pub(crate) fn iter(self) -> impl Iterator<Item = u32> + 'v {
        let (one, many) = match self {
            Rows::None => (None, None),
            Rows::One(row) => (Some(row), None),
            Rows::Many(rows) => (None, Some(rows.iter())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

/// Rows gathered from many postings, in any order.
#[derive(Debug)]
pub(crate) struct Gathered {
    /// A bit for each row, from postings with few.
    few: Vec<u64>,
    many: RoaringBitmap,
}

/// Postings with at least so many rows are joined as sets.
const MANY: usize = 1024;

impl Gathered {
    /// Of a table with rows below `end`.
    pub(crate) fn new(end: u32) -> Self {
        Gathered {
            few: vec![0; end as usize / 64 + 1],
            many: RoaringBitmap::new(),
        }
    }

    pub(crate) fn add(&mut self, rows: Rows<'_>) {
        match rows {
            Rows::None => {}
            Rows::One(row) => self.set(row),
            Rows::Many(many) if rows.len() >= MANY => self.many |= many,
            Rows::Many(few) => few.iter().for_each(|row| self.set(row)),
        }
    }

    pub(crate) fn set(&mut self, row: u32) {
        if let Some(word) = self.few.get_mut(row as usize / 64) {
            *word |= 1 << (row % 64);
        }
    }

    pub(crate) fn rows(self) -> RoaringBitmap {
        let rows = (0u32..).zip(&self.few).flat_map(|(at, word)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros())?;
                left &= left - 1;
                Some(at * 64 + bit)
            })
        });
        self.many | RoaringBitmap::from_sorted_iter(rows).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_and_go_one_by_one() {
        let mut postings = Postings::default();
        for row in [7, 3, 3, 9] {
            postings.insert(2, row);
        }
        assert_eq!(postings.rows(2).iter().collect::<Vec<_>>(), [3, 7, 9]);
        assert_eq!(postings.rows(0).len(), 0);
        assert!(!postings.remove(2, 3) && !postings.remove(2, 9));
        assert_eq!(postings.rows(2).first(), Some(7));
        assert!(postings.remove(2, 7));
        assert_eq!(postings.rows(2).len(), 0);
    }
}
