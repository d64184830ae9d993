//! The service table's body on its way.

use std::io::{self, Read as _};

use bytes::Bytes;

use crate::wire::Table;

/// Bodies up to this size travel as they are, bytes.
const SMALL: usize = 1 << 10;
/// For a whole table the quickest that still finds what repeats; names and addresses do.
const LEVEL: i32 = 1;
/// For a difference, which is small and goes to everybody.
const DIFFERENCE_LEVEL: i32 = 9;
/// The largest body, bytes: more is no table.
const LARGEST: u64 = 256 << 20;

impl Table {
    /// A table as it is sent; a large one is compressed.
    pub fn pack(revision: u64, json: Vec<u8>) -> Self {
        let digest = wright_model::Digest::of(&json).as_bytes().to_vec();
        let (body, zstd) = compressed(json, LEVEL);
        Table {
            revision,
            body,
            zstd,
            digest,
            since: Vec::new(),
            awaited: false,
        }
    }

    /// The same table for whoever holds `older`: what is different from that, as JSON.
    #[must_use]
    pub fn pack_difference(&self, older: &Table, json: Vec<u8>) -> Self {
        let (body, zstd) = compressed(json, DIFFERENCE_LEVEL);
        Table {
            revision: self.revision,
            body,
            zstd,
            digest: self.digest.clone(),
            since: older.digest.clone(),
            awaited: self.awaited,
        }
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// Where it is not what it says it is, or larger than any table.
    pub fn unpack(&self) -> io::Result<Vec<u8>> {
        if !self.zstd {
            return Ok(self.body.to_vec());
        }
        let mut json = Vec::new();
        let mut frame = zstd::Decoder::new(&self.body[..])?.take(LARGEST + 1);
        frame.read_to_end(&mut json)?;
        if json.len() as u64 > LARGEST {
            return Err(io::Error::other(format!(
                "a table of more than {LARGEST} bytes"
            )));
        }
        Ok(json)
    }
}

fn compressed(json: Vec<u8>, level: i32) -> (Bytes, bool) {
    let compressed = (json.len() > SMALL)
        .then(|| zstd::bulk::compress(&json, level).ok())
        .flatten();
    let zstd = compressed.is_some();
    (compressed.unwrap_or(json).into(), zstd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_and_large_tables_arrive_as_they_were() {
        for size in [0, SMALL, SMALL + 1, 20 * SMALL] {
            let json: Vec<u8> = (0..size).map(|n| (n / 100 % 251) as u8).collect();
            let table = Table::pack(7, json.clone());
            assert_eq!(table.unpack().unwrap(), json);
            assert_eq!(table.zstd, size > SMALL);
            assert!(table.body.len() <= size);
        }
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        let body = b"not compressed".as_slice().into();
        let table = Table {
            revision: 1,
            body,
            zstd: true,
            ..Table::default()
        };
        assert!(table.unpack().is_err());
    }
}
