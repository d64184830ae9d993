//! Long records are compressed: steps of a plan, and what became of them, say the same over and over.

use std::borrow::Cow;
use std::io;

/// How every zstd frame begins (RFC 8878, 3.1.1); no JSON does.
const FRAME: [u8; 4] = 0xfd2f_b528_u32.to_le_bytes();
/// What is shorter stays as it is, bytes.
const SHORT: usize = 4 << 10;
/// The quickest, which makes a twelfth of a plan.
const LEVEL: i32 = 1;
/// What a record may be when it is unpacked, bytes: many times what was ever packed.
const LARGEST: u64 = 64 << 20;

/// A record as it is stored.
pub(crate) fn pack(json: Vec<u8>) -> Vec<u8> {
    if json.len() < SHORT {
        return json;
    }
    // It fails where there is no memory; then the text itself does as well.
    zstd::bulk::compress(&json, LEVEL).unwrap_or(json)
}

/// A record as it was before it was stored.
///
/// # Errors
/// Where it begins like a frame and is none.
pub(crate) fn unpack(stored: &[u8]) -> io::Result<Cow<'_, [u8]>> {
    if !stored.starts_with(&FRAME) {
        return Ok(Cow::Borrowed(stored));
    }
    let size = zstd::zstd_safe::get_frame_content_size(stored)
        .ok()
        .flatten();
    let size = size
        .filter(|size| *size <= LARGEST)
        .and_then(|size| usize::try_from(size).ok());
    let size = size.ok_or_else(|| io::Error::other("a packed record of unknown or undue size"))?;
    zstd::bulk::decompress(stored, size).map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_records_are_read_as_they_were_written() {
        for size in [0, 1, SHORT - 1, SHORT, 100 * SHORT] {
            let json: Vec<u8> = b"[1]".iter().copied().cycle().take(size).collect();
            let stored = pack(json.clone());
            assert_eq!(unpack(&stored).unwrap(), json);
            assert_eq!(stored.len() < json.len(), size >= SHORT);
        }
    }

    #[test]
    fn a_record_that_was_cut_is_refused() {
        let stored = pack(vec![b'1'; SHORT]);
        for length in FRAME.len()..stored.len() {
            assert!(unpack(&stored[..length]).is_err(), "{length}");
        }
    }
}
