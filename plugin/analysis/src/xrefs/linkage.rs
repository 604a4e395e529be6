//! What leads to the targets in one module: their addresses, the slots of the global offset table (GOT) that hold them, the
//! stubs of the procedure linkage table (PLT) that jump through such a slot, and copies of variables.

use super::elf::{Elf, Symbol, Symbols, Versions};
use super::relocations::{Value, relocations};
use super::{Name, Named, Target, Through, stubs};
use object::{ReadRef, elf};
use std::collections::HashMap;
use target::AddressRange;

/// Addresses that lead to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    pub range: AddressRange,
    pub through: Through,
    /// Index of the target.
    pub target: u32,
}

/// A dynamic symbol of the module by which it knows a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    target: u32,
    /// Where the symbol is in the target's module.
    address: u64,
}

/// All that leads to the targets in one module.
#[derive(Clone, Debug, Default)]
pub struct Linkage {
    /// In ascending order; they do not overlap.
    ways: Vec<Way>,
    symbols: HashMap<usize, Vec<Known>>,
    /// What each thread has of its own, by its place in the module.
    thread_local: Vec<Way>,
    /// What is added to such a place to count from the thread pointer, where that is known.
    from_thread: Option<u64>,
    /// Whether code and data may hold addresses as they are.
    pub(crate) fixed: bool,
}

impl Linkage {
    /// Of the module with that number.
    ///
    /// # Errors
    /// If a table that it needs is damaged; a fragment that says which.
    pub fn new<'a, R: ReadRef<'a>>(file: &Elf<R>, module: usize, targets: &[Named]) -> Result<Self, String> {
        let mut linkage = Self { symbols: known(file, targets)?, ..Self::direct(file, module, targets) };
        linkage.add_copies(file, targets)?;
        linkage.add_slots(file, targets)?;
        linkage.add_stubs(file)?;
        Ok(linkage)
    }

    /// The addresses themselves alone.
    pub fn direct<R>(file: &Elf<R>, module: usize, targets: &[Named]) -> Self {
        let mut linkage = Self { fixed: file.fixed, ..Self::default() };
        let all = targets.iter().enumerate().map(|(index, named)| {
            (&named.target, Way { range: named.target.range(), through: Through::Direct, target: index as u32 })
        });
        let own = all.clone().filter(|(target, _)| target.is_in(module)).map(|(_, way)| way);
        linkage.add(own.collect());
        let is_own = |target: &Target| matches!(target, Target::ThreadLocal { module: own, .. } if *own == module);
        linkage.thread_local = all.filter(|(target, _)| is_own(target)).map(|(_, way)| way).collect();
        linkage.from_thread = file.thread_block.map(u64::wrapping_neg);
        linkage
    }

    /// Whether nothing in the module can refer to a target.
    pub fn is_empty(&self) -> bool {
        self.ways.is_empty() && self.symbols.is_empty() && self.thread_local.is_empty()
    }

    pub(crate) fn ways(&self) -> &[Way] {
        &self.ways
    }

    /// The addresses of all ways, in ascending order.
    pub(crate) fn ranges(&self) -> Vec<AddressRange> {
        self.ways.iter().map(|way| way.range).collect()
    }

    /// The way that an address is of.
    pub(crate) fn find(&self, address: u64) -> Option<&Way> {
        let after = self.ways.partition_point(|way| way.range.start <= address);
        self.ways[..after].last().filter(|way| way.range.contains(address))
    }

    /// Offsets from the thread pointer that lead to targets: the lower halves of the first ones, and how many there are.
    pub(crate) fn in_thread(&self) -> impl Iterator<Item = (u32, u64)> {
        let first = |way: &Way| Some((self.from_thread?.wrapping_add(way.range.start) as u32, way.range.len()));
        self.thread_local.iter().filter_map(first)
    }

    /// The way that an offset from the thread pointer leads by.
    pub(crate) fn find_in_thread(&self, offset: u64) -> Option<&Way> {
        let place = offset.wrapping_sub(self.from_thread?);
        self.thread_local.iter().find(|way| way.range.contains(place))
    }

    /// The way that a value leads by, from a place that the dynamic linker writes it to.
    pub(crate) fn lead(&self, value: Value, targets: &[Named], symbols: &Symbols<'_>) -> Option<Way> {
        let (index, addend) = match value {
            Value::Own(address) | Value::Chosen(address) => return self.find(address).copied(),
            Value::Symbol(index, addend) => (index, addend),
            Value::ThreadLocal(0, place) => {
                return self.thread_local.iter().find(|way| way.range.contains(place)).copied();
            }
            Value::ThreadLocal(index, addend) => (index, addend),
            Value::Copy(_) => return None,
        };
        if let Some(known) = self.symbols.get(&index) {
            let within = |known: &&Known| {
                targets[known.target as usize].target.range().contains(known.address.wrapping_add(addend))
            };
            return known.iter().find(within).map(|known| Way {
                range: targets[known.target as usize].target.range(),
                through: Through::Direct,
                target: known.target,
            });
        }
        // One that is this file's own, and not known by name.
        let symbol = symbols.get(index).filter(|symbol| index == 0 || symbol.is_place())?;
        self.find(symbol.value.wrapping_add(addend)).copied()
    }

    /// Adds ways; of what overlaps, the part that is there already, or begins first, stays.
    fn add(&mut self, ways: Vec<Way>) {
        if ways.is_empty() {
            return;
        }
        let (there, mut all) = (self.ways.len(), std::mem::take(&mut self.ways));
        all.extend(ways);
        let mut order: Vec<usize> = (0..all.len()).collect();
        order.sort_by_key(|index| (all[*index].range.start, *index >= there));
        for index in order {
            let mut way = all[index];
            let free = self.ways.last().map_or(0, |last| last.range.end);
            way.range.start = way.range.start.max(free);
            if way.range.start < way.range.end {
                self.ways.push(way);
            }
        }
    }

    /// Variables of other modules that the dynamic linker copies into this one, where everybody uses them then.
    fn add_copies<'a, R: ReadRef<'a>>(&mut self, file: &Elf<R>, targets: &[Named]) -> Result<(), String> {
        let mut copies = Vec::new();
        each_relocation(file, |relocation| {
            let Value::Copy(symbol) = relocation.value else { return };
            for known in self.symbols.get(&symbol).into_iter().flatten() {
                let range = targets[known.target as usize].target.range();
                let moved = relocation.place.wrapping_sub(known.address);
                let range = AddressRange::sized(range.start.wrapping_add(moved), range.len());
                copies.push(Way { range, through: Through::Direct, target: known.target });
            }
        })?;
        self.add(copies);
        Ok(())
    }

    fn add_slots<'a, R: ReadRef<'a>>(&mut self, file: &Elf<R>, targets: &[Named]) -> Result<(), String> {
        let symbols = file.symbols(elf::SHT_DYNSYM)?;
        let size = file.pointer() as u64;
        let mut slots = Vec::new();
        let gots: Vec<_> = file.parts.iter().filter(|part| part.is_loaded() && part.is_got()).collect();
        let slot = |place, target| Way { range: AddressRange::sized(place, size), through: Through::Got, target };
        each_relocation(file, |relocation| {
            let chosen = matches!(relocation.value, Value::Chosen(_));
            if relocation.slot || chosen || gots.iter().any(|part| part.contains(relocation.place)) {
                let way = self.lead(relocation.value, targets, &symbols);
                slots.extend(way.map(|way| slot(relocation.place, way.target)));
            }
        })?;
        // In a file that is loaded where it was linked for, slots for its own addresses are written by the linker.
        for part in gots.iter().filter(|_| file.fixed) {
            let places = (part.address..).step_by(file.pointer());
            for (place, bytes) in places.zip(file.bytes(part)?.chunks_exact(file.pointer())) {
                let way = file.word(bytes).and_then(|value| self.find(value));
                slots.extend(way.map(|way| slot(place, way.target)));
            }
        }
        self.add(slots);
        Ok(())
    }

    /// The stubs that jump to where a slot says: they begin with the instruction that reads it, or an `endbr64` before that.
    fn add_stubs<'a, R: ReadRef<'a>>(&mut self, file: &Elf<R>) -> Result<(), String> {
        let slots = self.ways.iter().any(|way| way.through == Through::Got);
        let mut found = Vec::new();
        for part in stubs::sections(file).filter(|_| slots) {
            stubs::each(file, part, |start, slot| {
                let way = self.find(slot).filter(|way| way.through == Through::Got);
                let range = AddressRange::sized(start, 1);
                found.extend(way.map(|way| Way { range, through: Through::Plt, target: way.target }));
            })?;
        }
        self.add(found);
        Ok(())
    }
}

/// The dynamic symbols that other modules can know a target of this file by.
///
/// # Errors
/// If the table of them is damaged; a fragment that says so.
pub fn names<'a, R: ReadRef<'a>>(file: &Elf<R>, target: &Target) -> Result<Vec<Name>, String> {
    let symbols = file.symbols(elf::SHT_DYNSYM)?;
    let versions = file.versions();
    let range = target.range();
    let is_kind = |symbol: &Symbol| match target {
        Target::Place { .. } => symbol.is_place(),
        Target::ThreadLocal { .. } => symbol.is_thread_local(),
        Target::Outside(_) => false,
    };
    let within = symbols.iter().filter(|(_, symbol)| is_kind(symbol) && range.contains(symbol.value));
    let named = within.map(|(index, symbol)| Name {
        name: symbols.name(&symbol).to_vec(),
        version: versions.get(index).map(<[u8]>::to_vec),
        address: symbol.value,
    });
    Ok(named.filter(|name| !name.name.is_empty()).collect())
}

/// Few names are compared one by one, many by their hashes.
const FEW: usize = 8;

/// The dynamic symbols of a file that are names of targets.
fn known<'a, R: ReadRef<'a>>(file: &Elf<R>, targets: &[Named]) -> Result<HashMap<usize, Vec<Known>>, String> {
    let symbols = file.symbols(elf::SHT_DYNSYM)?;
    let versions = file.versions();
    let mut found: HashMap<usize, Vec<Known>> = HashMap::new();
    let mut add = |index: usize, target: usize, name: &Name| {
        if same_version(&versions, index, name) {
            found.entry(index).or_default().push(Known { target: target as u32, address: name.address });
        }
    };
    let names = || targets.iter().enumerate().flat_map(|(target, of)| of.names.iter().map(move |name| (target, name)));
    if names().count() <= FEW {
        for (index, symbol) in symbols.iter() {
            for (target, name) in names().filter(|(_, name)| symbols.is_named(&symbol, &name.name)) {
                add(index, target, name);
            }
        }
        return Ok(found);
    }
    let mut by_name: HashMap<&[u8], Vec<(usize, &Name)>> = HashMap::new();
    for (target, name) in names() {
        by_name.entry(&name.name).or_default().push((target, name));
    }
    for (index, symbol) in symbols.iter() {
        for (target, name) in by_name.get(symbols.name(&symbol)).into_iter().flatten() {
            add(index, *target, name);
        }
    }
    Ok(found)
}

fn same_version(versions: &Versions<'_>, index: usize, name: &Name) -> bool {
    match (versions.get(index), &name.version) {
        (Some(here), Some(there)) => here == there.as_slice(),
        _ => true,
    }
}

/// Calls `found` with every relocation that is loaded with a file.
fn each_relocation<'a, R: ReadRef<'a>>(
    file: &Elf<R>,
    mut found: impl FnMut(super::relocations::Relocation),
) -> Result<(), String> {
    let tables = file.parts.iter().filter(|part| part.is_loaded() && file.entry_size(part).is_some());
    for part in tables {
        relocations(file, part, 0..part.size, &mut found)?;
    }
    Ok(())
}
