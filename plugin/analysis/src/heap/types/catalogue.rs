//! What the chunks of a heap have turned out to be.

use super::HeapTypes;
use super::arrays::Array;
use super::codes::{Code, Codes, Doubt};
use super::names::{self, Symbols, TraitNames};
use super::rtti::Facts;
use super::shapes::Shape;
use crate::heap::index::is_set;
use crate::heap::{Chunk, Index, View};
use crate::report::Sum;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use target::AddressRange;

/// What control blocks of shared pointers that have their object in them are called, and where in them it lies.
const SHARED: [(&str, u64); 2] = [("std::_Sp_counted_ptr_inplace<", 16), ("std::__1::__shared_ptr_emplace<", 24)];

/// How a type is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// An object of a C++ class, or a value that a pointer to a trait of Rust leads to.
    Class,
    /// One that shares its chunk with its reference counts, as `std::make_shared`, `Rc` and `Arc` have it.
    Shared,
    /// Several objects of a class, one behind the other.
    Array,
    /// What a container keeps its elements in.
    Container(Shape),
}

/// A type of chunks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Type {
    pub name: String,
    pub kind: Kind,
    /// All classes that it derives from, at any depth, sorted.
    pub bases: Vec<String>,
    /// Where in the chunk the object begins, in bytes.
    pub offset: u64,
}

impl Type {
    /// As it is shown for chunks of this type together.
    pub fn shown(&self) -> String {
        if self.kind == Kind::Array { format!("{}[]", self.name) } else { self.name.clone() }
    }
}

/// An object of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Object {
    pub address: u64,
    /// Bytes from its address to the end of what may be used of its chunk, which may be more than it takes; of one of several, to the next.
    pub size: u64,
    /// Index into [`Types::list`].
    pub kind: usize,
    /// The chunk that it lies at the beginning of.
    pub chunk: Chunk,
}

/// The types of a heap's chunks. It takes 4 bytes a chunk.
#[derive(Clone, Debug, Default)]
pub struct Types {
    list: Vec<Type>,
    totals: Vec<Sum>,
    /// Of chunks in use whose type is not known.
    unknown: Sum,
    /// For each chunk, one more than its type's index into `list`; 0 for none.
    of: Vec<u32>,
    /// By the numbers of their chunks.
    arrays: BTreeMap<u64, Array>,
}

impl Types {
    /// What `plan` has found in `view`, whose tables it has filled. `symbols` are those at [`Facts::unnamed`] addresses, as far as they
    /// are known.
    pub fn new(plan: &HeapTypes, facts: &Facts, symbols: &Symbols, view: &View) -> Self {
        let [codes, pointed, others] = &view.tables[..] else { return Self::default() };
        let (codes, pointed, others) = (Codes(codes.words()), pointed.words(), others.words());
        let catalogue = Catalogue::new(facts, symbols);
        let mut found: Vec<Type> = Vec::new();
        let mut places: HashMap<Type, usize> = HashMap::new();
        let mut known: HashMap<(Code, bool), u32> = HashMap::from([((Code::Nothing, false), 0)]);
        let mut types = Self::default();
        let mut number = |code: Code, array: bool| {
            *known.entry((code, array)).or_insert_with(|| {
                let Some(mut own) = catalogue.named(code, |slot| plan.modules.address(slot)) else { return 0 };
                if array {
                    own.kind = Kind::Array;
                }
                let index = *places.entry(own.clone()).or_insert_with(|| {
                    found.push(own);
                    found.len() - 1
                });
                index as u32 + 1
            })
        };
        let lookup = view.index.lookup();
        let mut last = (Code::Nothing, 0);
        let mut arrays = facts.arrays.iter().peekable();
        types.of.reserve_exact(lookup.count() as usize);
        for (chunk, index) in lookup.chunks(AddressRange::new(0, u64::MAX)).zip(0..) {
            let mut code = if chunk.used { codes.of(index) } else { Code::Nothing };
            // Words that look as a vector does, or a pointer to a trait, may be left of one that is no more; what there is now is
            // then held by others.
            let denied = match code.doubt() {
                Doubt::None => false,
                Doubt::Vector => is_set(pointed, chunk.granule),
                Doubt::Held => is_set(others, chunk.granule),
            };
            if denied {
                code = Code::Nothing;
            }
            if code != last.0 {
                last = (code, number(code, false));
            }
            let mut of = last.1;
            while arrays.next_if(|(address, _)| **address < chunk.address()).is_some() {}
            if let Some((_, array)) = arrays.next_if(|(address, _)| **address == chunk.address())
                && code.is_of_object()
            {
                of = number(code, true);
                if of != 0 {
                    types.arrays.insert(index, *array);
                }
            }
            types.of.push(of);
            if chunk.used {
                let of = of as usize;
                types.totals.resize(types.totals.len().max(of + 1), Sum::default());
                types.totals[of].add(chunk.usable().len());
            }
        }
        types.sort(found);
        types
    }

    /// Brings the types in the order of their names; `found` is in the order in which they were met.
    fn sort(&mut self, found: Vec<Type>) {
        self.totals.resize(found.len() + 1, Sum::default());
        let mut order: Vec<usize> = (0..found.len()).collect();
        order.sort_by(|one, other| found[*one].cmp(&found[*other]));
        let mut place = vec![0; found.len() + 1];
        for (new, old) in order.iter().enumerate() {
            place[old + 1] = new as u32 + 1;
        }
        for of in &mut self.of {
            *of = place[*of as usize];
        }
        self.unknown = self.totals[0];
        self.totals = order.iter().map(|old| self.totals[old + 1]).collect();
        self.list = order.iter().map(|old| found[*old].clone()).collect();
    }

    /// All types that there are chunks of, by name.
    pub fn list(&self) -> &[Type] {
        &self.list
    }

    /// How many chunks there are of each type, in the order of [`list`](Self::list).
    pub fn totals(&self) -> &[Sum] {
        &self.totals
    }

    /// Chunks in use whose type is not known.
    pub fn unknown(&self) -> Sum {
        self.unknown
    }

    /// The index into [`list`](Self::list) of the type of the chunk with this number, if it is in use and its type is known.
    #[inline]
    pub fn index_of(&self, number: u64) -> Option<usize> {
        (*self.of.get(number as usize)? as usize).checked_sub(1)
    }

    /// The type of the chunk with this number.
    pub fn type_of(&self, number: u64) -> Option<&Type> {
        self.list.get(self.index_of(number)?)
    }

    /// For each type, whether its name matches, or, with `subclasses`, that of a class that it derives from.
    pub fn matching(&self, matches: impl Fn(&str) -> bool, subclasses: bool) -> Vec<bool> {
        let matching = |own: &Type| matches(&own.name) || (subclasses && own.bases.iter().any(|base| matches(base)));
        self.list.iter().map(matching).collect()
    }

    /// What the chunk with this number is, as it is shown.
    pub fn name_of(&self, number: u64) -> Option<String> {
        let own = self.type_of(number)?;
        let array = self.arrays.get(&number).filter(|_| own.kind == Kind::Array);
        Some(array.map_or_else(|| own.name.clone(), |array| array.shown(&own.name)))
    }

    /// The objects whose types are `wanted`, an answer of [`matching`](Self::matching), in address order. An object is found where it
    /// is what a chunk begins with, or one of several of its class in the chunk; members and other elements are not looked at.
    pub fn objects(&self, index: &Index, wanted: &[bool]) -> impl Iterator<Item = Object> {
        let chunks = index.lookup().chunks(AddressRange::new(0, u64::MAX)).zip(&self.of).zip(0..);
        let wanted = chunks.filter_map(|((chunk, of), number)| {
            let kind = (*of as usize).checked_sub(1).filter(|kind| wanted.get(*kind) == Some(&true))?;
            Some((chunk, kind, number))
        });
        wanted.flat_map(|(chunk, kind, number)| {
            let array = self.arrays.get(&number).filter(|_| self.list[kind].kind == Kind::Array);
            let first = chunk.address() + array.map_or(self.list[kind].offset, |array| array.offset);
            (0..array.map_or(1, |array| array.count)).map(move |index| {
                let address = first + array.map_or(0, |array| index * array.stride);
                let size = array.map_or(chunk.usable().end.saturating_sub(address), |array| array.stride);
                Object { address, size, kind, chunk }
            })
        })
    }

    /// Bytes that it takes.
    pub fn memory(&self) -> u64 {
        (size_of_val(&self.of[..]) + self.arrays.len() * size_of::<(u64, Array)>()) as u64
    }
}

/// A class of which no more is known than its name.
fn class(name: &str) -> Type {
    Type { name: name.to_owned(), kind: Kind::Class, bases: Vec::new(), offset: 0 }
}

fn container(shape: Shape) -> Type {
    Type { kind: Kind::Container(shape), ..class(shape.name()) }
}

/// Where the object lies in a chunk that begins with one of a class of this name, if that is but a control block.
pub(super) fn payload_offset(name: &str) -> Option<u64> {
    SHARED.iter().find(|(prefix, _)| name.starts_with(prefix)).map(|(_, offset)| *offset)
}

/// The first argument of a template.
fn first_argument(name: &str) -> Option<&str> {
    let (_, arguments) = name.split_once('<')?;
    let mut depth = 0u32;
    let end = arguments.bytes().position(|byte| match byte {
        b'<' | b'(' | b'[' | b'{' => {
            depth += 1;
            false
        }
        b',' | b'>' if depth == 0 => true,
        b'>' | b')' | b']' | b'}' => {
            depth = depth.saturating_sub(1);
            false
        }
        _ => false,
    });
    end.map(|end| arguments[..end].trim())
}

/// The types of a process.
pub(super) struct Catalogue<'a> {
    facts: &'a Facts,
    symbols: &'a Symbols,
    traits: TraitNames<'a>,
    /// Where the type information of classes is, by name: each module may have its own.
    named: HashMap<&'a str, Vec<u64>>,
}

impl<'a> Catalogue<'a> {
    pub(super) fn new(facts: &'a Facts, symbols: &'a Symbols) -> Self {
        let mut named: HashMap<&str, Vec<u64>> = HashMap::new();
        for (address, class) in &facts.classes {
            named.entry(&class.name).or_default().push(*address);
        }
        Self { facts, symbols, traits: TraitNames::new(symbols, &facts.traits), named }
    }

    /// The type that a code says, if it has a name. `address` is where a slot is.
    pub(super) fn named(&self, code: Code, address: impl Fn(u32) -> Option<u64>) -> Option<Type> {
        match code {
            Code::Nothing | Code::Undecided => None,
            Code::Callable(slot) => {
                // Two short functions may begin in one word.
                let start = address(slot)?;
                let mut found = self.facts.callables.range(start..start.saturating_add(8));
                let (Some((invoker, manager)), None) = (found.next(), found.next()) else { return None };
                names::callable(self.symbols, *invoker, *manager).map(class)
            }
            Code::Vtable(slot) => names::class(self.symbols, address(slot)?).map(class),
            Code::Trait(slot) => self.traits.of(address(slot)?).map(|name| class(&name)),
            Code::Counted(slot) => {
                let vtable = address(slot)?;
                let offset = self.facts.traits.get(&vtable)?.counted_offset();
                self.traits.of(vtable).map(|name| Type { kind: Kind::Shared, offset, ..class(&name) })
            }
            Code::Shape(shape) => Some(container(shape)),
            Code::Class(slot) => self.class(address(slot)?),
        }
    }

    /// The type of objects that point to this vtable.
    fn class(&self, vtable: u64) -> Option<Type> {
        let name = &self.facts.classes.get(self.facts.vtables.get(&vtable)?)?.name;
        let payload = payload_offset(name).and_then(|offset| Some((first_argument(name)?, offset)));
        Some(match payload {
            Some((name, offset)) => {
                // It may be of a const type; that is not what its class is called.
                let name = name.strip_suffix(" const").unwrap_or(name);
                Type { name: name.to_owned(), kind: Kind::Shared, bases: self.bases(name), offset }
            }
            None => Type { bases: self.bases(name), ..class(name) },
        })
    }

    /// The names of all classes that one of this name derives from.
    fn bases(&self, name: &str) -> Vec<String> {
        let mut seen = BTreeSet::new();
        let mut open = self.named.get(name).cloned().unwrap_or_default();
        let mut names = BTreeSet::new();
        while let Some(address) = open.pop() {
            let Some(class) = self.facts.classes.get(&address).filter(|_| seen.insert(address)) else { continue };
            for base in &class.bases {
                names.extend(self.facts.classes.get(base).map(|base| base.name.clone()));
                open.push(*base);
            }
        }
        names.remove(name);
        names.into_iter().collect()
    }
}

impl Facts {
    /// The addresses whose symbols name types: of what may be vtables, but has no type information, of functions in vtables of
    /// traits, and of those of callables. One may be there several times.
    pub fn unnamed(&self) -> impl Iterator<Item = u64> {
        let vtables = self.vtables.iter().filter(|(_, class)| **class == 0).map(|(vtable, _)| *vtable);
        let functions = self.traits.values().flat_map(|vtable| vtable.methods.iter().copied().chain([vtable.drop]));
        let callables = self.callables.iter().flat_map(|(invoker, manager)| [*invoker, *manager]);
        vtables.chain(functions.filter(|function| *function != 0)).chain(callables)
    }
}
