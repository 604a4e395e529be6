//! Numbers of DWARF, read from slices.

use gimli::RunTimeEndian;

/// How a unit's values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Encoding {
    pub(crate) version: u16,
    /// 4 or 8.
    pub(crate) offset_size: u8,
    /// At most 8.
    pub(crate) address_size: u8,
    /// Whether the most significant byte comes first.
    pub(crate) big: bool,
}

impl Encoding {
    /// That of the unit with this header.
    pub(crate) fn of(header: &super::Header<'_>, endian: RunTimeEndian) -> Self {
        Self {
            version: header.version(),
            offset_size: header.format().word_size(),
            address_size: header.address_size().min(8),
            big: endian == RunTimeEndian::Big,
        }
    }
}

/// Why a unit cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// An entry is cut off.
    #[error("it ends within an entry")]
    End,
    /// A table of abbreviations cannot be read.
    #[error("its abbreviations are malformed")]
    Abbreviation,
    /// An entry has an abbreviation that is not there.
    #[error("it has no abbreviation {0}")]
    Code(u64),
    /// An attribute has a form that is not known.
    #[error("form 0x{0:x} is not known")]
    Form(u16),
    /// Nothing is at an offset that is referred to.
    #[error("an entry refers to 0x{0:x}, where none is")]
    Reference(u64),
    /// Why its header cannot be read.
    #[error("{0}")]
    Header(String),
    /// It was told to stop.
    #[error("stopped")]
    Stopped,
}

/// A number of at most 8 bytes.
#[inline]
pub(crate) fn number(bytes: &[u8], at: &mut usize, size: u8, big: bool) -> Result<u64, Malformed> {
    let end = at.checked_add(size.into()).ok_or(Malformed::End)?;
    let field = bytes.get(*at..end).ok_or(Malformed::End)?;
    *at = end;
    if let (Ok(field), false) = (<[u8; 4]>::try_from(field), big) {
        return Ok(u32::from_le_bytes(field).into());
    }
    let put = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
    Ok(if big { field.iter().fold(0, put) } else { field.iter().rev().fold(0, put) })
}

/// An unsigned LEB128 number. Bits beyond 64 are lost.
#[inline]
pub(crate) fn leb(bytes: &[u8], at: &mut usize) -> Result<u64, Malformed> {
    let first = *bytes.get(*at).ok_or(Malformed::End)?;
    *at += 1;
    if first < 0x80 {
        return Ok(first.into());
    }
    leb_on(bytes, at, (first & 0x7f).into()).map(|(value, _)| value)
}

/// A signed LEB128 number.
pub(crate) fn signed_leb(bytes: &[u8], at: &mut usize) -> Result<i64, Malformed> {
    let first = *bytes.get(*at).ok_or(Malformed::End)?;
    *at += 1;
    let (value, bits) = if first < 0x80 { (first.into(), 7) } else { leb_on(bytes, at, (first & 0x7f).into())? };
    if bits >= 64 {
        return Ok(value as i64);
    }
    Ok((value << (64 - bits)) as i64 >> (64 - bits))
}

/// The rest of a number whose first 7 bits are known, and how many bits were written.
fn leb_on(bytes: &[u8], at: &mut usize, first: u64) -> Result<(u64, u32), Malformed> {
    let (mut value, mut bits) = (first, 7);
    loop {
        let byte = *bytes.get(*at).ok_or(Malformed::End)?;
        *at += 1;
        if bits < 64 {
            value |= u64::from(byte & 0x7f) << bits;
        }
        bits = (bits + 7).min(70);
        if byte < 0x80 {
            return Ok((value, bits));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_gimli_reads_them() {
        use gimli::{LittleEndian, Reader};
        for bytes in [&[0x7f][..], &[0x80, 0x01], &[0x40], &[0xff, 0x7f], &[0x80, 0x80, 0x80, 0x80, 0x10], &[0x7e]] {
            let slice = || gimli::EndianSlice::new(bytes, LittleEndian);
            assert_eq!(leb(bytes, &mut 0), Ok(slice().read_uleb128().unwrap()), "{bytes:x?}");
            assert_eq!(signed_leb(bytes, &mut 0), Ok(slice().read_sleb128().unwrap()), "{bytes:x?}");
        }
        assert_eq!(number(&[1, 2, 3], &mut 0, 3, false), Ok(0x03_02_01));
        assert_eq!(number(&[1, 2, 3], &mut 0, 3, true), Ok(0x01_02_03));
    }

    #[test]
    fn a_number_that_is_cut_off_or_too_long_does_no_harm() {
        assert_eq!(leb(&[0x80, 0x80], &mut 0), Err(Malformed::End));
        assert_eq!(number(&[1, 2, 3], &mut 0, 4, false), Err(Malformed::End));
        assert_eq!(leb(&[&[0xff; 40][..], &[0]].concat(), &mut 0), Ok(u64::MAX));
        assert_eq!(signed_leb(&[&[0xff; 40][..], &[0]].concat(), &mut 0), Ok(-1));
    }
}
