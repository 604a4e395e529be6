//! Classes that a unit only declares, and another unit of its module defines, or one of another module. Compilers leave a class
//! out where they expect another unit to have it: that of its first virtual function (gcc and clang), of its constructors
//! (clang), or of an explicit instance of its template (clang). Members and bases of such a class have no size in the unit
//! itself.

use super::item::{Candidate, Kind, Padding, Place};
use super::layout::{Ask, DEEPEST, every_part};
use super::merge::Taker;
use super::pattern::Pattern;
use super::program::{Located, Program};
use super::search::has_layout;
use super::unit::{Entry, Unit};
use super::{Types, names};
use crate::dwarf::ModuleSource;
use gimli::{DwTag, constants as dw};
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::hash_map::Entry as Slot;
use std::sync::Arc;
use target::modules::{Files, InflatedSections};

/// Where classes are defined, by the hash of the name; `None` for those that are not, or in several ways.
pub(super) type Places = FxHashMap<u64, Option<Place>>;

/// What other modules say of classes, by the hash of the name; `None` for those that they do not define, or do not agree on.
pub(super) type Others = FxHashMap<u64, Option<Other>>;

/// What another module says of a class: all that a layout needs to know of a member or a base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Other {
    pub(super) size: Option<u64>,
    union: bool,
    /// Whether it has neither a member nor a base that has one.
    pub(super) empty: bool,
    /// Whether neither it nor a base of it has a virtual base.
    pub(super) plain: bool,
    /// Whether it and all of its bases are defined in that module.
    pub(super) known: bool,
}

impl Other {
    fn of<'a>(program: &Program<'a>, definition: &Located<'a>) -> Option<Self> {
        let Located { unit, entry } = definition;
        let all = |ask: Ask| every_part(program, definition, DEEPEST, ask);
        (!entry.declaration && !lacks_arguments(unit, entry)).then(|| Self {
            size: entry.size,
            union: is_union(entry),
            empty: all(Ask::Empty),
            plain: all(Ask::Plain),
            known: all(Ask::Known),
        })
    }
}

/// What is known of the definitions of a module.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) places: Arc<Places>,
    /// Of those that the module itself does not define, as far as that was looked for.
    pub(super) others: Arc<Others>,
    /// Whether `places` has all classes of the module.
    all: bool,
    /// Whether what the module does not define is looked for in others.
    pub(super) afar: bool,
    /// How often classes have been looked for by name.
    rounds: u32,
}

/// Names of classes, by their hashes.
pub(super) type Lacking = FxHashMap<u64, Vec<u8>>;

/// So often classes are looked for by name. Whoever asks again will go on asking, and all of them at once take as long as a few
/// rounds.
const BY_NAME: u32 = 4;

impl Known {
    /// There will be many questions.
    pub(super) fn expect_many(&mut self) {
        self.rounds = BY_NAME;
    }

    /// Whether a class may be learned something of, by the hash of its name.
    fn lacks(&self, hash: u64) -> bool {
        match self.places.contains_key(&hash) {
            true => false,
            false => !self.all || self.afar && !self.others.contains_key(&hash),
        }
    }
}

/// How a program treats what its units only declare.
#[derive(Debug, Default)]
pub(super) struct Elsewhere {
    /// `None` if units are taken by themselves.
    pub(super) known: Option<Known>,
    /// What has been asked for and is not known.
    lacking: Lacking,
    /// Whether anything has been asked for.
    asked: bool,
}

/// Takes all classes, and tells those apart that are defined in several ways.
#[derive(Debug, Default)]
pub(super) struct Definitions(FxHashMap<u64, (u64, Option<Place>)>);

impl Definitions {
    pub(super) fn finish(self) -> Places {
        self.0.into_iter().map(|(name, (_, place))| (name, place)).collect()
    }
}

impl Taker for Definitions {
    fn wants(&self, _: Option<u64>) -> bool {
        true
    }

    fn take(&mut self, candidate: &Candidate<'_>, _: impl FnOnce() -> Padding) {
        let Candidate { kind, key, place, .. } = *candidate;
        if !matches!(kind, Kind::Struct | Kind::Class | Kind::Union) {
            return;
        }
        match self.0.entry(key.name) {
            Slot::Vacant(slot) => drop(slot.insert((key.digest, Some(place)))),
            Slot::Occupied(mut slot) if slot.get().0 != key.digest => slot.get_mut().1 = None,
            Slot::Occupied(_) => {}
        }
    }
}

impl<'a> Program<'a> {
    /// From now on, what units only declare is looked up.
    pub(super) fn know(&self, known: Known) {
        self.elsewhere.borrow_mut().known = Some(known);
    }

    /// What has been asked for since the last time and is not known.
    pub(super) fn take_lacking(&self) -> Lacking {
        std::mem::take(&mut self.elsewhere.borrow_mut().lacking)
    }

    /// Whether anything that a unit only declares has been asked for since the last time.
    pub(super) fn take_asked(&self) -> bool {
        std::mem::take(&mut self.elsewhere.borrow_mut().asked)
    }

    /// The definition of a class that is only declared.
    pub(super) fn completed(&self, declared: &Located<'a>) -> Option<Located<'a>> {
        let (known, hash, name) = self.declared(declared)?;
        let Some(place) = known.places.get(&hash) else {
            if known.lacks(hash) {
                self.elsewhere.borrow_mut().lacking.insert(hash, name);
            }
            return None;
        };
        let found = self.at(place.as_ref()?)?;
        let fits = is_union(&found.entry) == is_union(&declared.entry) && !lacks_arguments(&found.unit, &found.entry);
        (fits && !found.entry.declaration).then_some(found)
    }

    /// What other modules say of a class that this one only declares.
    pub(super) fn other(&self, declared: &Located<'a>) -> Option<Other> {
        if self.elsewhere.borrow().known.as_ref().is_none_or(|known| known.others.is_empty()) {
            return None;
        }
        let (known, hash, _) = self.declared(declared)?;
        let other = known.others.get(&hash).copied().flatten();
        other.filter(|other| other.union == is_union(&declared.entry))
    }

    /// What is known of definitions, and the name of a class, with its hash, if it is only declared and may be defined elsewhere.
    fn declared(&self, declared: &Located<'a>) -> Option<(Known, u64, Vec<u8>)> {
        let Located { unit, entry } = declared;
        if !(entry.declaration && entry.signature.is_none() && has_layout(entry.tag)) {
            return None;
        }
        self.elsewhere.borrow_mut().asked = true;
        let known = self.elsewhere.borrow().known.clone()?;
        if lacks_arguments(unit, entry) {
            return None;
        }
        let mut name = Vec::new();
        names::of_entry(self, unit, entry, &mut name);
        (!names::is_local(&name)).then(|| (known, super::digest::hash(&name), name))
    }

    /// The entry at `place`.
    pub(super) fn at(&self, place: &Place) -> Option<Located<'a>> {
        let scope = self.scope(place.scope).ok()?;
        let unit = self.unit(&scope, place.unit).ok()?;
        let entry = unit.entry_at(place.entry).ok()?;
        Some(Located { unit, entry })
    }
}

impl Types {
    /// Looks for classes that units of `module` only declare; `None` if told to stop.
    pub(super) fn learn(
        &self,
        files: &Files,
        module: usize,
        known: &mut Known,
        lacking: &Lacking,
        stop: &dyn Fn() -> bool,
    ) -> Option<()> {
        let mut nowhere: FxHashMap<u64, Vec<u8>> = lacking.clone();
        if known.all || known.rounds == BY_NAME {
            if !known.all {
                let places = self.defined(files, module, Pattern::new("").ok()?, stop)?;
                (known.places, known.all) = (Arc::new(places), true);
            }
            nowhere.retain(|hash, _| !known.places.contains_key(hash));
        } else {
            known.rounds += 1;
            let names = Pattern::of_names(lacking.values().cloned().collect());
            let found = self.defined(files, module, names, stop)?;
            nowhere.retain(|hash, _| !found.contains_key(hash));
            let places = Arc::make_mut(&mut known.places);
            places.extend(lacking.keys().map(|hash| (*hash, found.get(hash).copied().flatten())));
        }
        if known.afar && !nowhere.is_empty() {
            let others = self.others(files, module, &nowhere.values().cloned().collect(), stop)?;
            let all = Arc::make_mut(&mut known.others);
            all.extend(nowhere.keys().map(|hash| (*hash, others.get(hash).copied().flatten())));
        }
        Some(())
    }

    /// What modules but `module` say of classes with these names; `None` if told to stop.
    pub(super) fn others(
        &self,
        files: &Files,
        module: usize,
        names: &FxHashSet<Vec<u8>>,
        stop: &dyn Fn() -> bool,
    ) -> Option<Others> {
        let mut others = Others::default();
        for other in (0..self.set.modules.len()).filter(|other| *other != module) {
            let places = self.defined(files, other, Pattern::of_names(names.clone()), stop)?;
            if places.is_empty() {
                continue;
            }
            let (inflated, source) = (InflatedSections::default(), ModuleSource::new(files, other));
            // What cannot be read has been reported by the scan.
            let Ok(program) = Program::new(&source, &inflated) else { continue };
            for (hash, place) in places {
                let said = place.and_then(|place| program.at(&place));
                let said = said.and_then(|definition| Other::of(&program, &definition));
                match others.entry(hash) {
                    Slot::Vacant(slot) => drop(slot.insert(said)),
                    Slot::Occupied(mut slot) if *slot.get() != said => drop(slot.insert(None)),
                    Slot::Occupied(_) => {}
                }
            }
        }
        Some(others)
    }
}

fn is_union(entry: &Entry) -> bool {
    entry.tag == dw::DW_TAG_union_type
}

/// Whether it is an instance of a template whose name does not say of which arguments: another one has the same name.
fn lacks_arguments(unit: &Unit<'_>, entry: &Entry) -> bool {
    let argument = |tag: DwTag| {
        matches!(
            tag,
            dw::DW_TAG_template_type_parameter
                | dw::DW_TAG_template_value_parameter
                | dw::DW_TAG_GNU_template_template_param
                | dw::DW_TAG_GNU_template_parameter_pack
        )
    };
    !unit.text(entry.name).contains(&b'<') && unit.has_below(entry, argument)
}
