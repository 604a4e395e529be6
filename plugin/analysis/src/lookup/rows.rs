//! The rows of a unit's line table that addresses lie in.

use super::wanted::Wanted;
use crate::dwarf::{DwarfError, Slice};
use gimli::{ColumnType, IncompleteLineProgram};
use std::ops::ControlFlow;

/// A place in the source, by its file's number in the unit's table. Line and column are 0 where they are not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    pub file: u64,
    pub line: u32,
    pub column: u32,
}

/// As many rows are read between two questions whether to stop.
const OFTEN: u32 = 1 << 12;

/// Asks now and then whether to stop.
pub(crate) struct Patience<'s> {
    stop: &'s dyn Fn() -> bool,
    rows: u32,
}

impl<'s> Patience<'s> {
    pub(crate) fn new(stop: &'s dyn Fn() -> bool) -> Self {
        Self { stop, rows: 0 }
    }

    /// Whether to stop, before another row.
    pub(crate) fn is_over(&mut self) -> bool {
        self.rows = (self.rows + 1) % OFTEN;
        self.rows == 0 && (self.stop)()
    }
}

/// Finds the place of each of `wanted`, by its position. Of two rows at one address it is the last that counts; of two
/// sequences that an address lies in, as happens where the linker has merged functions, the one that ends first. Breaks if `stop`
/// says so.
///
/// # Errors
/// If the program is malformed; the sequences before that are in `found`.
pub fn places<'a>(
    program: IncompleteLineProgram<Slice<'a>>,
    wanted: &Wanted,
    found: &mut Vec<Option<Place>>,
    stop: &dyn Fn() -> bool,
) -> Result<ControlFlow<()>, DwarfError> {
    found.resize(wanted.len(), None);
    let mut ends = vec![u64::MAX; wanted.len()];
    let mut rows = program.rows();
    let mut patience = Patience::new(stop);
    let mut sequence: Vec<(usize, Place)> = Vec::new();
    // The last row of the sequence, and the first position that is not before it.
    let mut last: Option<(u64, Place)> = None;
    let mut position = 0;
    let addresses = wanted.addresses();
    while let Some((_, row)) = rows.next_row()? {
        if patience.is_over() {
            return Ok(ControlFlow::Break(()));
        }
        let address = row.address();
        match last {
            Some((start, place)) if start <= address => {
                while position < addresses.len() && addresses[position] < address {
                    sequence.push((position, place));
                    position += 1;
                }
            }
            // A sequence begins, or its addresses do not ascend as they should.
            _ => position = addresses.partition_point(|wanted| *wanted < address),
        }
        last = Some((address, place(row)));
        if row.end_sequence() {
            last = None;
            for (position, place) in sequence.drain(..) {
                if address < ends[position] {
                    ends[position] = address;
                    found[position] = Some(place);
                }
            }
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Where a row says that its code is from.
pub fn place(row: &gimli::LineRow) -> Place {
    let line = row.line().map_or(0, |line| u32::try_from(line.get()).unwrap_or(u32::MAX));
    let column = match row.column() {
        ColumnType::LeftEdge => 0,
        ColumnType::Column(column) => u32::try_from(column.get()).unwrap_or(u32::MAX),
    };
    Place { file: row.file_index(), line, column }
}
