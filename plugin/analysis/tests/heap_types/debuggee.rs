//! A process that says what is in its heap, and that heap.

use analysis::heap::types::{Facts, HeapTypes, Languages, Symbols, Types};
use analysis::heap::{Index, Segment, SegmentKind, Segments, View, table};
use analysis::{Cut, InProcess, ScanRange, run};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use target::{AddressRange, Backing, Opened, Permissions, ReadMemory};

pub struct Debuggee {
    child: Child,
    /// What it says its allocations are.
    pub truth: BTreeMap<u64, String>,
}

impl Debuggee {
    /// Starts a program. Its allocator keeps freed chunks in no list of its own, so what is in use is in the chunks' headers.
    pub fn start(program: &Path, arguments: &[&str]) -> Self {
        let mut child = Command::new(program)
            .args(arguments)
            .env(
                "GLIBC_TUNABLES",
                "glibc.malloc.tcache_count=0:glibc.malloc.mxfast=0:glibc.malloc.mmap_threshold=4294967296",
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut truth = BTreeMap::new();
        for line in BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap) {
            let Some((address, kind)) = line.split_once(' ') else { break };
            let address = u64::from_str_radix(address.trim_start_matches("0x"), 16).unwrap();
            truth.insert(address, kind.to_owned());
        }
        Self { child, truth }
    }

    pub fn open(&self) -> Opened {
        target::live::open(self.child.id(), &Default::default()).unwrap()
    }

    /// A core file of it, in this folder.
    pub fn core(&self, folder: &Path) -> PathBuf {
        let output = Command::new("gcore").arg("-o").arg(folder.join("core")).arg(self.child.id().to_string()).output();
        let output = output.expect("gcore is needed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        folder.join(format!("core.{}", self.child.id()))
    }
}

impl Drop for Debuggee {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What is found in a heap.
pub struct Found {
    plan: HeapTypes,
    pub facts: Facts,
    pub view: View,
    pub types: Types,
}

impl Found {
    /// Names types by the symbols of a target's modules.
    pub fn name(&mut self, target: &Opened) {
        let mut symbols = Symbols::new();
        for module in analysis::symbols::by_module(&target.space, self.facts.unnamed()) {
            let file = std::fs::read(&module.path).unwrap();
            let found = analysis::symbols::look_up(&*file, &module);
            symbols
                .extend(module.addresses.iter().zip(found).filter_map(|(address, symbol)| Some((*address, symbol?))));
        }
        self.types = Types::new(&self.plan, &self.facts, &symbols, &self.view);
    }

    /// The type of each chunk in use, by the address of what malloc returned.
    pub fn types(&self) -> BTreeMap<u64, Option<String>> {
        let chunks = self.view.index.lookup().chunks(AddressRange::new(0, u64::MAX));
        let used = chunks.zip(0..).filter(|(chunk, _)| chunk.used);
        used.map(|(chunk, number)| (chunk.address(), self.types.type_of(number).map(shown))).collect()
    }
}

/// A type's name, without the numbers that newer names of closures have.
fn shown(own: &analysis::heap::types::Type) -> String {
    let mut parts = own.name.split("{closure#");
    let mut name = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        name.push_str("{{closure}");
        name.push_str(part.trim_start_matches(|letter: char| letter.is_ascii_digit()));
    }
    match own.kind {
        analysis::heap::types::Kind::Shared => format!("{name} (shared)"),
        analysis::heap::types::Kind::Array => format!("{name}[]"),
        _ => name,
    }
}

/// Looks at a target with so many threads, which read so much at once.
pub fn find(target: &Opened, languages: Languages, threads: usize, cut: Cut) -> Found {
    let memory = target.memory().unwrap();
    let index = walk(target, &*memory);
    let roots: Vec<ScanRange> = target
        .space
        .regions
        .iter()
        .filter(|region| region.permissions.contains(Permissions::WRITE) && region.is_readable())
        .filter(|region| region.backing != Backing::Heap)
        .map(|region| ScanRange { range: region.range, region: region.range, sparse: region.is_sparse() })
        .collect();
    let mut plan = HeapTypes::new(&target.space, index.segments(), &roots, languages);
    plan.block = 64 << 10;
    let tables = HeapTypes::tables(&index).into_iter().map(table).collect();
    let view = View { memory, index, tables };
    let (plan, view) = (Arc::new(plan), Arc::new(view));
    let mut executor = InProcess::new(Arc::clone(&plan), Arc::clone(&view), threads);
    let outcome = run(&*plan, &mut executor, &view, cut, &mut Vec::new());
    let types = Types::new(&plan, &outcome.merge, &Symbols::new(), &view);
    Found { plan: (*plan).clone(), facts: outcome.merge, view: (*view).clone(), types }
}

/// The index of the main arena, whose chunks follow one another. A static program has something before them.
fn walk(target: &Opened, memory: &dyn ReadMemory) -> Index {
    let region = target.space.regions.iter().find(|region| region.backing == Backing::Heap).expect("a heap");
    let mut bytes = vec![0; region.range.len() as usize];
    assert_eq!(memory.read(region.range.start, &mut bytes), Ok(bytes.len()));
    let first = (0..bytes.len()).step_by(16).find(|first| chunks(&bytes, *first).is_some()).expect("chunks");
    let range = AddressRange::new(region.range.start + first as u64, region.range.end);
    let segments = Arc::new(Segments::new(vec![Segment { range, kind: SegmentKind::Main, arena: Some(0) }]));
    let index = Index::new(Arc::clone(&segments), table(Index::words(&segments)));
    let chunks = chunks(&bytes, first).unwrap();
    index.add(chunks.iter().map(|(at, used)| (segments.granule(region.range.start + *at as u64).unwrap(), *used)));
    index.complete();
    index
}

/// All chunks from the first on, and whether each is in use; none if they do not reach the end.
fn chunks(bytes: &[u8], first: usize) -> Option<Vec<(usize, bool)>> {
    let size = |at: usize| bytes.get(at + 8..at + 16).map(|size| u64::from_le_bytes(size.try_into().unwrap()));
    let mut at = first;
    let mut chunks = Vec::new();
    while let Some(own) = size(at) {
        let next = at.checked_add((own & !7) as usize)?;
        if own < 32 || next > bytes.len() || !next.is_multiple_of(16) {
            return None;
        }
        chunks.push((at, size(next).is_some_and(|next| next & 1 == 1)));
        at = next;
    }
    (at == bytes.len()).then_some(chunks)
}
