use super::*;
use crate::{Cut, Serial, run};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use target::{Fault, FaultReason, Layout, Permissions, Region};

/// Bytes at addresses; between them nothing can be read.
#[derive(Clone, Default)]
struct Image(BTreeMap<u64, Vec<u8>>);

impl ReadMemory for Image {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<usize, Fault> {
        let fault = Fault { address, reason: FaultReason::Unreadable };
        let (start, bytes) = self.0.range(..=address).next_back().ok_or(fault)?;
        let bytes = bytes.get((address - start) as usize..).filter(|bytes| !bytes.is_empty()).ok_or(fault)?;
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        Ok(count)
    }
}

const PAGE: u64 = 0x1000;

/// Where in a module its parts lie.
const DYNAMIC_AT: u64 = 0x200;
const SYMBOLS_AT: u64 = 0x400;
const NAMES_AT: u64 = 0x600;
const HASH_AT: u64 = 0x800;
const LINK_AT: u64 = 0xc00;
const PATH_AT: u64 = 0xd00;
const DEBUG_AT: u64 = 0xe00;

/// A module, as a dynamic linker has made it ready: what it defines and what it only asks for.
#[derive(Clone, Debug)]
struct Module {
    path: &'static str,
    defines: Vec<&'static str>,
    asks: Vec<&'static str>,
    gnu: bool,
    relocated: bool,
}

impl Module {
    fn new(path: &'static str, defines: &[&'static str]) -> Self {
        Self { path, defines: defines.to_vec(), asks: vec!["malloc"], gnu: true, relocated: true }
    }

    /// Its page, which lies at `base`; of the program, with where the list begins.
    fn page(&self, base: u64, next: u64, list: Option<u64>) -> Vec<u8> {
        let mut page = vec![0; PAGE as usize];
        let mut put = |at: u64, bytes: &[u8]| page[at as usize..][..bytes.len()].copy_from_slice(bytes);
        let words = |words: &[u64]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
        let halves = |halves: &[u32]| halves.iter().flat_map(|half| half.to_le_bytes()).collect::<Vec<u8>>();
        put(0, b"\x7fELF\x02\x01\x01");
        put(32, &words(&[64]));
        put(56, &2u16.to_le_bytes());
        // Each: type and flags, offset, address.
        put(64, &words(&[1, 0, 0]));
        put(64 + 56, &words(&[2, 0, DYNAMIC_AT]));
        let at = |offset: u64| if self.relocated { base + offset } else { offset };
        let hash = if self.gnu { elf::DT_GNU_HASH.0 } else { elf::DT_HASH.0 };
        let mut dynamic = vec![hash as u64, at(HASH_AT), 5, at(NAMES_AT), 6, at(SYMBOLS_AT)];
        if list.is_some() {
            dynamic.extend([21, base + DEBUG_AT]);
        }
        put(DYNAMIC_AT, &words(&dynamic));
        // The first symbol is none; those that are asked for are not hashed.
        let mut names = vec![0];
        let asked = self.asks.iter().map(|name| (*name, false));
        for (index, (name, defined)) in asked.chain(self.defines.iter().map(|name| (*name, true))).enumerate() {
            let section = if defined { 7u64 << 48 } else { 0 };
            let symbol = words(&[names.len() as u64 | 0x12 << 32 | section, 0x40 * (index as u64 + 1), 0]);
            put(SYMBOLS_AT + 24 * (index as u64 + 1), &symbol);
            names.extend(name.bytes().chain([0]));
        }
        put(NAMES_AT, &names);
        let first = 1 + self.asks.len() as u32;
        let count = self.defines.len() as u32;
        let table = if self.gnu {
            // One bucket, so all are in one chain.
            let own = |(index, name): (usize, &&str)| {
                elf::gnu_hash(name.as_bytes()) & !1 | u32::from(index + 1 == self.defines.len())
            };
            let head = if count == 0 { 0 } else { first };
            let chain = self.defines.iter().enumerate().map(own);
            [1, first, 1, 6, 0, 0, head].into_iter().chain(chain).collect::<Vec<u32>>()
        } else {
            let all = first + count;
            let chain = (0..all).map(|index| if index + 1 < all { index + 1 } else { 0 });
            [1, all, 1].into_iter().chain(chain).collect()
        };
        put(HASH_AT, &halves(&table));
        put(LINK_AT, &words(&[base, base + PATH_AT, base + DYNAMIC_AT, next, 0]));
        put(PATH_AT, self.path.as_bytes());
        put(DEBUG_AT, &words(&[1, list.unwrap_or(0)]));
        page
    }
}

/// Modules in this order of the list; the addresses fall.
fn image(modules: &[Module]) -> (Image, AddressSpace) {
    let base = |index: usize| 0x7000_0000 - 0x10_0000 * index as u64;
    let mut image = Image::default();
    let mut regions = Vec::new();
    for (index, module) in modules.iter().enumerate() {
        let next = if index + 1 < modules.len() { base(index + 1) + LINK_AT } else { 0 };
        let list = (index == 0).then(|| base(0) + LINK_AT);
        image.0.insert(base(index), module.page(base(index), next, list));
        regions.push(Region {
            range: AddressRange::sized(base(index), PAGE),
            permissions: Permissions::READ,
            shared: false,
            backing: Backing::File { path: format!("/m{index}"), offset: 0, deleted: false },
            userfault: false,
        });
    }
    regions.reverse();
    (image, AddressSpace { layout: Layout::default(), regions })
}

fn find(image: Image, space: &AddressSpace) -> Option<Provider> {
    let plan = FindProvider::new(space);
    let view = View { memory: Arc::new(image), index: Default::default(), tables: Vec::new() };
    run(&plan, &mut Serial::new(&plan, &view), &view, Cut::default(), &mut Vec::new()).merge
}

fn provider(modules: &[Module]) -> Option<Provider> {
    let (image, space) = image(modules);
    find(image, &space)
}

const LIBC: &str = "/lib/libc.so.6";

fn libc() -> Module {
    Module::new(LIBC, &["free", "gnu_get_libc_version", "malloc"])
}

#[test]
fn the_first_module_of_the_list_that_defines_malloc_provides_it() {
    let program = Module::new("", &["main"]);
    let own = Module::new("", &["main", "malloc"]);
    let other = Module::new("/opt/libother.so", &["aligned_alloc", "malloc", "free"]);
    let found = |modules: &[Module]| provider(modules).map(|found| (found.path, found.is_glibc));
    let glibc = Some((LIBC.to_owned(), true));
    let others = Some(("/opt/libother.so".to_owned(), false));
    assert_eq!(found(&[program.clone(), libc()]), glibc);
    assert_eq!(found(&[program.clone(), libc(), other.clone()]), glibc, "what is loaded later is not asked");
    assert_eq!(found(&[program.clone(), other.clone(), libc()]), others);
    assert_eq!(found(&[own, other, libc()]), Some((String::new(), false)));
    assert_eq!(found(&[program]), None, "one that asks for it does not define it");
    let old = |module: Module| Module { gnu: false, ..module };
    let plain = |module: Module| Module { relocated: false, ..module };
    assert_eq!(found(&[old(Module::new("", &["main"])), old(libc())]), glibc);
    assert_eq!(found(&[plain(Module::new("", &["main"])), plain(libc())]), glibc);
    let at = provider(&[Module::new("", &[]), libc()]).unwrap().address;
    assert_eq!(
        at,
        0x7000_0000 - 0x10_0000 + 0x40 * 4,
        "the third of those that it defines, after one that it asks for"
    );
}

#[test]
fn without_a_list_nobody_is_known() {
    let (mut image, space) = image(&[Module::new("", &[]), libc()]);
    image.0.get_mut(&0x7000_0000).unwrap()[DEBUG_AT as usize + 8..][..8].fill(0);
    assert_eq!(find(image.clone(), &space), None, "the dynamic linker has not run yet");
    image.0.remove(&0x7000_0000);
    assert_eq!(find(image, &space), None);
    assert_eq!(find(Image::default(), &AddressSpace::default()), None);
}

proptest! {
    #[test]
    fn any_bytes_come_to_an_end(
        changes in prop::collection::vec((0..3usize, 0..PAGE / 4, any::<u32>()), 1..40),
        small in any::<bool>(),
        gnu in any::<bool>(),
    ) {
        let modules = ["", "/opt/libother.so", LIBC].map(|path| Module { gnu, ..Module::new(path, &["free", "malloc"]) });
        let (mut image, space) = image(&modules);
        for (index, at, value) in changes {
            let page = image.0.get_mut(&(0x7000_0000 - 0x10_0000 * index as u64)).unwrap();
            let value = if small { value % 16 } else { value };
            page[4 * at as usize..][..4].copy_from_slice(&value.to_le_bytes());
        }
        if let Some(found) = find(image, &space) {
            prop_assert!(found.path.len() <= LONGEST_PATH * 3);
        }
    }
}
