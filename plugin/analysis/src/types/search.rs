//! Finds the types of a unit whose names match a regex.

use super::names::{self, Namer};
use super::needles::Literals;
use super::pattern::Pattern;
use super::program::Program;
use super::strings::{Strings, occurrences};
use super::unit::Unit;
use super::walk::{Found, Outline, Visitor, walk};
use crate::dwarf::cursor::Malformed;
use crate::dwarf::shapes::{Role, Text, Value, role};
use gimli::{DwTag, constants as dw};
use memchr::memmem::Finder;
use rustc_hash::FxHashSet;
use std::collections::HashSet;
use std::ops::Range;
use std::rc::Rc;

/// Of a unit with more types of such names all entries are looked at.
const MOST_COMPLETED: usize = 64;

/// A type whose name matches.
#[derive(Clone, Debug)]
pub(super) struct Hit {
    /// Of its entry, in the unit.
    pub(super) offset: usize,
    pub(super) tag: DwTag,
    pub(super) size: Option<u64>,
    /// Its qualified name, in [`Hits::names`].
    pub(super) name: Range<usize>,
    /// It has no name of its own, only a place.
    pub(super) nameless: bool,
    /// The signature of the type unit that has it, where only a name for it is here.
    pub(super) signature: Option<u64>,
    /// It is the struct of a value of an enumeration.
    pub(super) variant: bool,
}

/// What was found in a unit.
#[derive(Debug, Default)]
pub(super) struct Hits {
    pub(super) found: Vec<Hit>,
    pub(super) names: Vec<u8>,
    /// Units of the alternate file whose entries belong to this one.
    pub(super) imports: Vec<usize>,
}

/// Returns the types of a unit whose names match. Of a unit with no string that may be part of such a name, no entry is read, and
/// of others, if types' own names are looked for and entries say where the next ones are, only those around such strings.
///
/// # Errors
/// If it is malformed, as far as it is read, or `stop` says so.
pub(super) fn search<'a>(
    program: &Program<'a>,
    unit: &Rc<Unit<'a>>,
    pattern: &mut Pattern,
    strings: Option<&Strings>,
    stop: &dyn Fn() -> bool,
) -> Result<Hits, Malformed> {
    let own = pattern.literals.as_ref().is_some_and(Literals::own);
    let ties = unit.shapes.ties;
    let tied = ties.imports || ties.types_afar || (ties.contexts_afar && !own);
    let mut sites = strings.filter(|_| !tied).and_then(|strings| strings.sites(unit));
    if sites.as_ref().is_some_and(Vec::is_empty) {
        return Ok(Hits::default());
    }
    sites = sites.filter(|_| own);
    loop {
        let mut search = Search {
            program,
            unit,
            pattern: &mut *pattern,
            strings,
            own,
            sites: sites.as_deref(),
            wanted: Vec::new(),
            prefix: (u32::MAX, 0),
            name: Vec::new(),
            named: HashSet::new(),
            named_afar: FxHashSet::default(),
            unsure: false,
            completed: FxHashSet::default(),
            hits: Hits::default(),
        };
        let mut outline = Outline::default();
        walk(unit, &mut outline, &mut search, stop)?;
        let Search { named, mut hits, unsure, completed, .. } = search;
        // What a typedef gives a name to has been found by that name, or not.
        hits.found.retain(|hit| !(hit.nameless && named.contains(&hit.offset)));
        let Some(around) = sites else {
            program.take_outline(unit, outline);
            return Ok(hits);
        };
        if unsure || completed.len() > MOST_COMPLETED {
            sites = None;
            continue;
        }
        let more = if ties.types { with_references(unit, &around, &completed) } else { around.clone() };
        if more == around {
            return Ok(hits);
        }
        sites = Some(more);
    }
}

/// `sites`, and wherever a reference to one of the entries at `targets` may be.
fn with_references(unit: &Unit<'_>, sites: &[usize], targets: &FxHashSet<usize>) -> Vec<usize> {
    let mut all = sites.to_vec();
    for target in targets.iter().filter_map(|target| u32::try_from(*target).ok()) {
        let bytes = if unit.encoding.big { target.to_be_bytes() } else { target.to_le_bytes() };
        all.extend(occurrences(&Finder::new(&bytes), unit.bytes));
    }
    all.sort_unstable();
    all.dedup();
    all
}

struct Search<'u, 'a> {
    program: &'u Program<'a>,
    unit: &'u Rc<Unit<'a>>,
    pattern: &'u mut Pattern,
    /// Which names may be part of a match; `None` if any may.
    strings: Option<&'u Strings>,
    /// Whether it has to be the type's own name.
    own: bool,
    /// Where such names are referred to, in ascending order; `None` if all entries are looked at.
    sites: Option<&'u [usize]>,
    /// By context, whether its name or that of one around it may be.
    wanted: Vec<bool>,
    /// The context whose prefix `name` begins with, and how long that is.
    prefix: (u32, usize),
    name: Vec<u8>,
    /// Types without names that a typedef names.
    named: HashSet<usize>,
    /// The same of type units, by their signatures.
    named_afar: FxHashSet<u64>,
    /// Whether entries that were not looked at may make a difference.
    unsure: bool,
    /// Types that others may complete, which then have such a name.
    completed: FxHashSet<usize>,
    hits: Hits,
}

impl Search<'_, '_> {
    fn may_match(&self, text: Text) -> bool {
        self.strings.is_none_or(|strings| strings.may_match(self.unit, text))
    }

    /// The signature of the type that a typedef is a name of, if that is in a type unit and is not called anything here.
    fn signature(&self, found: &Found) -> Option<u64> {
        if found.role != Role::Typedef {
            return None;
        }
        match found.kind? {
            Value::Signature(signature) => Some(signature),
            Value::Unit(target) if self.unit.shapes.ties.contexts_afar => {
                let role = self.unit.role(target);
                let is_type = matches!(role, Some(Role::Aggregate | Role::Enumeration));
                let target = self.unit.entry_at(target).ok().filter(|_| is_type)?;
                let Some(Value::Signature(signature)) = target.signature else { return None };
                matches!(target.name, Text::None).then_some(signature)
            }
            _ => None,
        }
    }

    /// Makes a typedef the definition of the type of a type unit, if that has no name of its own.
    fn name_afar(&self, signature: u64, hit: &mut Hit) {
        let Ok(located) = self.program.resolve(self.unit, Value::Signature(signature)) else { return };
        let entry = &located.entry;
        let is_type = matches!(role(entry.tag), Role::Aggregate | Role::Enumeration);
        if is_type && matches!(entry.name, Text::None) && entry.origin.is_none() && !entry.declaration {
            (hit.tag, hit.size, hit.signature) = (entry.tag, entry.size, Some(signature));
        }
    }

    /// Leaves the qualified name in `name`.
    fn spell(&mut self, outline: &Outline, found: &Found) {
        let namer = Namer { program: self.program, unit: self.unit, outline };
        if found.origin.is_some() {
            self.name.clear();
            self.prefix = (u32::MAX, 0);
            namer.found(found, &mut self.name);
            return;
        }
        if self.prefix.0 != found.context {
            self.name.clear();
            namer.prefix(found.context, &mut self.name);
            self.prefix = (found.context, self.name.len());
        }
        self.name.truncate(self.prefix.1);
        names::own(self.unit, found.name, found.tag, &mut self.name);
    }
}

impl Visitor for Search<'_, '_> {
    fn enter(&mut self, outline: &Outline) {
        let Some(context) = outline.contexts.last() else { return };
        let around = self.wanted.get(context.parent as usize).copied().unwrap_or_default();
        let wanted = around
            || !self.own
                && match (context.role, context.origin) {
                    (Role::Unit | Role::Block, _) => self.strings.is_none(),
                    // It may be in something else than where it is defined.
                    (_, Some(_)) => true,
                    _ => self.may_match(context.name),
                };
        self.wanted.push(wanted);
    }

    fn found(&mut self, outline: &Outline, found: &Found) {
        if found.declaration && self.sites.is_none() {
            return;
        }
        let fits = self.may_match(found.name);
        if self.sites.is_some()
            && (fits || matches!(found.origin, Some(Value::Unit(at)) if self.completed.contains(&at)))
        {
            self.completed.insert(found.offset);
        }
        if found.declaration {
            return;
        }
        let enumeration = outline.contexts.get(found.context as usize).is_some_and(|context| context.variants);
        let variant = enumeration && found.role == Role::Aggregate && self.unit.is_rust();
        let mut hit = Hit {
            offset: found.offset,
            tag: found.tag,
            size: found.size,
            name: 0..0,
            nameless: false,
            signature: None,
            variant,
        };
        // It may be the first name of a type without one that is in a type unit.
        let afar = self.signature(found).filter(|signature| self.named_afar.insert(*signature));
        self.unsure |= afar.is_some() && fits;
        if let (Role::Typedef, Some(Value::Unit(target))) = (found.role, found.kind)
            && matches!(self.unit.role(target), Some(Role::Aggregate | Role::Enumeration))
            && let Ok(target) = self.unit.entry_at(target)
            && matches!(target.name, Text::None)
            && target.origin.is_none()
            && !target.declaration
        {
            // The first name that it is given is its own; further typedefs of it are typedefs.
            self.unsure |= fits;
            if self.named.insert(target.offset) {
                (hit.offset, hit.tag, hit.size) = (target.offset, target.tag, target.size);
            }
        }
        let around = self.wanted.get(found.context as usize).copied().unwrap_or_default();
        if !(around || found.origin.is_some() || fits) {
            return;
        }
        hit.nameless = matches!(found.name, Text::None) && found.origin.is_none();
        self.spell(outline, found);
        if self.pattern.is_match(&self.name) {
            if let Some(signature) = afar {
                self.name_afar(signature, &mut hit);
            }
            let start = self.hits.names.len();
            self.hits.names.extend_from_slice(&self.name);
            hit.name = start..self.hits.names.len();
            self.hits.found.push(hit);
        }
    }

    fn import(&mut self, unit: Value) {
        if let Value::Alternate(offset) = unit {
            self.hits.imports.push(offset);
        }
    }

    fn enters(&self, part: Range<usize>) -> bool {
        self.sites.is_none_or(|sites| {
            let next = sites.partition_point(|site| *site < part.start);
            sites.get(next).is_some_and(|site| *site < part.end)
        })
    }
}

/// Whether entries of this tag are types that may be laid out.
pub(super) fn has_layout(tag: DwTag) -> bool {
    matches!(tag, dw::DW_TAG_structure_type | dw::DW_TAG_class_type | dw::DW_TAG_union_type | dw::DW_TAG_interface_type)
}
