//! The table of functions in .eh_frame_hdr.

use object::{Endian as _, Endianness};

/// A row: two signed numbers of four bytes, the addresses of a function and of its description, both counted from the
/// section's.
const ROW: usize = 8;

/// The table of functions in .eh_frame_hdr, in the one form that linkers write (Linux Standard Base, Exception Frames):
/// version 1, a pointer of four bytes, the number of rows in four, and rows of signed numbers of four, counted from the section's
/// beginning.
#[derive(Clone, Copy, Debug, Default)]
pub struct FrameTable<'a> {
    /// The section's address.
    base: u64,
    rows: &'a [[u8; ROW]],
    endian: Endianness,
}

/// A function, and where its description is: addresses of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameRow {
    pub function: u64,
    pub description: u64,
}

impl<'a> FrameTable<'a> {
    /// That of a section that is loaded at `address`; `None` if it is of another form.
    pub fn new(address: u64, section: &'a [u8], endian: Endianness) -> Option<Self> {
        let [1, pointer, 0x03, 0x3b] = *section.first_chunk()? else { return None };
        if !matches!(pointer & 0x0f, 0x03 | 0x0b) {
            return None;
        }
        let count = endian.read_u32(*section.get(8..)?.first_chunk()?);
        let rows = section.get(12..)?;
        let rows = rows.get(..usize::try_from(count).ok()?.checked_mul(ROW)?)?;
        Some(Self { base: address, rows: rows.as_chunks().0, endian })
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Whether its functions are in ascending order; those of a damaged one may not be, and then it is of no use.
    pub fn is_ascending(&self) -> bool {
        self.rows.is_sorted_by_key(|row| self.row(row).function)
    }

    /// The last function that begins at or before `address` and the one after it.
    pub fn around(&self, address: u64) -> (Option<FrameRow>, Option<FrameRow>) {
        let after = self.rows.partition_point(|row| self.row(row).function <= address);
        let row = |index: usize| self.rows.get(index).map(|row| self.row(row));
        (after.checked_sub(1).and_then(row), row(after))
    }

    fn row(&self, row: &[u8; ROW]) -> FrameRow {
        let [a, b, c, d, e, f, g, h] = *row;
        let address = |bytes: [u8; 4]| self.base.wrapping_add_signed(i64::from(self.endian.read_i32(bytes)));
        FrameRow { function: address([a, b, c, d]), description: address([e, f, g, h]) }
    }
}
