//! What lies where in a type.

use super::elsewhere::Other;
use super::item::Padding;
use super::program::{Located, Program};
use super::sizes::{bit_field, location};
use super::spelling::{Speller, lossy};
use super::unit::{Entry, Unit};
use super::variants;
use crate::dwarf::shapes::{Role, Text, Value, role};
use crate::report::{HoleRow, LayoutRow, MemberRow, Unknown};
use gimli::constants as dw;
use std::ops::Range;
use std::rc::Rc;

/// Members without a type of their own, and variants, may be nested so deeply.
pub(super) const DEEPEST: u32 = 32;

/// No more members are shown of a type.
const MOST_MEMBERS: usize = 1 << 16;

/// Which bits of a type its members take.
#[derive(Debug, Default)]
struct Cover {
    /// From the beginning of the type, half-open.
    taken: Vec<Range<u64>>,
    /// What members of unknown size take at least; they may take all that lies behind, up to the next member.
    unknown: Vec<Range<u64>>,
    /// Whether there is a base of which only the name is known: virtual bases that it may have lie behind the last member.
    open: bool,
    /// Why nothing can be said of what is behind the last member, if nothing can.
    unsaid: Option<Unknown>,
}

/// A type's members, and what is left between them.
pub(super) struct Layout {
    pub(super) row: LayoutRow,
    /// Bytes that certainly no member takes; `None` if that is not known.
    pub(super) padding: Option<u64>,
}

/// The layout of the struct, class or union that `entry` defines.
pub(super) fn layout<'a>(speller: &mut Speller<'_, 'a>, unit: &Rc<Unit<'a>>, entry: &Entry) -> Layout {
    let mut lay = Lay { program: speller.program, speller: Some(speller), cover: Cover::default(), members: 0 };
    let members = lay.members(unit, entry, 0, DEEPEST);
    let (holes, padding) = lay.cover.left(entry.size);
    Layout { row: LayoutRow { members, holes, unknown: padding.err() }, padding: padding.ok() }
}

/// Bytes of the type that `entry` defines which certainly no member takes.
pub(super) fn padding<'a>(program: &Program<'a>, unit: &Rc<Unit<'a>>, entry: &Entry) -> Padding {
    program.take_asked();
    let mut lay = Lay { program, speller: None, cover: Cover::default(), members: 0 };
    lay.members(unit, entry, 0, DEEPEST);
    Padding { bytes: lay.cover.left(entry.size).1.ok(), declared: program.take_asked() }
}

struct Lay<'s, 'p, 'a> {
    program: &'p Program<'a>,
    /// `None` if nobody looks at the names.
    speller: Option<&'s mut Speller<'p, 'a>>,
    cover: Cover,
    members: usize,
}

impl<'p, 'a> Lay<'_, 'p, 'a> {
    /// The members of `parent`, which begins `base` bytes from the beginning of the whole.
    fn members(&mut self, unit: &Rc<Unit<'a>>, parent: &Entry, base: u64, depth: u32) -> Vec<MemberRow> {
        let Some(depth) = depth.checked_sub(1) else { return Vec::new() };
        let (mut rows, mut variants) = (Vec::new(), Vec::new());
        let before = self.cover.unknown.len();
        for part in unit.children(parent).map_while(Result::ok) {
            self.members += 1;
            if self.members > MOST_MEMBERS {
                break;
            }
            match part.tag {
                dw::DW_TAG_member if !part.is_static() => rows.push(self.member(unit, &part, base, depth)),
                dw::DW_TAG_inheritance => rows.push(self.base(unit, &part, base)),
                dw::DW_TAG_variant_part => self.variants(unit, &part, base, depth, &mut variants),
                _ => {}
            }
        }
        if parent.tag == dw::DW_TAG_union_type {
            self.cover.overlap(before);
        }
        // Rust lays members out in another order than they are declared in, and C++ a base that has no virtual functions behind
        // the pointer to the table of them.
        rows.sort_by_key(|row| {
            let bit = row.bits.map_or(0, |(bit, _)| bit);
            row.offset.map_or((true, 0), |offset| (false, offset.saturating_mul(8).saturating_add(bit)))
        });
        // All of them begin where the whole does, and what tells which it is comes first.
        rows.append(&mut variants);
        rows
    }

    fn member(&mut self, unit: &Rc<Unit<'a>>, member: &Entry, base: u64, depth: u32) -> MemberRow {
        let size = member.kind.and_then(|kind| self.program.size(unit, kind));
        let name = lossy(unit.text(member.name));
        let mut row = MemberRow { name, size, ..MemberRow::default() };
        if let Some(speller) = &mut self.speller {
            row.type_name = speller.spell(unit, member.kind);
            row.declaration = speller.declare(unit, member.kind, &row.name);
        }
        if member.artificial && row.name.starts_with("_vptr") {
            row.note = Some("vptr".to_owned());
        }
        if let Some((at, bits)) = bit_field(unit, member, size) {
            let at = at.saturating_add(base.saturating_mul(8));
            // The storage unit is as large as the type, at a multiple of its size; where a packed field does not fit in there,
            // it is counted from its first byte.
            let storage = member.size.or(size).filter(|size| *size > 0).unwrap_or(1).saturating_mul(8);
            let start = at - at % storage;
            let start = if at - start + bits > storage { at - at % 8 } else { start };
            row.offset = Some(start / 8);
            row.bits = Some((at - start, bits));
            self.cover.take(at, bits);
            return row;
        }
        let Some(offset) = location(unit, member.location).and_then(|offset| offset.checked_add(base)) else {
            self.cover.give_up(Unknown::Place);
            return row;
        };
        row.offset = Some(offset);
        let nameless = member.kind.and_then(|kind| nameless(self.program, unit, kind));
        match nameless {
            Some((located, false)) => row.members = self.members(&located.unit, &located.entry, offset, depth),
            // Of an array, the first element is written out.
            Some((located, true)) => {
                let cover = std::mem::take(&mut self.cover);
                row.members = self.members(&located.unit, &located.entry, offset, depth);
                self.cover = cover;
                self.cover.place(offset, size);
            }
            None => self.cover.place(offset, size),
        }
        row
    }

    fn base(&mut self, unit: &Rc<Unit<'a>>, part: &Entry, base: u64) -> MemberRow {
        let size = part.kind.and_then(|kind| self.program.size(unit, kind));
        let mut row = MemberRow { size, note: Some("base".to_owned()), ..MemberRow::default() };
        if let Some(speller) = &mut self.speller {
            row.type_name = speller.spell(unit, part.kind);
            row.declaration.clone_from(&row.type_name);
        }
        let offset = location(unit, part.location).and_then(|offset| offset.checked_add(base));
        if part.virtuality != 0 {
            // What is said of its place is how to find it in an object, not where it is in every object.
            row.note = Some("virtual base".to_owned());
            self.cover.give_up(Unknown::VirtualBase);
            return row;
        }
        row.offset = offset;
        let Some(offset) = offset else {
            self.cover.give_up(Unknown::Place);
            return row;
        };
        match part.kind.and_then(|kind| self.program.stripped(unit, kind, true)) {
            // Its last bytes may be those of the first members behind it, and an empty one takes none.
            Some(located) if every_part(self.program, &located, DEEPEST, Ask::Empty) => {}
            Some(located) => {
                self.cover.place(offset, size);
                if !every_part(self.program, &located, DEEPEST, Ask::Known) {
                    self.cover.open = true;
                } else if !every_part(self.program, &located, DEEPEST, Ask::Plain) {
                    // Without its own virtual bases it is smaller, by how much is not said.
                    self.cover.give_up(Unknown::BaseOfVirtual);
                }
            }
            None => self.cover.place(offset, size),
        }
        row
    }

    /// The variants of an enumeration with data, and the member that tells which it is.
    fn variants(&mut self, unit: &Rc<Unit<'a>>, part: &Entry, base: u64, depth: u32, rows: &mut Vec<MemberRow>) {
        let mut signed = variants::has_sign(self.program, unit, part.kind);
        if let Some(discriminant) = part.discriminant
            && let Ok(Located { unit, entry }) = self.program.resolve(unit, discriminant)
        {
            signed = variants::has_sign(self.program, &unit, entry.kind);
            let mut row = self.member(&unit, &entry, base, depth);
            row.note = Some("discriminant".to_owned());
            rows.push(row);
        }
        let before = self.cover.unknown.len();
        for variant in unit.children(part).map_while(Result::ok) {
            if variant.tag != dw::DW_TAG_variant {
                continue;
            }
            let note = variants::note(unit, &variant, signed);
            for member in unit.children(&variant).map_while(Result::ok) {
                self.members += 1;
                if member.tag != dw::DW_TAG_member || self.members > MOST_MEMBERS {
                    continue;
                }
                let size = member.kind.and_then(|kind| self.program.size(unit, kind));
                let offset = location(unit, member.location).and_then(|offset| offset.checked_add(base));
                let mut row = MemberRow {
                    name: lossy(unit.text(member.name)),
                    offset,
                    size,
                    note: Some(note.clone()),
                    ..MemberRow::default()
                };
                if let Some(speller) = &mut self.speller {
                    row.type_name = speller.spell(unit, member.kind);
                    row.declaration = speller.declare(unit, member.kind, &row.name);
                }
                // Its struct is as large as the whole; its members tell what it takes.
                if let (Some(offset), Some(kind)) = (offset, member.kind)
                    && let Some(located) = self.program.stripped(unit, kind, true)
                {
                    row.members = self.members(&located.unit, &located.entry, offset, depth);
                }
                rows.push(row);
            }
        }
        self.cover.overlap(before);
    }
}

/// The struct or union without a name that is a member's type, as it is written where the member is, and whether the member is
/// an array of such.
fn nameless<'a>(program: &Program<'a>, unit: &Rc<Unit<'a>>, reference: Value) -> Option<(Located<'a>, bool)> {
    let mut located = program.stripped(unit, reference, false)?;
    let array = located.entry.tag == dw::DW_TAG_array_type;
    if array {
        located = program.stripped(&located.unit, located.entry.kind?, false)?;
    }
    let entry = &located.entry;
    let named = !matches!(entry.name, Text::None) || entry.origin.is_some() || entry.declaration;
    (role(entry.tag) == Role::Aggregate && !named).then_some((located, array))
}

/// What is asked of a type and its bases.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ask {
    /// Whether they have no member.
    Empty,
    /// Whether they have no virtual base.
    Plain,
    /// Whether they are defined.
    Known,
}

impl Ask {
    /// The answer of a member or a base.
    fn part(self, part: &Entry) -> bool {
        match self {
            Self::Empty => part.tag == dw::DW_TAG_inheritance && part.virtuality == 0,
            Self::Plain => part.tag != dw::DW_TAG_inheritance || part.virtuality == 0,
            Self::Known => true,
        }
    }

    /// The answer of another module that defines the type.
    fn other(self, other: &Other) -> bool {
        match self {
            Self::Empty => other.empty,
            Self::Plain => other.plain,
            Self::Known => other.known,
        }
    }
}

/// Whether the answer is yes for each member and base of a type, and for those of its bases. It is no for one that is only
/// declared.
pub(super) fn every_part<'a>(program: &Program<'a>, located: &Located<'a>, depth: u32, ask: Ask) -> bool {
    let Some(depth) = depth.checked_sub(1) else { return false };
    let definition = program.completed(located);
    let Located { unit, entry } = definition.as_ref().unwrap_or(located);
    if entry.declaration {
        return program.other(located).is_some_and(|other| ask.other(&other));
    }
    let mut parts = unit
        .children(entry)
        .map_while(Result::ok)
        .filter(|part| part.tag == dw::DW_TAG_inheritance || part.tag == dw::DW_TAG_member && !part.is_static());
    parts.all(|part| {
        let below = || part.kind.and_then(|kind| program.stripped(unit, kind, true));
        let inherited = |base: Located<'a>| every_part(program, &base, depth, ask);
        ask.part(&part) && (part.tag != dw::DW_TAG_inheritance || below().is_none_or(inherited))
    })
}

impl Cover {
    /// Nothing can be said of what is behind the last member: if there are several reasons, for the first of them.
    fn give_up(&mut self, reason: Unknown) {
        self.unsaid.get_or_insert(reason);
    }

    /// Of `size` bits from bit `at` on. What takes none, as an array without bounds at the end, still has a hole before it.
    fn take(&mut self, at: u64, size: u64) {
        self.taken.push(at..at.saturating_add(size));
    }

    /// A member of `size` bytes, at byte `offset`.
    fn place(&mut self, offset: u64, size: Option<u64>) {
        let at = offset.saturating_mul(8);
        match size {
            Some(size) => self.take(at, size.saturating_mul(8)),
            None => self.unknown.push(at..at.saturating_add(1)),
        }
    }

    /// Members of unknown size, from the one at `first` on, lie over one another and over what else is in their union.
    fn overlap(&mut self, first: usize) {
        let Some(at) = self.unknown[first..].iter().map(|range| range.start).min() else { return };
        let within = self.taken.iter().filter(|range| range.start >= at);
        let end = within.chain(&self.unknown[first..]).map(|range| range.end).max().unwrap_or(at);
        self.unknown[first..].iter_mut().for_each(|range| range.end = end);
    }

    /// Lets members of unknown size take all up to the next member or to the end, which is that of `size` bytes.
    fn fill(&mut self, size: Option<u64>) {
        let all = self.taken.iter().chain(&self.unknown);
        let mut starts: Vec<u64> = all.map(|range| range.start).collect();
        starts.sort_unstable();
        for range in std::mem::take(&mut self.unknown) {
            let next = starts[starts.partition_point(|start| *start < range.end)..].first().copied();
            let end = next.unwrap_or_else(|| size.unwrap_or(0).saturating_mul(8)).max(range.end);
            self.taken.push(range.start..end);
        }
    }

    /// What is left of a type of `size` bytes: between members, and in all, in bytes.
    fn left(mut self, size: Option<u64>) -> (Vec<HoleRow>, Result<u64, Unknown>) {
        self.fill(size);
        if self.taken.iter().all(Range::is_empty) {
            return (Vec::new(), self.unsaid.map_or(Ok(0), Err));
        }
        self.taken.sort_unstable_by_key(|range| range.start);
        let (mut holes, mut wasted, mut end) = (Vec::new(), 0, 0);
        for range in &self.taken {
            if range.start > end {
                wasted += range.start - end;
                holes.push(hole(end..range.start));
            }
            end = end.max(range.end);
        }
        if let Some(reason) = self.unsaid {
            return (holes, Err(reason));
        }
        let Some(size) = size else { return (holes, Err(Unknown::Size)) };
        if !self.open {
            wasted += size.saturating_mul(8).saturating_sub(end);
        }
        (holes, Ok(wasted / 8))
    }
}

/// A hole, as the whole bytes that it has, and the bits beside them.
fn hole(bits: Range<u64>) -> HoleRow {
    let (start, first) = (bits.start, bits.start.div_ceil(8));
    let size = (bits.end / 8).saturating_sub(first);
    let bits = (bits.end - bits.start) - size * 8;
    HoleRow { start, offset: if size > 0 { first } else { first.saturating_sub(1) }, size, bits }
}
