//! The service table's body on its way.

use std::io::{self, Read as _};

use crate::wire::Table;

/// Bodies up to this size travel as they are, bytes.
const SMALL: usize = 16 << 10;
/// The quickest that still finds what repeats; names and addresses in a table do.
const LEVEL: i32 = 1;
/// The largest body, bytes: more is no table.
const LARGEST: u64 = 256 << 20;

impl Table {
    /// A table as it is sent; a large one is compressed.
    pub fn pack(revision: u64, json: Vec<u8>) -> Self {
        let compressed = (json.len() > SMALL)
            .then(|| zstd::bulk::compress(&json, LEVEL).ok())
            .flatten();
        let zstd = compressed.is_some();
        Table {
            revision,
            digest: wright_model::Digest::of(&json).as_bytes().to_vec(),
            body: compressed.unwrap_or(json).into(),
            zstd,
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
