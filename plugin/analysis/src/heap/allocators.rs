//! Allocators other than glibc's, and the languages of a program: recognised by the names of modules and of regions, and by texts
//! that each has in its read-only data, stripped or not, linked statically or not.
//!
//! The texts are messages and names of options that the libraries have had for many versions, and that nothing else has.

use super::View;
use super::types::Languages;
use crate::driver::Sink;
use crate::memory::{Buffer, Walk};
use crate::plan::{Analysis, ScanRange, Scanned, Task};
use crate::report::Stop;
use aho_corasick::AhoCorasick;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::ControlFlow;
use target::{AddressRange, AddressSpace, Backing, Permissions, Region};

/// As many bytes of modules are looked at.
const MOST: u64 = 256 << 20;

/// What a text tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tells {
    Allocator(&'static str),
    Rust,
    Libstdcxx,
}

/// Texts in the read-only data of modules; with a tilde in each that is not part of it, or a process that this is loaded into would have them as well.
const TEXTS: [(&str, Tells); 17] = [
    ("lg_extent~_max_active_fit", Tells::Allocator("jemalloc")),
    ("<jemalloc~>: ", Tells::Allocator("jemalloc")),
    ("mimalloc: ~warning: ", Tells::Allocator("mimalloc")),
    ("tcmalloc.max_total~_thread_cache_bytes", Tells::Allocator("tcmalloc")),
    ("Scudo ~ERROR: ", Tells::Allocator("scudo")),
    ("_ZN8~snmalloc", Tells::Allocator("snmalloc")),
    ("_ZN5~Hoard", Tells::Allocator("hoard")),
    ("No error ~information", Tells::Allocator("musl")),
    ("-+   ~0X0x", Tells::Allocator("musl")),
    ("WARNING: ~AddressSanitizer failed to allocate 0x", Tells::Allocator("AddressSanitizer")),
    ("WARNING: ~HWAddressSanitizer failed to allocate 0x", Tells::Allocator("HWAddressSanitizer")),
    ("WARNING: ~LeakSanitizer failed to allocate 0x", Tells::Allocator("LeakSanitizer")),
    ("FATAL: ~ThreadSanitizer: unexpected memory mapping", Tells::Allocator("ThreadSanitizer")),
    ("called `Option::~unwrap()` on a `None` value", Tells::Rust),
    ("/library~/core/src/", Tells::Rust),
    ("basic_string::~_M_", Tells::Libstdcxx),
    ("vector::~_M_", Tells::Libstdcxx),
];

/// How names of modules' files begin.
const MODULES: [(&str, &str); 19] = [
    ("libjemalloc", "jemalloc"),
    ("libtcmalloc", "tcmalloc"),
    ("libmimalloc", "mimalloc"),
    ("ld-musl-", "musl"),
    ("libc.musl-", "musl"),
    ("libscudo", "scudo"),
    ("libclang_rt.scudo", "scudo"),
    ("libsnmalloc", "snmalloc"),
    ("libhoard", "hoard"),
    ("librpmalloc", "rpmalloc"),
    ("libtbbmalloc_proxy", "tbbmalloc"),
    ("libasan", "AddressSanitizer"),
    ("libclang_rt.asan", "AddressSanitizer"),
    ("libhwasan", "HWAddressSanitizer"),
    ("libclang_rt.hwasan", "HWAddressSanitizer"),
    ("liblsan", "LeakSanitizer"),
    ("libclang_rt.lsan", "LeakSanitizer"),
    ("libtsan", "ThreadSanitizer"),
    ("libclang_rt.tsan", "ThreadSanitizer"),
];

/// How names begin that allocators give to their regions.
const REGIONS: [(&str, &str); 5] = [
    ("scudo:", "scudo"),
    ("partition_alloc", "PartitionAlloc"),
    ("jemalloc", "jemalloc"),
    ("tcmalloc", "tcmalloc"),
    ("mimalloc", "mimalloc"),
];

/// Modules that are in most programs; what is in them is known by their names.
const COMMON: [&str; 10] =
    ["libc.so", "libc-2", "ld-linux", "ld-2", "libm.so", "libstdc++", "libgcc_s", "libpthread", "libdl.so", "librt.so"];

/// Looks for allocators other than glibc's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allocators {
    /// Read-only data of modules that are not [`COMMON`], in address order.
    ranges: Vec<ScanRange>,
    /// The path of the module that each of them is of.
    paths: Vec<String>,
    /// Allocators and how they are known, before anything is read.
    named: BTreeMap<String, String>,
    languages: Languages,
}

/// Which of the texts have been found, and in which of the ranges first.
pub type Texts = BTreeMap<u32, usize>;

/// An allocator that is in a process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Recognised {
    pub name: String,
    /// The path of the module that it is in, or the name of a region that it has made.
    pub evidence: String,
}

/// What a process is known by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runtimes {
    /// Allocators other than glibc's, by name. That one is there does not say that all memory is from it.
    pub allocators: Vec<Recognised>,
    pub languages: Languages,
}

impl Allocators {
    pub fn new(space: &AddressSpace) -> Self {
        let mut plan =
            Self { ranges: Vec::new(), paths: Vec::new(), named: BTreeMap::new(), languages: Languages::default() };
        // Where the only code of a module is, and whether it has data beside it.
        let mut modules: HashMap<&str, bool> = HashMap::new();
        for region in &space.regions {
            if let Backing::File { path, .. } = &region.backing {
                let code = region.permissions.contains(Permissions::EXECUTE);
                *modules.entry(path).or_default() |= code;
            }
        }
        let mut room = MOST;
        for region in &space.regions {
            let Backing::File { path, .. } = &region.backing else {
                plan.by_region(region);
                continue;
            };
            if modules.get(path.as_str()) != Some(&true) {
                continue;
            }
            let file = path.rsplit('/').next().unwrap_or_default();
            plan.by_module(path, file);
            let common = COMMON.iter().any(|name| file.starts_with(name));
            let constant =
                region.permissions.contains(Permissions::READ) && !region.permissions.contains(Permissions::WRITE);
            if common || !constant || room == 0 {
                continue;
            }
            let range = AddressRange::sized(region.range.start, region.range.len().min(room));
            room -= range.len();
            plan.ranges.push(ScanRange { range, region: region.range, sparse: false });
            plan.paths.push(path.clone());
        }
        plan
    }

    fn by_module(&mut self, path: &str, file: &str) {
        self.languages.libstdcxx |= file.starts_with("libstdc++");
        self.languages.rust |= file.starts_with("libstd-");
        for (_, name) in MODULES.iter().filter(|(prefix, _)| file.starts_with(prefix)) {
            self.named.entry((*name).to_owned()).or_insert_with(|| path.to_owned());
        }
    }

    fn by_region(&mut self, region: &Region) {
        let Some(own) = region.name() else { return };
        for (_, name) in REGIONS.iter().filter(|(prefix, _)| own.starts_with(prefix)) {
            self.named.entry((*name).to_owned()).or_insert_with(|| own.to_owned());
        }
    }

    /// What has been found, with the texts that were.
    pub fn finish(&self, texts: &Texts) -> Runtimes {
        let mut allocators = self.named.clone();
        let mut languages = self.languages;
        for (text, range) in texts {
            match TEXTS.get(*text as usize).map(|(_, tells)| *tells) {
                Some(Tells::Allocator(name)) => {
                    let path = self.paths.get(*range).cloned().unwrap_or_default();
                    allocators.entry(name.to_owned()).or_insert(path);
                }
                Some(Tells::Rust) => languages.rust = true,
                Some(Tells::Libstdcxx) => languages.libstdcxx = true,
                None => {}
            }
        }
        let allocators = allocators.into_iter().map(|(name, evidence)| Recognised { name, evidence }).collect();
        Runtimes { allocators, languages }
    }
}

/// What is kept from one task to the next.
#[derive(Debug)]
pub struct AllocatorsScanner {
    texts: AhoCorasick,
    buffer: Buffer,
}

impl Analysis for Allocators {
    const NAME: &'static str = "heap-allocators";
    type Input = View;
    type Partial = BTreeSet<u32>;
    type Scanner = AllocatorsScanner;
    type Merge = Texts;
    type Item = ();

    fn ranges(&self) -> &[ScanRange] {
        &self.ranges
    }

    fn scanner(&self) -> Result<AllocatorsScanner, String> {
        let texts =
            AhoCorasick::new(TEXTS.map(|(text, _)| text.replace('~', ""))).map_err(|error| error.to_string())?;
        Ok(AllocatorsScanner { texts, buffer: Buffer::default() })
    }

    fn scan(
        &self,
        scanner: &mut AllocatorsScanner,
        task: &Task,
        view: &View,
        stop: &dyn Fn() -> bool,
    ) -> Scanned<BTreeSet<u32>> {
        let region = task.scan_range(&self.ranges).region;
        let longest = TEXTS.iter().map(|(text, _)| text.len()).max().unwrap_or(1);
        let walk = Walk {
            memory: &*view.memory,
            range: task.range,
            region,
            sparse: false,
            swapped: true,
            before: 0,
            reach: longest,
            zero_reach: longest,
            zeros: false,
            block: 512 << 10,
            stop,
        };
        let AllocatorsScanner { texts, buffer } = scanner;
        let mut found = BTreeSet::new();
        let walked = walk.run(buffer, |window| {
            let data = &window.data[window.starts.start..];
            let length = window.starts.len();
            let matches = texts.find_iter(data).filter(|found| found.start() < length);
            found.extend(matches.map(|found| found.pattern().as_u32()));
            ControlFlow::Continue(())
        });
        Scanned {
            partial: found,
            bytes: walked.bytes(task.range),
            skipped: walked.skipped,
            rest: walked.rest.map(|rest| AddressRange::new(rest, task.range.end)),
            gone: walked.gone,
        }
    }

    fn merge(&self) -> Texts {
        Texts::new()
    }

    fn absorb(
        &self,
        merge: &mut Texts,
        task: &Task,
        partial: BTreeSet<u32>,
        _view: &View,
        _sink: &mut dyn Sink<()>,
    ) -> ControlFlow<Stop> {
        for text in partial {
            merge.entry(text).or_insert(task.index);
        }
        ControlFlow::Continue(())
    }
}
