use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

/// A text that is not the quantity it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {expected}")]
pub struct UnitError {
    text: String,
    expected: &'static str,
}

impl UnitError {
    fn new(text: &str, expected: &'static str) -> Self {
        UnitError {
            text: text.chars().take(80).collect(),
            expected,
        }
    }
}

/// A number of bytes, written with its unit: `512KiB`, `128MiB`, `2GiB`, `1TiB`, `100B`.
///
/// Binary units only (IEC 80000-13); at most 1 PiB.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct ByteSize(u64);

const BYTE_UNITS: [(&str, u64); 5] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

impl ByteSize {
    /// From a count of bytes.
    pub fn from_bytes(bytes: u64) -> Self {
        ByteSize(bytes)
    }

    /// The count of bytes.
    pub fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let refuse = || UnitError::new(text, "a size with its unit, such as 128MiB or 2GiB");
        let (digits, factor) = BYTE_UNITS
            .iter()
            .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)))
            .ok_or_else(refuse)?;
        let count: u64 = digits.trim_end().parse().map_err(|_| refuse())?;
        count
            .checked_mul(factor)
            .filter(|bytes| *bytes <= 1 << 50)
            .map(ByteSize)
            .ok_or_else(refuse)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, factor) = BYTE_UNITS
            .into_iter()
            .find(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor))
            .unwrap_or(("B", 1));
        write!(f, "{}{unit}", self.0 / factor)
    }
}

/// A length of time, written with its unit: `250ms`, `60s`, `5m`, `2h`, `7d`.
///
/// Whole milliseconds; at most 366 days.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct Span(u64);

const TIME_UNITS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

impl Span {
    /// From whole seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Span(seconds * 1_000)
    }

    /// From milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Span(millis)
    }

    /// As milliseconds.
    pub fn millis(self) -> u64 {
        self.0
    }

    /// As a [`Duration`].
    pub fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl FromStr for Span {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let refuse = || {
            UnitError::new(
                text,
                "a length of time with its unit, such as 500ms, 60s or 5m",
            )
        };
        let (digits, factor) = TIME_UNITS
            .iter()
            .find_map(|(unit, factor)| {
                let digits = text.strip_suffix(unit)?.trim_end();
                digits
                    .bytes()
                    .all(|b| b.is_ascii_digit())
                    .then_some((digits, *factor))
            })
            .ok_or_else(refuse)?;
        let count: u64 = digits.parse().map_err(|_| refuse())?;
        count
            .checked_mul(factor)
            .filter(|ms| *ms <= 366 * 86_400_000)
            .map(Span)
            .ok_or_else(refuse)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, factor) = TIME_UNITS
            .into_iter()
            .rev()
            .find(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor))
            .unwrap_or(("ms", 1));
        write!(f, "{}{unit}", self.0 / factor)
    }
}

/// A share of processors in thousandths of one: `0.5` is half a processor. At most 1,024 of them.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(try_from = "f64", into = "f64")]
pub struct CpuShare(u32);

impl CpuShare {
    /// From thousandths of a processor.
    pub const fn from_millis(millis: u32) -> Self {
        CpuShare(millis)
    }

    /// In thousandths of a processor.
    pub fn millis(self) -> u32 {
        self.0
    }
}

impl TryFrom<f64> for CpuShare {
    type Error = UnitError;

    fn try_from(processors: f64) -> Result<Self, UnitError> {
        if processors.is_finite() && (0.0..=1024.0).contains(&processors) {
            // In range, so the rounded value fits.
            Ok(CpuShare((processors * 1000.0).round() as u32))
        } else {
            Err(UnitError::new(
                &processors.to_string(),
                "a number of processors between 0 and 1024",
            ))
        }
    }
}

impl From<CpuShare> for f64 {
    fn from(share: CpuShare) -> f64 {
        f64::from(share.0) / 1000.0
    }
}

impl fmt::Display for CpuShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", f64::from(*self))
    }
}

macro_rules! text_conversions {
    ($($quantity:ty),*) => {$(
        impl TryFrom<String> for $quantity {
            type Error = UnitError;

            fn try_from(text: String) -> Result<Self, UnitError> {
                text.parse()
            }
        }

        impl From<$quantity> for String {
            fn from(quantity: $quantity) -> String {
                quantity.to_string()
            }
        }
    )*};
}
text_conversions!(ByteSize, Span);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_need_a_unit() {
        assert_eq!("128MiB".parse::<ByteSize>().unwrap().bytes(), 128 << 20);
        assert_eq!(ByteSize::from_bytes(3 << 30).to_string(), "3GiB");
        for bad in ["128", "128MB", "-1MiB", "MiB", "99999999TiB", "1.5GiB"] {
            assert!(bad.parse::<ByteSize>().is_err(), "{bad}");
        }
    }

    #[test]
    fn spans_need_a_unit() {
        assert_eq!("250ms".parse::<Span>().unwrap().millis(), 250);
        assert_eq!("2m".parse::<Span>().unwrap(), Span::from_secs(120));
        assert_eq!(Span::from_secs(120).to_string(), "2m");
        for bad in ["60", "-1s", "s", "1y", "400d", "1.5s"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }

    #[test]
    fn cpu_shares_are_bounded() {
        assert_eq!(CpuShare::try_from(0.25).unwrap().millis(), 250);
        assert!(CpuShare::try_from(-0.1).is_err());
        assert!(CpuShare::try_from(f64::NAN).is_err());
        assert!(CpuShare::try_from(5000.0).is_err());
    }
}
