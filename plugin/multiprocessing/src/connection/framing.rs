//! How messages follow one another on a stream: each begins with its length.
//!
//! | bytes | what |
//! | --- | --- |
//! | 0..4 | the length of the message, big-endian and signed; or -1 |
//! | 4..12 | after -1 only: the length of the message, big-endian and unsigned |
//!
//! This is CPython's. It is pure: bytes in, values out; foreign bytes give an error, and nothing is allocated for what a
//! length claims.

use std::ops::Deref;

/// What stands before a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    bytes: [u8; 12],
    length: usize,
}

/// Bytes that are no header.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message of {0} bytes: the other side does not speak as a multiprocessing connection does")]
pub struct FrameError(i32);

impl Header {
    /// The header of a message of so many bytes.
    ///
    /// ```
    /// use multiprocessing::connection::framing::Header;
    ///
    /// assert_eq!(&*Header::of(258), [0, 0, 1, 2]);
    /// assert_eq!(&*Header::of(1 << 31), [255, 255, 255, 255, 0, 0, 0, 0, 128, 0, 0, 0]);
    /// ```
    pub fn of(length: usize) -> Header {
        let mut bytes = [0; 12];
        match i32::try_from(length) {
            Ok(short) => {
                bytes[..4].copy_from_slice(&short.to_be_bytes());
                Header { bytes, length: 4 }
            }
            Err(_) => {
                bytes[..4].copy_from_slice(&(-1_i32).to_be_bytes());
                bytes[4..].copy_from_slice(&(length as u64).to_be_bytes());
                Header { bytes, length: 12 }
            }
        }
    }
}

impl Deref for Header {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// What the first bytes of a stream say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// A message of so many bytes follows, after a header of so many.
    Message {
        /// The length of the message, in bytes, as the other side claims it.
        length: u64,
        /// The length of the header, in bytes.
        header: usize,
    },
    /// So many bytes must be there before more can be said.
    Need(usize),
}

/// Reads the header at the beginning of `bytes`.
///
/// ```
/// use multiprocessing::connection::framing::{Start, start};
///
/// assert_eq!(start(&[0, 0])?, Start::Need(4));
/// assert_eq!(start(&[0, 0, 0, 3, b'a'])?, Start::Message { length: 3, header: 4 });
/// # Ok::<(), multiprocessing::connection::framing::FrameError>(())
/// ```
///
/// # Errors
/// A negative length, other than the one that says that a longer one follows.
pub fn start(bytes: &[u8]) -> Result<Start, FrameError> {
    let Some((short, rest)) = bytes.split_first_chunk() else { return Ok(Start::Need(4)) };
    match i32::from_be_bytes(*short) {
        -1 => Ok(match rest.first_chunk() {
            Some(long) => Start::Message { length: u64::from_be_bytes(*long), header: 12 },
            None => Start::Need(12),
        }),
        negative @ ..0 => Err(FrameError(negative)),
        length => Ok(Start::Message { length: u64::from(length.unsigned_abs()), header: 4 }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_header_is_read_as_it_was_written(length: usize, short in 0_usize..100_000) {
            for length in [length, short, 0x7fff_ffff, 0x8000_0000] {
                let header = Header::of(length);
                prop_assert_eq!(start(&header), Ok(Start::Message { length: length as u64, header: header.len() }));
                for cut in 0..header.len() {
                    prop_assert!(matches!(start(&header[..cut]), Ok(Start::Need(needed)) if needed > cut));
                }
            }
        }
    }

    #[test]
    fn a_negative_length_is_an_error() {
        assert_eq!(start(&(-2_i32).to_be_bytes()), Err(FrameError(-2)));
        assert_eq!(start(&i32::MIN.to_be_bytes()), Err(FrameError(i32::MIN)));
    }
}
