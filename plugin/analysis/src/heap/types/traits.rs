//! Values behind pointers to traits: what a `Box<dyn …>`, an `Rc<dyn …>` or an `Arc<dyn …>` of Rust holds.
//!
//! Such a pointer is two words: where the value is, and a vtable of its type, which the program cannot write to. A vtable begins with the
//! function that drops such a value, 0 if there is nothing to drop, then the type's size and alignment, then the trait's
//! methods (rustc_middle, `ty/vtable.rs`). Rust promises none of that; so a chunk has to have the very size, and the type's name is in symbols (`names.rs`).

use super::codes::Code;
use super::modules::Modules;
use super::probe::{Holder, Probe, fits};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

/// As many methods are looked at.
const METHODS: usize = 6;

/// The words of a vtable before its methods.
const HEADER: usize = 3;

/// Alignments are not greater than this.
const MOST_ALIGNED: u64 = 4096;

/// The counts of an `Rc` or an `Arc`: pointers to the value, and to its chunk.
const COUNTS: u64 = 16;

/// There are not more pointers than this to one value. What looks like counts is taken for them where a chunk has room for them beside the value.
const MOST_COUNTED: u64 = 1 << 24;

/// Of so many addresses it is kept that no vtable is there.
const MOST_KEPT: usize = 1 << 16;

/// A vtable of a trait, for one type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraitVtable {
    /// The function that drops a value, 0 if there is none.
    pub drop: u64,
    /// In bytes.
    pub size: u64,
    pub align: u64,
    /// The first of its methods, and of what can be called behind them.
    pub methods: Vec<u64>,
}

impl TraitVtable {
    fn new(words: &[u64], modules: &Modules) -> Option<Self> {
        let [drop, size, align] = *words.first_chunk::<HEADER>()?;
        let methods: Vec<u64> = words[HEADER..].iter().copied().take_while(|method| modules.is_code(*method)).collect();
        let sound = if drop == 0 { !methods.is_empty() } else { modules.is_code(drop) };
        let aligned = align.is_power_of_two() && align <= MOST_ALIGNED && size.is_multiple_of(align);
        (sound && aligned && (1..1 << 40).contains(&size)).then_some(Self { drop, size, align, methods })
    }

    /// Where the value is in a chunk that has reference counts before it.
    pub(super) fn counted_offset(&self) -> u64 {
        COUNTS.next_multiple_of(self.align)
    }

    /// Bytes that are asked for with reference counts.
    fn counted_size(&self) -> u64 {
        (self.counted_offset() + self.size).next_multiple_of(self.align.max(8))
    }
}

/// All vtables of traits that have been met, in one worker.
#[derive(Debug, Default)]
pub(super) struct Traits {
    known: FxHashMap<u64, Option<TraitVtable>>,
}

impl Traits {
    fn at(&mut self, probe: &mut Probe<'_>, modules: &Modules, address: u64) -> Option<&TraitVtable> {
        if !self.known.contains_key(&address) {
            let found = read(probe, modules, address);
            // Of what is none there may be any number, and it does not cost much to see that.
            if found.is_none() && self.known.len() >= MOST_KEPT {
                return None;
            }
            self.known.insert(address, found);
        }
        self.known.get(&address)?.as_ref()
    }

    /// Whether the holder's words are a pointer to a trait whose value the chunk has the size of; then the chunk is marked. What has been learnt
    /// is the vtable's address, and the vtable.
    pub(super) fn held(
        &mut self,
        probe: &mut Probe<'_>,
        modules: &Modules,
        holder: &Holder<'_>,
        granule: u64,
    ) -> Option<(u64, &TraitVtable)> {
        let address = holder.word(1)?;
        let slot = modules.slot(address).filter(|_| modules.is_constant(address))?;
        let vtable = self.at(probe, modules, address)?;
        let chunk = probe.lookup.chunk(granule)?;
        let counted = fits(&chunk, vtable.counted_size()) && {
            let counts = probe.words::<2>(chunk.address())?;
            counts.iter().all(|count| (1..MOST_COUNTED).contains(count))
        };
        let code = match counted {
            true => Code::Counted(slot),
            false if fits(&chunk, vtable.size) => Code::Trait(slot),
            false => return None,
        };
        probe.codes.raise(probe.lookup.number(granule), code);
        Some((address, vtable))
    }
}

/// The vtable at an address. The last one of a module may have the module's end close behind it.
fn read(probe: &mut Probe<'_>, modules: &Modules, address: u64) -> Option<TraitVtable> {
    let mut bytes = [0; 8 * (HEADER + METHODS)];
    let filled = probe.pages.read(probe.memory, address, &mut bytes);
    let words = bytes[..filled].as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word));
    TraitVtable::new(&words.collect::<Vec<_>>(), modules)
}

#[cfg(test)]
mod tests {
    use super::*;
    use target::{AddressRange, AddressSpace, Backing, Layout, Permissions, Region};

    #[test]
    fn a_vtable_is_one_whose_words_agree() {
        let code = Region {
            range: AddressRange::new(0x1000, 0x2000),
            permissions: Permissions::READ | Permissions::EXECUTE,
            backing: Backing::File { path: "/lib/some.so".into(), offset: 0, deleted: false },
            shared: false,
            userfault: false,
        };
        let modules = Modules::new(&AddressSpace { layout: Layout::default(), regions: vec![code] });
        let read = |words: &[u64]| TraitVtable::new(words, &modules);
        let vtable =
            |drop, size, align, methods: &[u64]| Some(TraitVtable { drop, size, align, methods: methods.to_vec() });
        assert_eq!(read(&[0x1010, 24, 8, 0x1020, 0x1ff0, 5, 0x1020]), vtable(0x1010, 24, 8, &[0x1020, 0x1ff0]));
        assert_eq!(read(&[0x1010, 24, 8]), vtable(0x1010, 24, 8, &[]));
        assert_eq!(read(&[0, 1, 1, 0x1020]), vtable(0, 1, 1, &[0x1020]));
        for wrong in [
            &[0x1010, 24][..],
            &[0x2000, 24, 8, 0x1020],
            &[0, 24, 8, 0x2000],
            &[0x1010, 0, 8, 0x1020],
            &[0x1010, 20, 8, 0x1020],
            &[0x1010, 24, 0, 0x1020],
            &[0x1010, 24, 12, 0x1020],
            &[0x1010, 1 << 20, 1 << 20, 0x1020],
            &[0x1010, 1 << 40, 8, 0x1020],
        ] {
            assert_eq!(read(wrong), None, "{wrong:x?}");
        }
        let offset = |align| TraitVtable { drop: 0, size: align, align, methods: vec![] }.counted_offset();
        assert_eq!([1, 8, 16, 64].map(offset), [16, 16, 16, 64]);
    }
}
