//! One number for each row, in as many bytes as the largest needs.

/// Codes by row.
#[derive(Debug)]
pub(crate) enum Codes {
    One(Vec<u8>),
    Two(Vec<u16>),
    Four(Vec<u32>),
}

impl Default for Codes {
    fn default() -> Self {
        Codes::One(Vec::new())
    }
}

/// Puts a number at a row, the rows before it have none yet.
fn put<T: Copy>(cells: &mut Vec<T>, row: u32, value: T, none: T) {
    let row = row as usize;
    if cells.len() <= row {
        cells.resize(row + 1, none);
    }
    cells[row] = value;
}

impl Codes {
    pub(crate) fn get(&self, row: u32) -> Option<u32> {
        let row = row as usize;
        match self {
            Codes::One(cells) => cells
                .get(row)
                .filter(|c| **c != u8::MAX)
                .map(|c| (*c).into()),
            Codes::Two(cells) => cells
                .get(row)
                .filter(|c| **c != u16::MAX)
                .map(|c| (*c).into()),
            Codes::Four(cells) => cells.get(row).filter(|c| **c != u32::MAX).copied(),
        }
    }

    pub(crate) fn set(&mut self, row: u32, code: Option<u32>) {
        if code.is_none() && row as usize >= self.len() {
            return;
        }
        loop {
            match self {
                Codes::One(cells) => match code.map_or(Ok(u8::MAX), u8::try_from) {
                    Ok(cell) if code.is_none() || cell < u8::MAX => {
                        return put(cells, row, cell, u8::MAX);
                    }
                    _ => {
                        let wide = |c: &u8| if *c == u8::MAX { u16::MAX } else { (*c).into() };
                        *self = Codes::Two(cells.iter().map(wide).collect());
                    }
                },
                Codes::Two(cells) => match code.map_or(Ok(u16::MAX), u16::try_from) {
                    Ok(cell) if code.is_none() || cell < u16::MAX => {
                        return put(cells, row, cell, u16::MAX);
                    }
                    _ => {
                        let wide = |c: &u16| {
                            if *c == u16::MAX {
                                u32::MAX
                            } else {
                                (*c).into()
                            }
                        };
                        *self = Codes::Four(cells.iter().map(wide).collect());
                    }
                },
                Codes::Four(cells) => {
                    return put(cells, row, code.unwrap_or(u32::MAX), u32::MAX);
                }
            }
        }
    }

    fn len(&self) -> usize {
        match self {
            Codes::One(cells) => cells.len(),
            Codes::Two(cells) => cells.len(),
            Codes::Four(cells) => cells.len(),
        }
    }

    pub(crate) fn shrink(&mut self) {
        match self {
            Codes::One(cells) => cells.shrink_to_fit(),
            Codes::Two(cells) => cells.shrink_to_fit(),
            Codes::Four(cells) => cells.shrink_to_fit(),
        }
    }
}

/// Whole numbers by row; the least of the type says that there is none.
#[derive(Debug)]
pub(crate) enum Ints {
    Four(Vec<i32>),
    Eight(Vec<i64>),
}

impl Default for Ints {
    fn default() -> Self {
        Ints::Four(Vec::new())
    }
}

impl Ints {
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Ints::Four(cells) => cells.is_empty(),
            Ints::Eight(cells) => cells.is_empty(),
        }
    }

    pub(crate) fn get(&self, row: u32) -> Option<i64> {
        let row = row as usize;
        match self {
            Ints::Four(cells) => cells
                .get(row)
                .filter(|c| **c != i32::MIN)
                .map(|c| (*c).into()),
            Ints::Eight(cells) => cells.get(row).filter(|c| **c != i64::MIN).copied(),
        }
    }

    /// The number [`i64::MIN`] itself cannot be kept: it becomes the next one.
    pub(crate) fn set(&mut self, row: u32, value: Option<i64>) {
        let length = match self {
            Ints::Four(cells) => cells.len(),
            Ints::Eight(cells) => cells.len(),
        };
        if value.is_none() && row as usize >= length {
            return;
        }
        if let Ints::Four(cells) = self {
            match value.map_or(Ok(i32::MIN), i32::try_from) {
                Ok(cell) if value.is_none() || cell > i32::MIN => {
                    return put(cells, row, cell, i32::MIN);
                }
                _ => {
                    let wide = |c: &i32| {
                        if *c == i32::MIN {
                            i64::MIN
                        } else {
                            (*c).into()
                        }
                    };
                    *self = Ints::Eight(cells.iter().map(wide).collect());
                }
            }
        }
        if let Ints::Eight(cells) = self {
            let cell = value.map_or(i64::MIN, |value| value.max(i64::MIN + 1));
            put(cells, row, cell, i64::MIN);
        }
    }

    /// Every row that has a number, and the number.
    pub(crate) fn each(&self, mut each: impl FnMut(u32, i64)) {
        match self {
            Ints::Four(cells) => (0..).zip(cells).for_each(|(row, cell)| {
                if *cell != i32::MIN {
                    each(row, (*cell).into());
                }
            }),
            Ints::Eight(cells) => (0..).zip(cells).for_each(|(row, cell)| {
                if *cell != i64::MIN {
                    each(row, *cell);
                }
            }),
        }
    }

    pub(crate) fn shrink(&mut self) {
        match self {
            Ints::Four(cells) => cells.shrink_to_fit(),
            Ints::Eight(cells) => cells.shrink_to_fit(),
        }
    }
}

/// Fractions by row; no JSON number is none.
#[derive(Debug, Default)]
pub(crate) struct Floats(Vec<f64>);

impl Floats {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn get(&self, row: u32) -> Option<f64> {
        self.0
            .get(row as usize)
            .filter(|cell| !cell.is_nan())
            .copied()
    }

    pub(crate) fn set(&mut self, row: u32, value: Option<f64>) {
        if value.is_some() || (row as usize) < self.0.len() {
            put(&mut self.0, row, value.unwrap_or(f64::NAN), f64::NAN);
        }
    }

    pub(crate) fn each(&self, mut each: impl FnMut(u32, f64)) {
        (0..)
            .zip(&self.0)
            .filter(|(_, cell)| !cell.is_nan())
            .for_each(|(row, cell)| each(row, *cell));
    }

    pub(crate) fn shrink(&mut self) {
        self.0.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_grow_and_keep_what_is_not_there() {
        let mut codes = Codes::default();
        let numbers = [3, 254, 255, 65_534, 65_535, 1 << 20];
        for (row, number) in (0..).step_by(2).zip(numbers) {
            codes.set(row, Some(number));
        }
        for (row, number) in (0..).step_by(2).zip(numbers) {
            assert_eq!((codes.get(row), codes.get(row + 1)), (Some(number), None));
        }
        codes.set(2, None);
        assert_eq!(codes.get(2), None);
    }

    #[test]
    fn numbers_keep_their_value_at_the_edges() {
        let mut ints = Ints::default();
        let numbers = [0, -1, i32::MAX.into(), i32::MIN.into(), i64::MAX];
        for (row, number) in (0..).step_by(2).zip(numbers) {
            ints.set(row, Some(number));
        }
        for (row, number) in (0..).step_by(2).zip(numbers) {
            assert_eq!((ints.get(row), ints.get(row + 1)), (Some(number), None));
        }
    }
}
