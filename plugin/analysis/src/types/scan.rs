//! One task: the types of the units that begin in a part of a section.

use super::digest::{Definition, Digests, hash};
use super::elsewhere::{Known, Lacking};
use super::index::{Builder, Index, SHARD};
use super::item::{Candidate, Key, Kind, Padding, Place, Sort};
use super::layout::padding;
use super::merge::Taker;
use super::pattern::Pattern;
use super::program::{Located, Program, Scope, ScopeId};
use super::search::{Hit, has_layout, search};
use super::strings::Strings;
use super::unit::{Unit, UnitPlace};
use crate::dwarf::cursor::Malformed;
use crate::dwarf::shapes::Value;
use crate::dwarf::{DwarfError, UnitTable};
use gimli::{Section as _, constants as dw};
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use target::modules::InflatedSections;

/// Whether to stop is asked once in so many matches.
const OFTEN: usize = 64;

/// What is kept from one task to the next.
#[derive(Debug)]
pub struct TypesScanner {
    pub(super) pattern: Pattern,
    /// Which module the rest is about.
    module: Option<usize>,
    /// The units of its sections, by whether they are type units'.
    tables: HashMap<bool, Arc<UnitTable>>,
    /// Which of its strings contain a literal of the pattern, by whose they are.
    strings: HashMap<ScopeId, Arc<Strings>>,
    /// Units of its alternate file that have been gone through. What was found there is with an earlier task.
    imported: FxHashSet<u64>,
    paddings: FxHashMap<Key, Padding>,
    /// What is kept of its units, by whether they are type units', and by shard.
    indexes: HashMap<(bool, u64), Option<Arc<Index>>>,
    /// Where it defines what units of it only declare, as far as that was looked for.
    pub(super) defined: Known,
    /// What could not be read for rows, and has not been told yet.
    pub(super) unread: BTreeSet<String>,
}

impl TypesScanner {
    pub(super) fn new(pattern: Pattern) -> Self {
        let (tables, strings, imported, paddings, indexes, defined, unread) = Default::default();
        Self { pattern, module: None, tables, strings, imported, paddings, indexes, defined, unread }
    }

    /// Forgets what is not about `module`.
    pub(super) fn turn_to(&mut self, module: usize) {
        if self.module != Some(module) {
            let Self { tables, strings, imported, paddings, indexes, defined, .. } = self;
            (*tables, *strings, *imported, *paddings, *indexes, *defined) = Default::default();
            self.module = Some(module);
        }
        self.strings.retain(|scope, _| !matches!(scope, ScopeId::Split(_) | ScopeId::SplitTypes(..)));
    }
}

/// What is looked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) min_size: u64,
    pub(super) sort: Sort,
    pub(super) limit: usize,
}

/// A part of a section that could not be read, and why.
pub(super) type Unread = (Range<u64>, String);

/// What is done with a unit of a scope.
type Visit<'v, 'a, S> = dyn FnMut(&mut S, &Rc<Scope<'a>>, UnitPlace) -> Result<(), Malformed> + 'v;

/// Looks for classes that are only declared, and adds what it finds to what is known. It returns `None` if told to stop.
type Lookup<'l> = dyn Fn(&mut Known, &Lacking) -> Option<()> + 'l;

/// A task under way, which gives what it finds to a taker.
pub(super) struct Scan<'s, 'a, T> {
    pub(super) program: &'s Program<'a>,
    pub(super) scanner: &'s mut TypesScanner,
    pub(super) taker: &'s mut T,
    pub(super) unread: Vec<Unread>,
    digests: Digests,
    /// What the unit has defined so far: the first of each name.
    defined: FxHashMap<u64, u64>,
    /// Looks for classes of the module; `None` if nobody asks how large what a unit only declares is.
    lookup: Option<&'s Lookup<'s>>,
    stop: &'s dyn Fn() -> bool,
}

impl<'s, 'a, T: Taker> Scan<'s, 'a, T> {
    pub(super) fn new(
        program: &'s Program<'a>,
        scanner: &'s mut TypesScanner,
        module: usize,
        taker: &'s mut T,
        stop: &'s dyn Fn() -> bool,
    ) -> Self {
        scanner.turn_to(module);
        let (unread, digests, defined) = Default::default();
        Self { program, scanner, taker, unread, digests, defined, lookup: None, stop }
    }

    /// Has `lookup` look for classes, once there is a member or a base that its unit only declares.
    pub(super) fn looks_up(&mut self, lookup: &'s Lookup<'s>) {
        self.lookup = Some(lookup);
        if self.scanner.pattern.literals.is_none() {
            self.scanner.defined.expect_many();
        }
        self.program.know(self.scanner.defined.clone());
    }

    /// Goes through the units that begin in `part` of the module's own section, those that are kept in what `kept` finds of their
    /// shard. Returns where it stopped, if it was told to.
    pub(super) fn own(&mut self, types: bool, part: Range<u64>, kept: &dyn Fn(u64) -> Option<Index>) -> Option<u64> {
        self.each_own(types, part, &mut |scan, scope, place| {
            let key = (types, place.offset / SHARD);
            let index = scan.scanner.indexes.entry(key).or_insert_with(|| kept(key.1).map(Arc::new));
            let index = index.as_ref().map(Arc::clone);
            let Some(index) = index else { return scan.unit(scope, place) };
            let Self { program, scanner, taker, lookup, .. } = scan;
            let TypesScanner { pattern, paddings, defined, .. } = &mut **scanner;
            let mut stopped = false;
            let mut worked_out = |candidate: &Candidate<'_>| {
                *paddings.entry(candidate.key).or_insert_with(|| {
                    let Some(found) = program.at(&candidate.place).filter(|_| !stopped) else {
                        return Padding::default();
                    };
                    let padding = completed_padding(program, defined, *lookup, &found);
                    stopped |= padding.is_none();
                    padding.unwrap_or_default()
                })
            };
            match index.search(place.offset, pattern, &mut **taker, &mut worked_out) {
                _ if stopped => Err(Malformed::Stopped),
                true => Ok(()),
                false => scan.unit(scope, place),
            }
        })
    }

    /// Gives the units that begin in `part` of the module's own section to `visit`, one by one. Returns where it stopped, if it was
    /// told to.
    fn each_own(&mut self, types: bool, part: Range<u64>, visit: &mut Visit<'_, 'a, Self>) -> Option<u64> {
        let scope = match self.program.scope(ScopeId::Own) {
            Ok(scope) => scope,
            Err(error) => {
                self.unread.push((part, error.to_string()));
                return None;
            }
        };
        let table = self.scanner.tables.entry(types).or_insert_with(|| Arc::new(UnitTable::of(scope.section(types))));
        let table = Arc::clone(table);
        scope.knows(types, &table);
        if let Some(broken) = table.rest.as_ref().filter(|broken| part.contains(&broken.range.start)) {
            self.unread.push((broken.range.clone(), broken.reason.clone()));
        }
        for range in table.overlapping(part.clone()).iter().filter(|range| part.contains(&range.start)) {
            if (self.stop)() {
                return Some(range.start);
            }
            match visit(self, &scope, UnitPlace { types, offset: range.start }) {
                Ok(()) => {}
                Err(Malformed::Stopped) => return Some(range.start),
                Err(error) => self.unread.push((range.clone(), format!("unit at 0x{:x}: {error}", range.start))),
            }
        }
        None
    }

    /// Goes through the units of the package that begin in `part` of one of its sections. Returns where it stopped, if it was
    /// told to.
    pub(super) fn package(&mut self, types: bool, part: Range<u64>) -> Option<u64> {
        let mut rows = match package_rows(self.program, types) {
            Ok(rows) => rows,
            Err(error) => {
                self.unread.push((part, error.to_string()));
                return None;
            }
        };
        rows.retain(|(offset, _)| part.contains(offset));
        for (offset, id) in rows {
            if (self.stop)() {
                return Some(offset);
            }
            let before = self.unread.len();
            let done = self.all_of(id);
            self.place_unread(before, offset);
            match done {
                Ok(()) => {}
                Err(Malformed::Stopped) => return Some(offset),
                Err(error) => self.unread.push((offset..offset + 1, format!("unit at 0x{offset:x}: {error}"))),
            }
        }
        None
    }

    /// Goes through all units of some sections.
    fn all_of(&mut self, id: ScopeId) -> Result<(), Malformed> {
        let scope = self.program.scope(id).map_err(|error| Malformed::Header(error.to_string()))?;
        let mut failed = None;
        for types in [false, true] {
            let table = scope.table(types);
            if let Some(broken) = &table.rest {
                failed.get_or_insert(Malformed::Header(broken.reason.clone()));
            }
            for range in table.all() {
                match self.unit(&scope, UnitPlace { types, offset: range.start }) {
                    Ok(()) => {}
                    Err(Malformed::Stopped) => return Err(Malformed::Stopped),
                    Err(error) => drop(failed.get_or_insert(error)),
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Goes through all units of a skeleton's split part, with a program of its own: there may be hundreds of them, and what each
    /// takes is given back with that.
    fn split(&mut self, skeleton: u64) -> Result<(), Malformed> {
        let (source, inflated) = (self.program.source(), InflatedSections::default());
        let malformed = |error: DwarfError| Malformed::Header(error.to_string());
        let program = Program::new(&source, &inflated).map_err(malformed)?;
        let mut scan = Scan {
            program: &program,
            scanner: self.scanner,
            taker: self.taker,
            unread: Vec::new(),
            digests: Digests::default(),
            defined: FxHashMap::default(),
            lookup: self.lookup,
            stop: self.stop,
        };
        if scan.lookup.is_some() {
            program.know(scan.scanner.defined.clone());
        }
        let parts = program.split(skeleton).map_err(malformed)?;
        // One that is malformed costs none of the others.
        let done: Vec<_> = parts.into_iter().map(|id| scan.all_of(id)).collect();
        let unread = std::mem::take(&mut scan.unread).into_iter().map(|(_, reason)| reason);
        let unread = unread
            .map(|reason| (skeleton..skeleton + 1, format!("split part of the unit at 0x{skeleton:x}: {reason}")));
        self.unread.extend(unread);
        done.into_iter().collect()
    }

    fn unit(&mut self, scope: &Rc<Scope<'a>>, place: UnitPlace) -> Result<(), Malformed> {
        let unit = self.program.unit(scope, place)?;
        if unit.skeleton {
            // Those of a package have a range of their own.
            return match self.program.is_packed(place.offset) {
                true => Ok(()),
                false => self.split(place.offset),
            };
        }
        let done = self.entries(&unit);
        // What else is known of the types is found all the same.
        for reason in scope.take_damage() {
            let at = place.offset;
            self.unread.push((at..at + 1, format!("unit at 0x{at:x}: {reason}")));
        }
        done
    }

    /// Goes through the entries of a unit.
    fn entries(&mut self, unit: &Rc<Unit<'a>>) -> Result<(), Malformed> {
        let strings = self.strings(&unit.scope);
        let hits = search(self.program, unit, &mut self.scanner.pattern, strings.as_deref(), self.stop)?;
        self.defined.clear();
        for (number, hit) in hits.found.iter().enumerate() {
            if number % OFTEN == 0 && (self.stop)() {
                return Err(Malformed::Stopped);
            }
            self.hit(unit, hit, hits.names.get(hit.name.clone()).unwrap_or_default())?;
        }
        for import in hits.imports {
            let before = self.unread.len();
            let done = self.import(import);
            self.place_unread(before, unit.place.offset);
            done?;
        }
        Ok(())
    }

    /// Says of what could not be read since there was so much of it that it belongs to what is at `offset` of this section: it is in
    /// another one.
    fn place_unread(&mut self, before: usize, offset: u64) {
        self.unread[before..].iter_mut().for_each(|(range, _)| *range = offset..offset + 1);
    }

    /// Goes through a unit of the alternate file, unless it has been gone through.
    fn import(&mut self, offset: usize) -> Result<(), Malformed> {
        let scope = self.program.scope(ScopeId::Alternate).map_err(|error| Malformed::Header(error.to_string()))?;
        let range = scope.table(false).containing(offset as u64).ok_or(Malformed::Reference(offset as u64))?;
        if !self.scanner.imported.insert(range.start) {
            return Ok(());
        }
        let place = UnitPlace { types: false, offset: range.start };
        let done = self.unit(&scope, place);
        if done.is_err() {
            self.scanner.imported.remove(&range.start);
        }
        done
    }

    fn strings(&mut self, scope: &Scope<'a>) -> Option<Arc<Strings>> {
        let literals = self.scanner.pattern.literals.as_ref()?;
        // All parts of a package share their strings.
        let id = match scope.id {
            ScopeId::PackageTypes(_) | ScopeId::Package(_) => ScopeId::Package(0),
            ScopeId::SplitTypes(skeleton, _) => ScopeId::Split(skeleton),
            id => id,
        };
        let section = scope.dwarf.debug_str.reader().slice();
        let strings = self.scanner.strings.entry(id).or_insert_with(|| Arc::new(Strings::new(section, literals)));
        Some(Arc::clone(strings))
    }

    fn hit(&mut self, unit: &Rc<Unit<'a>>, hit: &Hit, name: &[u8]) -> Result<(), Malformed> {
        let located = match hit.signature {
            None => Located { unit: Rc::clone(unit), entry: unit.entry_at(hit.offset)? },
            Some(signature) => self.program.resolve(unit, Value::Signature(signature))?,
        };
        let Located { unit, entry } = &located;
        let size = match hit.tag {
            dw::DW_TAG_typedef => entry.kind.and_then(|kind| self.program.size(unit, kind)),
            _ => hit.size,
        };
        let Definition { digest, variants } = self.digests.definition(self.program, unit, entry);
        let kind = Kind::of(hit.tag, variants, hit.variant);
        // What a variant leaves is other variants', and the enumeration tells how much.
        let ranked = has_layout(hit.tag) && kind != Kind::Variant;
        // A struct and a typedef of the same name are two things, as are any two without a name.
        let own = if hit.nameless { digest } else { u64::from(kind == Kind::Typedef) };
        let key = Key { name: hash(name) ^ own, digest };
        // Whatever is wanted, so that it is the same with what is kept as without.
        let plural = *self.defined.entry(key.name).or_insert(digest) != digest;
        if !self.taker.wants(size) {
            return Ok(());
        }
        let place = Place { scope: unit.scope.id, unit: unit.place, entry: entry.offset };
        if self.lookup.is_some() && ranked && !self.scanner.paddings.contains_key(&key) {
            let found = completed_padding(self.program, &mut self.scanner.defined, self.lookup, &located);
            self.scanner.paddings.insert(key, found.ok_or(Malformed::Stopped)?);
        }
        let (program, paddings) = (self.program, &mut self.scanner.paddings);
        let padding = || match ranked {
            true => *paddings.entry(key).or_insert_with(|| padding(program, unit, entry)),
            false => Padding::default(),
        };
        self.taker.take(&Candidate { name, kind, size, key, place, plural }, padding);
        Ok(())
    }
}

impl Scan<'_, '_, Builder> {
    /// Takes the units that begin in `part` of the module's own section into an index. Returns where it stopped, if it was told
    /// to.
    pub(super) fn index(&mut self, types: bool, part: Range<u64>) -> Option<u64> {
        self.each_own(types, part, &mut |scan, scope, place| {
            if scan.program.unit(scope, place)?.skeleton {
                return Ok(());
            }
            // Of what units refer to, next to nothing is in others.
            scan.digests = Digests::default();
            let (mark, unread) = (scan.taker.mark(), scan.unread.len());
            let taken = scan.unit(scope, place);
            match taken {
                Ok(()) if scan.unread.len() == unread => scan.taker.end_unit(mark, place.offset),
                _ => scan.taker.drop_unit(mark),
            }
            taken
        })
    }
}

/// How many bytes of a type no member takes, with what its unit only declares looked up; `None` if told to stop.
fn completed_padding<'a>(
    program: &Program<'a>,
    known: &mut Known,
    lookup: Option<&Lookup<'_>>,
    Located { unit, entry }: &Located<'a>,
) -> Option<Padding> {
    loop {
        program.take_lacking();
        let found = padding(program, unit, entry);
        let lacking = program.take_lacking();
        // A class that has been found may have bases that are only declared where it is.
        let Some(lookup) = lookup.filter(|_| !lacking.is_empty()) else { return Some(found) };
        lookup(known, &lacking)?;
        program.know(known.clone());
    }
}

/// The parts of the package, by where each begins in one of its sections.
fn package_rows(program: &Program<'_>, types: bool) -> Result<Vec<(u64, ScopeId)>, DwarfError> {
    let Some(package) = program.package() else { return Ok(Vec::new()) };
    let section = if types { gimli::IndexSectionId::DebugTypes } else { gimli::IndexSectionId::DebugInfo };
    let mut rows = Vec::new();
    for (index, id) in [
        (&package.cu_index, ScopeId::Package as fn(u32) -> ScopeId),
        (&package.tu_index, ScopeId::PackageTypes as fn(u32) -> ScopeId),
    ] {
        for row in 1..=index.unit_count() {
            let mut parts = index.sections(row)?;
            if let Some(part) = parts.find(|part| part.section == section) {
                rows.push((u64::from(part.offset), id(row)));
            }
        }
    }
    rows.sort_unstable();
    Ok(rows)
}
