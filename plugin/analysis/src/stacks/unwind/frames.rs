//! The call frame information of a module.

use super::super::End;
use super::expression::Expression;
use super::image::Image;
use super::row::Row;
use crate::dwarf::FrameTable;
use gimli::{
    BaseAddresses, CieOrFde, DebugFrame, EhFrame, EndianSlice, LittleEndian, UnwindContext, UnwindContextStorage,
    UnwindOffset, UnwindSection, UnwindTableRow,
};
use object::Endianness;
use std::cell::OnceCell;
use target::modules::{Files, Role};

type Slice<'a> = EndianSlice<'a, LittleEndian>;

/// Of a section without a table, so many descriptions are looked at.
const MOST_DESCRIPTIONS: usize = 1 << 22;

/// Room for rules of one row, and for rows that are remembered. There are 17 registers that matter; compilers remember one
/// row at a time.
pub(super) struct Room;

impl UnwindContextStorage<usize> for Room {
    type Rules = [(gimli::Register, gimli::RegisterRule<usize>); 64];
    type Stack = Box<[UnwindTableRow<usize, Self>; 16]>;
}

/// What reading call frame information takes.
pub(super) struct Workshop {
    pub(super) context: Box<UnwindContext<usize, Room>>,
    /// Bytes of instructions that may still be looked at for this stack.
    pub(super) budget: usize,
}

/// Of one stack, so many bytes of call frame instructions are looked at, which is more than any file has in honest ones.
pub(super) const BUDGET: usize = 64 << 20;

/// What is kept of a module from one thread to the next.
#[derive(Default)]
pub(super) struct Known {
    /// Whether .eh_frame_hdr's table is in order.
    is_ascending: OnceCell<bool>,
    /// The functions that .eh_frame describes where there is no such table, and those that .debug_frame does.
    eh_frame: OnceCell<Vec<Described>>,
    debug_frame: OnceCell<Vec<Described>>,
}

/// A function and where its description is in the section.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Described {
    start: u64,
    end: u64,
    offset: usize,
}

/// The sections that have call frame information.
#[derive(Default)]
pub(super) struct Sections<'a> {
    /// What is added to addresses in them to get those of the target.
    bias: u64,
    bases: BaseAddresses,
    /// With its address.
    eh_frame: Option<(u64, &'a [u8])>,
    table: FrameTable<'a>,
    debug_frame: &'a [u8],
}

impl<'a> Sections<'a> {
    /// Those of a module's files. What cannot be read of them is as if it were not there.
    pub(super) fn of_files(files: &'a Files, module: usize) -> Self {
        let surveyed = &files.set().modules[module];
        let loaded = |name| {
            let section = surveyed.section_named(Some(Role::Main), name)?;
            let bytes = files.section(module, section).ok()?;
            Some((surveyed.sections[section].address, bytes))
        };
        let address = |name| {
            let section = surveyed.section_named(Some(Role::Main), name)?;
            Some(surveyed.sections[section].address)
        };
        let mut found =
            Self::of_loaded(surveyed.bias.unwrap_or_default(), loaded(".eh_frame"), loaded(".eh_frame_hdr"));
        if let Some(text) = address(".text") {
            found.bases = found.bases.set_text(text);
        }
        if let Some(got) = address(".got") {
            found.bases = found.bases.set_got(got);
        }
        found.debug_frame = files.section_named(module, None, ".debug_frame").unwrap_or_default();
        found
    }

    /// Those of a module that has no file here, from memory.
    pub(super) fn of_image(image: &'a Image) -> Self {
        let table = image.table.as_ref().map(|(address, bytes)| (*address, &bytes[..]));
        Self::of_loaded(0, Some((image.frames.0, &image.frames.1)), table)
    }

    fn of_loaded(bias: u64, eh_frame: Option<(u64, &'a [u8])>, table: Option<(u64, &'a [u8])>) -> Self {
        let mut bases = BaseAddresses::default();
        if let Some((address, _)) = eh_frame {
            bases = bases.set_eh_frame(address);
        }
        let table = table.and_then(|(address, bytes)| FrameTable::new(address, bytes, Endianness::Little));
        Self { bias, bases, eh_frame, table: table.unwrap_or_default(), debug_frame: &[] }
    }

    /// The rules for the instruction at `address`, one of the target's; `None` if there are none.
    ///
    /// # Errors
    /// [`End::Malformed`] if they cannot be read.
    pub(super) fn row(&self, known: &Known, address: u64, workshop: &mut Workshop) -> Result<Option<Row>, End> {
        let address = address.wrapping_sub(self.bias);
        if let Some((start, bytes)) = self.eh_frame {
            let mut section = EhFrame::new(bytes, LittleEndian);
            section.set_address_size(8);
            let is_usable = || !self.table.is_empty() && self.table.is_ascending();
            let offset = if *known.is_ascending.get_or_init(is_usable) {
                let described = self.table.around(address).0;
                described.and_then(|row| usize::try_from(row.description.checked_sub(start)?).ok())
            } else {
                find(known.eh_frame.get_or_init(|| self.list(&section)), address)
            };
            if let Some(row) =
                offset.map(|offset| self.compile(&section, offset, address, workshop)).transpose()?.flatten()
            {
                return Ok(Some(row));
            }
        }
        if self.debug_frame.is_empty() {
            return Ok(None);
        }
        let mut section = DebugFrame::new(self.debug_frame, LittleEndian);
        section.set_address_size(8);
        let offset = find(known.debug_frame.get_or_init(|| self.list(&section)), address);
        Ok(offset.map(|offset| self.compile(&section, offset, address, workshop)).transpose()?.flatten())
    }

    /// The row for `address` of the description at `offset`; `None` if it describes another function.
    fn compile<'s, S>(
        &self,
        section: &S,
        offset: usize,
        address: u64,
        workshop: &mut Workshop,
    ) -> Result<Option<Row>, End>
    where
        S: UnwindSection<Slice<'s>>,
        S::Offset: UnwindOffset<usize>,
    {
        let malformed = |_| End::Malformed;
        let described = section.fde_from_offset(&self.bases, offset.into(), S::cie_from_offset).map_err(malformed)?;
        if !described.contains(address) {
            return Ok(None);
        }
        let cost = described.entry_len().saturating_add(described.cie().entry_len());
        workshop.budget = workshop.budget.checked_sub(cost).ok_or(End::Malformed)?;
        let context = &mut workshop.context;
        let row = described.unwind_info_for_address(section, &self.bases, context, address).map_err(malformed)?;
        let expression =
            |at: gimli::UnwindExpression<usize>| Expression::new(at.get(section).ok()?.0.slice(), self.bias);
        let returns = described.cie().return_address_register();
        Row::new(row, returns, described.is_signal_trampoline(), expression).map(Some).ok_or(End::Malformed)
    }

    /// All functions that a section describes, up to what is malformed in it, in ascending order.
    fn list<'s, S>(&self, section: &S) -> Vec<Described>
    where
        S: UnwindSection<Slice<'s>>,
        S::Offset: UnwindOffset<usize>,
    {
        let mut entries = section.entries(&self.bases);
        let mut listed = Vec::new();
        while let Ok(Some(entry)) = entries.next()
            && listed.len() < MOST_DESCRIPTIONS
        {
            let CieOrFde::Fde(partial) = entry else { continue };
            if let Ok(fde) = partial.parse(S::cie_from_offset) {
                let start = fde.initial_address();
                listed.push(Described { start, end: start.saturating_add(fde.len()), offset: partial.offset() });
            }
        }
        listed.sort_unstable();
        listed
    }
}

/// The description of the function that `address` is in.
fn find(listed: &[Described], address: u64) -> Option<usize> {
    let after = listed.partition_point(|described| described.start <= address);
    let described = listed[..after].last()?;
    (address < described.end).then_some(described.offset)
}
