//! What a walk over units finds, kept on disk by build id: each definition once, with its name, so that a later search runs over
//! names alone.
//!
//! One fact covers the units that begin in one [`SHARD`] of a section. What a unit defines that an earlier one of its shard
//! defines as well is left out: whoever searches a unit in its fact searches the earlier ones too, in the fact or by a walk, so
//! nothing is lost. Units that are malformed, or whose entries are in files of their own, are in no fact: they are walked over
//! each time, and what is wrong with them is said each time.
//!
//! A fact has a header, a row for each unit, a row for each definition, and all names one after another. Numbers have the least
//! significant byte first.

use super::item::{Candidate, Key, Kind, Padding, Place};
use super::merge::Taker;
use super::pattern::Pattern;
use super::program::ScopeId;
use super::unit::UnitPlace;
use rustc_hash::FxHashSet;
use std::ops::{Deref, Range};
use target::cache::{self, Kept};
use target::modules::{Role, Surveyed};

/// The units that begin in so many bytes of a section are kept together.
pub(super) const SHARD: u64 = 32 << 20;

/// Smaller sections are walked over in no time.
pub(super) const LEAST: u64 = 1 << 20;

/// Longer texts of names are not kept, in bytes.
const LONGEST: usize = 256 << 20;

/// The word and the version that facts are kept under. Whatever changes what a walk finds, or how it is written here, changes
/// the version.
const FACTS: (&str, u32) = ("types", 3);

/// The numbers of units, definitions and bytes of names.
const HEADER: usize = 12;
/// Where a unit begins in its section, and its first definition.
const UNIT: usize = 12;
/// As [`Row`] has it.
const ROW: usize = 56;

/// The bits of what else is said of a definition.
const DECLARED: u8 = 1;
const PLURAL: u8 = 2;

/// What stands for a number that is not known. No type is so large.
const UNKNOWN: u64 = u64::MAX;

/// What is known of a shard's units, under this key.
pub(super) fn key(module: &Surveyed, section: usize, shard: u64) -> cache::Key<'_> {
    // Files of one build id may differ: one is stripped, or compressed, or has an alternate beside it.
    let of_debug = |section: &&target::modules::Section| section.name.starts_with(".debug");
    let sizes = module.sections.iter().filter(of_debug).flat_map(|section| {
        let other = u64::from(module.files[section.file].role == Role::Alternate);
        [section.range.start, section.range.end, section.size, other]
    });
    let numbers = [shard, section as u64].into_iter().chain(sizes);
    let (kind, version) = FACTS;
    cache::Key { build_id: &module.build_id, kind, part: crate::files::part(numbers), version }
}

/// The units of a shard, as they are kept.
#[derive(Debug)]
pub(super) struct Index<B = Kept> {
    kept: B,
    units: usize,
    rows: usize,
}

/// A definition, as it is kept.
struct Row {
    /// Where its name begins among the names; it ends where the next one begins.
    name: u32,
    kind: Kind,
    /// Whether it is in the alternate file, and in .debug_types.
    alternate: bool,
    types: bool,
    /// Whether there is a member or a base that its unit only declares: the padding is what can be said without.
    declared: bool,
    /// Whether its unit has defined another type of this name before.
    plural: bool,
    unit: u64,
    entry: u64,
    size: u64,
    padding: u64,
    key: Key,
}

impl<B: Deref<Target = [u8]>> Index<B> {
    /// Takes a fact, if it is one.
    pub(super) fn new(kept: B) -> Option<Self> {
        let number = |at: usize| Some(u32_at(&kept, at)? as usize);
        let (units, rows, names) = (number(0)?, number(4)?, number(8)?);
        let size = units.checked_mul(UNIT)?.checked_add(rows.checked_mul(ROW)?)?.checked_add(names)?;
        if size.checked_add(HEADER)? != kept.len() {
            return None;
        }
        let index = Self { kept, units, rows };
        let ascends = |next: &dyn Fn(usize) -> Option<u64>, count: usize, last: u64| {
            let mut before = 0;
            (0..count).all(|number| {
                let this = next(number).unwrap_or(u64::MAX);
                std::mem::replace(&mut before, this) <= this && this <= last
            })
        };
        let sound = ascends(&|unit| Some(index.unit(unit)?.0), units, u64::MAX - 1)
            && ascends(&|unit| Some(index.unit(unit)?.1 as u64), units, rows as u64)
            && ascends(&|row| Some(index.row(row)?.name.into()), rows, names as u64);
        sound.then_some(index)
    }

    /// Gives what the unit at `offset` defines first in its shard, and is matched, to `taker`. Of those with parts that the unit
    /// only declares, `padding` works out how many bytes no member takes. Returns whether the unit is here.
    pub(super) fn search(
        &self,
        offset: u64,
        pattern: &mut Pattern,
        taker: &mut impl Taker,
        padding: &mut impl FnMut(&Candidate<'_>) -> Padding,
    ) -> bool {
        let Some(rows) = self.rows_of(offset) else { return false };
        let names = self.name_at(rows.start)..self.name_at(rows.end);
        let text = self.names().get(names.clone()).unwrap_or_default();
        match pattern.literals.clone() {
            None => rows.for_each(|row| self.offer(row, pattern, taker, padding)),
            Some(literals) => {
                let (mut row, mut at) = (rows.start, 0);
                while let Some(found) = literals.find(&text[at..]) {
                    // The name that it begins in. If it goes on in the next one, that is not what the pattern says.
                    row += self.rows_before(row..rows.end, names.start + at + found);
                    self.offer(row, pattern, taker, padding);
                    row += 1;
                    at = self.name_at(row) - names.start;
                }
            }
        }
        true
    }

    fn offer(
        &self,
        number: usize,
        pattern: &mut Pattern,
        taker: &mut impl Taker,
        padding: &mut impl FnMut(&Candidate<'_>) -> Padding,
    ) {
        let Some(row) = self.row(number) else { return };
        let known = |number: u64| Some(number).filter(|number| *number != UNKNOWN);
        let name = self.names().get(row.name as usize..self.name_at(number + 1)).unwrap_or_default();
        if !(taker.wants(known(row.size)) && pattern.is_match(name)) {
            return;
        }
        let scope = if row.alternate { ScopeId::Alternate } else { ScopeId::Own };
        let unit = UnitPlace { types: row.types, offset: row.unit };
        let place = Place { scope, unit, entry: row.entry as usize };
        let Row { kind, key, plural, .. } = row;
        let candidate = Candidate { name, kind, size: known(row.size), key, place, plural };
        taker.take(&candidate, || match row.declared {
            true => padding(&candidate),
            false => Padding { bytes: known(row.padding), declared: false },
        });
    }

    /// Of the definitions from the first of `rows` on, how many lie before the one whose name has the byte at `at`.
    fn rows_before(&self, rows: Range<usize>, at: usize) -> usize {
        let (mut low, mut high) = (rows.start, rows.end);
        while low + 1 < high {
            let middle = low.midpoint(high);
            if self.name_at(middle) <= at { low = middle } else { high = middle }
        }
        low - rows.start
    }

    /// The definitions of the unit at `offset`.
    fn rows_of(&self, offset: u64) -> Option<Range<usize>> {
        let (mut low, mut high) = (0, self.units);
        while low < high {
            let middle = low.midpoint(high);
            if self.unit(middle)?.0 < offset { low = middle + 1 } else { high = middle }
        }
        let (found, first) = self.unit(low).filter(|_| low < self.units)?;
        let end = if low + 1 < self.units { self.unit(low + 1)?.1 } else { self.rows };
        (found == offset).then_some(first..end)
    }

    fn unit(&self, unit: usize) -> Option<(u64, usize)> {
        let at = HEADER + unit * UNIT;
        Some((u64_at(&self.kept, at)?, u32_at(&self.kept, at + 8)? as usize))
    }

    fn row(&self, row: usize) -> Option<Row> {
        let at = HEADER + self.units * UNIT + row * ROW;
        let bytes = self.kept.get(at..at + ROW)?;
        let number = |at: usize| u64_at(bytes, at);
        Some(Row {
            name: u32_at(bytes, 0)?,
            kind: Kind::from_number(bytes[4])?,
            alternate: bytes[5] != 0,
            types: bytes[6] != 0,
            declared: bytes[7] & DECLARED != 0,
            plural: bytes[7] & PLURAL != 0,
            unit: number(8)?,
            entry: number(16)?,
            size: number(24)?,
            padding: number(32)?,
            key: Key { name: number(40)?, digest: number(48)? },
        })
    }

    fn names(&self) -> &[u8] {
        &self.kept[HEADER + self.units * UNIT + self.rows * ROW..]
    }

    /// Where the name of a definition begins, and that of the one before it ends.
    fn name_at(&self, row: usize) -> usize {
        let end = || self.names().len();
        if row < self.rows { self.row(row).map_or_else(end, |row| row.name as usize) } else { end() }
    }
}

impl Row {
    fn write(&self, rows: &mut Vec<u8>) {
        rows.extend_from_slice(&self.name.to_le_bytes());
        let declared = if self.declared { DECLARED } else { 0 };
        let flags = declared | if self.plural { PLURAL } else { 0 };
        rows.extend_from_slice(&[self.kind as u8, self.alternate.into(), self.types.into(), flags]);
        for number in [self.unit, self.entry, self.size, self.padding, self.key.name, self.key.digest] {
            rows.extend_from_slice(&number.to_le_bytes());
        }
    }
}

/// Collects the units of a shard, in their order.
#[derive(Debug, Default)]
pub(super) struct Builder {
    /// What has been found, with its size: that of a typedef may be known in one unit and not in another.
    known: FxHashSet<(Key, Option<u64>)>,
    /// Names of which that has been said.
    plural: FxHashSet<u64>,
    units: Vec<u8>,
    rows: Vec<u8>,
    names: Vec<u8>,
}

/// How far a builder has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    rows: usize,
    names: usize,
}

impl Builder {
    pub(super) fn mark(&self) -> Mark {
        Mark { rows: self.rows.len(), names: self.names.len() }
    }

    /// Takes what has come since `mark` as what the unit at `offset` defines.
    pub(super) fn end_unit(&mut self, mark: Mark, offset: u64) {
        self.units.extend_from_slice(&offset.to_le_bytes());
        self.units.extend_from_slice(&((mark.rows / ROW) as u32).to_le_bytes());
    }

    /// Forgets what has come since `mark`, of a unit that will be walked over each time: that will find it.
    pub(super) fn drop_unit(&mut self, mark: Mark) {
        self.rows.truncate(mark.rows);
        self.names.truncate(mark.names);
    }

    /// The content of the fact; `None` if it would be too large.
    pub(super) fn finish(self) -> Option<Vec<u8>> {
        let Self { units, rows, names, .. } = self;
        if names.len() > LONGEST {
            return None;
        }
        let numbers = [units.len() / UNIT, rows.len() / ROW, names.len()];
        let header: Vec<u8> = numbers.into_iter().flat_map(|number| (number as u32).to_le_bytes()).collect();
        Some([header, units, rows, names].concat())
    }
}

impl Taker for Builder {
    fn wants(&self, _: Option<u64>) -> bool {
        // What is too large is not kept, and need not be held.
        self.names.len() <= LONGEST
    }

    fn take(&mut self, candidate: &Candidate<'_>, padding: impl FnOnce() -> Padding) {
        let Candidate { name, kind, size, key, place, plural } = *candidate;
        let (new, plural) = (self.known.insert((key, size)), plural && self.plural.insert(key.name));
        if !new && !plural {
            return;
        }
        let padding = padding();
        let row = Row {
            name: self.names.len() as u32,
            kind,
            alternate: place.scope == ScopeId::Alternate,
            types: place.unit.types,
            declared: padding.declared,
            plural,
            unit: place.unit.offset,
            entry: place.entry as u64,
            size: size.unwrap_or(UNKNOWN),
            padding: padding.bytes.unwrap_or(UNKNOWN),
            key,
        };
        row.write(&mut self.rows);
        self.names.extend_from_slice(name);
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let field = bytes.get(at..at.checked_add(4)?)?;
    field.try_into().ok().map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let field = bytes.get(at..at.checked_add(8)?)?;
    field.try_into().ok().map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What is known of a definition: unit, name, number of its kind, size and padding.
    type Known = (u64, Vec<u8>, u8, Option<u64>, Option<u64>);

    /// The same of one that is to be taken, but for its unit.
    type New = (Vec<u8>, u8, Option<u64>, Option<u64>);

    /// Takes everything of at least so many bytes.
    struct All(u64, Vec<Known>);

    impl Taker for All {
        fn wants(&self, size: Option<u64>) -> bool {
            size.unwrap_or(0) >= self.0
        }

        fn take(&mut self, candidate: &Candidate<'_>, padding: impl FnOnce() -> Padding) {
            let Candidate { name, kind, size, place, .. } = candidate;
            self.1.push((place.unit.offset, name.to_vec(), *kind as u8, *size, padding().bytes));
        }
    }

    /// What has an even number has parts that its unit only declares.
    fn of(bytes: Option<u64>) -> Padding {
        let declared = bytes.is_some_and(|bytes| bytes % 2 == 0);
        Padding { bytes, declared }
    }

    fn worked_out(_: &Candidate<'_>) -> Padding {
        Padding { bytes: Some(100), declared: true }
    }

    fn name() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof!["[ab:]{0,6}", "(ab){0,3}"].prop_map(String::into_bytes)
    }

    fn definition() -> impl Strategy<Value = New> {
        (name(), 0u8..5, proptest::option::of(0u64..4), proptest::option::of(0u64..4))
    }

    /// A fact of units, of which some could not be taken to their ends.
    fn built(units: &[(bool, Vec<New>)]) -> Vec<u8> {
        let mut builder = Builder::default();
        for (offset, (whole, definitions)) in (0u64..).step_by(100).zip(units) {
            let mark = builder.mark();
            for (name, kind, size, padding) in definitions {
                let kind = Kind::from_number(*kind).unwrap();
                let key = Key { name: super::super::digest::hash(name), digest: kind as u64 };
                let unit = UnitPlace { types: false, offset };
                let place = Place { scope: ScopeId::Own, unit, entry: 7 };
                builder.take(&Candidate { name, kind, size: *size, key, place, plural: false }, || of(*padding));
            }
            if *whole { builder.end_unit(mark, offset) } else { builder.drop_unit(mark) }
        }
        builder.finish().unwrap()
    }

    proptest! {
        #[test]
        fn a_search_finds_what_was_taken_once_in_the_unit_that_has_it_first(
            units in proptest::collection::vec((any::<bool>(), proptest::collection::vec(definition(), 0..6)), 0..6),
            regex in proptest::sample::select(vec!["ab", "(ab)+", "a.*b", "^ab$", "b:a", "aba", ".", ""]),
            least in 0u64..3,
        ) {
            let index = Index::new(built(&units)).unwrap();
            let mut pattern = Pattern::new(regex).unwrap();
            let mut seen = Vec::new();
            for (offset, (whole, definitions)) in (0u64..).step_by(100).zip(&units) {
                let mut expected = Vec::new();
                for (name, kind, size, padding) in definitions {
                    let known = (name.clone(), *kind, *size);
                    if seen.contains(&known) {
                        continue;
                    }
                    seen.push(known);
                    if size.unwrap_or(0) >= least && pattern.is_match(name) {
                        let padding = if of(*padding).declared { Some(100) } else { *padding };
                        expected.push((offset, name.clone(), *kind, *size, padding));
                    }
                }
                let mut all = All(least, Vec::new());
                prop_assert_eq!(index.search(offset, &mut pattern, &mut all, &mut worked_out), *whole);
                prop_assert_eq!(all.1, if *whole { expected } else { Vec::new() });
                prop_assert!(!index.search(offset + 1, &mut pattern, &mut All(0, Vec::new()), &mut worked_out));
            }
        }

        #[test]
        fn damage_does_no_harm(
            units in proptest::collection::vec((Just(true), proptest::collection::vec(definition(), 0..6)), 0..4),
            damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
            cut in proptest::option::of(any::<proptest::sample::Index>()),
        ) {
            let mut fact = built(&units);
            for (at, byte) in damage {
                let at = at.index(fact.len());
                fact[at] = byte;
            }
            if let Some(cut) = cut {
                fact.truncate(cut.index(fact.len()));
            }
            if let Some(index) = Index::new(fact) {
                for (regex, offset) in [("ab", 0), (".", 0), ("ab", 100), ("a", 200)] {
                    index.search(offset, &mut Pattern::new(regex).unwrap(), &mut All(0, Vec::new()), &mut worked_out);
                }
            }
        }
    }
}
