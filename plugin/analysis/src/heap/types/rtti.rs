//! Classes of C++, from what compilers leave in memory of them: vtables and `std::type_info`.
//!
//! The layouts are those of the Itanium C++ ABI (<https://itanium-cxx-abi.github.io/cxx-abi/abi.html>, 2.5 and 2.9.5). Before the
//! address that an object points to are the offset to the object's top and the class's `type_info`; that begins with a
//! pointer to a vtable of its own, whose `type_info` in turn has a name that says what follows: no base, one, or a list.

use super::arrays::{self, Array};
use super::modules::Modules;
use super::peek::Pages;
use super::traits::TraitVtable;
use crate::symbols::demangle;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use target::ReadMemory;

/// Longer mangled names are not read.
const LONGEST_NAME: usize = 16 << 10;

/// More direct bases than any class has.
const MOST_BASES: u64 = 1 << 12;

/// As much is kept of classes, in bytes of their names and bases; what is beyond stays unnamed.
const MOST_TEXT: usize = 16 << 20;

/// What the type information of a class says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Class {
    /// Demangled.
    pub name: String,
    /// Addresses of the type information of its direct bases.
    pub bases: Vec<u64>,
}

/// What is known of vtables, classes and traits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// By the address that objects point to: the address of its class's type information, 0 if it has none.
    pub vtables: BTreeMap<u64, u64>,
    /// By the address of their type information; bases of bases among them.
    pub classes: BTreeMap<u64, Class>,
    /// By the address that pointers to a trait have.
    pub traits: BTreeMap<u64, TraitVtable>,
    /// By the function that calls them: the manager of callables that functions of C++ hold.
    pub callables: BTreeMap<u64, u64>,
    /// By what malloc returned: several objects of one class in one chunk. The first million.
    pub arrays: BTreeMap<u64, Array>,
}

impl Facts {
    pub(super) fn join(&mut self, other: Self) {
        self.vtables.extend(other.vtables);
        self.classes.extend(other.classes);
        self.traits.extend(other.traits);
        self.callables.extend(other.callables);
        let room = arrays::MOST.saturating_sub(self.arrays.len());
        self.arrays.extend(other.arrays.into_iter().take(room));
    }

    /// About how many bytes it takes.
    pub(super) fn weight(&self) -> usize {
        let classes = self.classes.values().map(|class| 64 + class.name.len() + 8 * class.bases.len());
        let traits = self.traits.values().map(|vtable| 64 + 8 * vtable.methods.len());
        32 * (self.vtables.len() + self.callables.len() + self.arrays.len())
            + classes.sum::<usize>()
            + traits.sum::<usize>()
    }
}

/// What an address that an object may point to is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Vtable {
    No,
    /// It looks like a vtable without type information.
    Untyped,
    /// With the address of the type information.
    Of(u64),
}

/// What follows the name in type information.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    NoBase,
    OneBase,
    Bases,
    /// What it points to cannot be read.
    Unknown,
}

/// All that has been found out about classes, in one worker.
#[derive(Debug, Default)]
pub(super) struct Reader {
    vtables: FxHashMap<u64, Vtable>,
    classes: FxHashMap<u64, Option<Class>>,
    /// By the address that type information points to.
    layouts: FxHashMap<u64, Option<Layout>>,
    /// Bytes of `classes`.
    text: usize,
}

impl Reader {
    /// What lies at `address`, a word in a module.
    pub(super) fn vtable(
        &mut self,
        modules: &Modules,
        memory: &dyn ReadMemory,
        pages: &mut Pages,
        address: u64,
    ) -> Vtable {
        if let Some(known) = self.vtables.get(&address) {
            return *known;
        }
        let mut look = Look { modules, memory, pages };
        let found = self.look_at(&mut look, address);
        // Of what is none there may be any number, and it does not cost much to see that.
        if found != Vtable::No || self.vtables.len() < 1 << 16 {
            self.vtables.insert(address, found);
        }
        found
    }

    /// Adds what is known of a vtable to `facts`.
    pub(super) fn tell(&self, vtable: u64, facts: &mut Facts) {
        let Some(class) = self.vtables.get(&vtable).and_then(|vtable| match vtable {
            Vtable::No => None,
            Vtable::Untyped => Some(0),
            Vtable::Of(class) => Some(*class),
        }) else {
            return;
        };
        if facts.vtables.insert(vtable, class).is_some() {
            return;
        }
        let mut open = vec![class];
        while let Some(address) = open.pop() {
            if let Some(Some(class)) = self.classes.get(&address)
                && !facts.classes.contains_key(&address)
            {
                open.extend(&class.bases);
                facts.classes.insert(address, class.clone());
            }
        }
    }

    /// The name of the class whose type information is there.
    pub(super) fn name(&self, class: u64) -> Option<&str> {
        self.classes.get(&class)?.as_ref().map(|class| &*class.name)
    }

    fn look_at(&mut self, look: &mut Look<'_>, address: u64) -> Vtable {
        let Some(start) = address.checked_sub(16) else { return Vtable::No };
        let Some([top, class, function]) = look.words(start) else { return Vtable::No };
        if top != 0 {
            return Vtable::No;
        }
        if class == 0 {
            let plausible = look.modules.is_constant(address) && look.modules.is_code(function);
            return if plausible { Vtable::Untyped } else { Vtable::No };
        }
        if self.class(look, class) { Vtable::Of(class) } else { Vtable::No }
    }

    /// Reads the type information at `address`, and that of all bases; says whether it is any.
    fn class(&mut self, look: &mut Look<'_>, address: u64) -> bool {
        let mut open = vec![address];
        while let Some(address) = open.pop() {
            if self.classes.contains_key(&address) {
                continue;
            }
            let class = if self.text < MOST_TEXT { self.read(look, address) } else { None };
            if let Some(class) = &class {
                self.text += class.name.len() + 8 * class.bases.len();
                open.extend(&class.bases);
            }
            self.text += size_of::<Class>();
            self.classes.insert(address, class);
        }
        matches!(self.classes.get(&address), Some(Some(_)))
    }

    fn read(&mut self, look: &mut Look<'_>, address: u64) -> Option<Class> {
        if !address.is_multiple_of(8) || !look.modules.contains(address) {
            return None;
        }
        let [vtable, name] = look.words(address)?;
        let layout = match self.layouts.get(&vtable) {
            Some(known) => *known,
            None => {
                let layout = look.layout(vtable);
                self.layouts.insert(vtable, layout);
                layout
            }
        }?;
        let name = look.type_name(name)?;
        let bases = match layout {
            Layout::NoBase | Layout::Unknown => Vec::new(),
            Layout::OneBase => look.words::<1>(address.checked_add(16)?)?.to_vec(),
            Layout::Bases => look.bases(address.checked_add(16)?)?,
        };
        Some(Class { name, bases })
    }
}

/// What is looked at.
struct Look<'a> {
    modules: &'a Modules,
    memory: &'a dyn ReadMemory,
    pages: &'a mut Pages,
}

impl Look<'_> {
    fn words<const N: usize>(&mut self, address: u64) -> Option<[u64; N]> {
        self.pages.words(self.memory, address)
    }

    /// What follows in type information that begins with this word.
    fn layout(&mut self, vtable: u64) -> Option<Layout> {
        if !self.modules.contains(vtable) {
            return None;
        }
        // A core file may be without what modules never write to.
        let Some([class]) = self.words(vtable.checked_sub(8)?) else { return Some(Layout::Unknown) };
        let Some([_, name]) = self.words(class) else {
            return self.modules.contains(class).then_some(Layout::Unknown);
        };
        let Some(name) = self.text(name) else { return self.modules.contains(name).then_some(Layout::Unknown) };
        match name.strip_prefix(b"*").unwrap_or(&name) {
            b"N10__cxxabiv117__class_type_infoE" => Some(Layout::NoBase),
            b"N10__cxxabiv120__si_class_type_infoE" => Some(Layout::OneBase),
            b"N10__cxxabiv121__vmi_class_type_infoE" => Some(Layout::Bases),
            _ => None,
        }
    }

    /// The bases of a class with any number of them: flags, how many, and for each its type information and an offset.
    fn bases(&mut self, address: u64) -> Option<Vec<u64>> {
        let [counts] = self.words(address)?;
        let count = counts >> 32;
        if count > MOST_BASES {
            return None;
        }
        (0..count).map(|index| self.words::<1>(address.checked_add(8 + 16 * index)?).map(|[base]| base)).collect()
    }

    /// The demangled name whose mangled form is at `address`.
    fn type_name(&mut self, address: u64) -> Option<String> {
        let text = self.text(address)?;
        // A type that is the same only where this very name is has an asterisk before it.
        let name = text.strip_prefix(b"*").unwrap_or(&text);
        if name.is_empty() || !name.iter().all(u8::is_ascii_graphic) {
            return None;
        }
        let shown = demangle::demangled([b"_ZTS", name].concat());
        shown.strip_prefix("typeinfo name for ").map(str::to_owned)
    }

    /// What is there before a NUL.
    fn text(&mut self, address: u64) -> Option<Vec<u8>> {
        if !self.modules.contains(address) {
            return None;
        }
        let mut text = vec![0; 64];
        loop {
            let filled = self.pages.read(self.memory, address, &mut text);
            if let Some(end) = memchr::memchr(0, &text[..filled]) {
                text.truncate(end);
                return Some(text);
            }
            if filled < text.len() || text.len() >= LONGEST_NAME {
                return None;
            }
            text.resize(text.len() * 4, 0);
        }
    }
}
