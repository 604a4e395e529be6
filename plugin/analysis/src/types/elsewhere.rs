//! Classes that a unit only declares, and another unit of its module defines. Compilers leave a class out where they expect
//! another unit to have it: that of its first virtual function (gcc and clang), of its constructors (clang), or of an explicit
//! instance of its template (clang). Members and bases of such a class have no size in the unit itself.

use super::item::{Candidate, Kind, Padding, Place};
use super::merge::Taker;
use super::names;
use super::program::{Located, Program};
use super::search::has_layout;
use super::unit::{Entry, Unit};
use gimli::{DwTag, constants as dw};
use rustc_hash::FxHashMap;
use std::collections::hash_map::Entry as Slot;
use std::sync::Arc;

/// Where classes are defined, by the hash of the name; `None` for those that are not, or in several ways.
pub(super) type Places = FxHashMap<u64, Option<Place>>;

/// What is known of the definitions of a module.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) places: Arc<Places>,
    /// Whether what is not among them is not defined.
    pub(super) all: bool,
}

/// How a program treats what its units only declare.
#[derive(Debug, Default)]
pub(super) struct Elsewhere {
    /// `None` if units are taken by themselves.
    pub(super) known: Option<Known>,
    /// What has been asked for and is not known, with its name.
    lacking: FxHashMap<u64, Vec<u8>>,
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

    /// Whether all definitions of the module are known.
    pub(super) fn knows_all(&self) -> bool {
        self.elsewhere.borrow().known.as_ref().is_some_and(|known| known.all)
    }

    /// What has been asked for since the last time and is not known, with its name.
    pub(super) fn take_lacking(&self) -> FxHashMap<u64, Vec<u8>> {
        std::mem::take(&mut self.elsewhere.borrow_mut().lacking)
    }

    /// Whether anything that a unit only declares has been asked for since the last time.
    pub(super) fn take_asked(&self) -> bool {
        std::mem::take(&mut self.elsewhere.borrow_mut().asked)
    }

    /// The definition of a class that is only declared.
    pub(super) fn completed(&self, declared: &Located<'a>) -> Option<Located<'a>> {
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
        if names::is_local(&name) {
            return None;
        }
        let hash = super::digest::hash(&name);
        let Some(place) = known.places.get(&hash) else {
            if !known.all {
                self.elsewhere.borrow_mut().lacking.insert(hash, name);
            }
            return None;
        };
        let union = |entry: &Entry| entry.tag == dw::DW_TAG_union_type;
        let found = self.at(place.as_ref()?)?;
        let fits = union(&found.entry) == union(entry) && !lacks_arguments(&found.unit, &found.entry);
        (fits && !found.entry.declaration).then_some(found)
    }

    /// The entry at `place`.
    pub(super) fn at(&self, place: &Place) -> Option<Located<'a>> {
        let scope = self.scope(place.scope).ok()?;
        let unit = self.unit(&scope, place.unit).ok()?;
        let entry = unit.entry_at(place.entry).ok()?;
        Some(Located { unit, entry })
    }
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
