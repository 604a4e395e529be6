//! How fast one thread goes through memory: `cargo run --release -p analysis --example speed [MiB]`.
//!
//! Two kinds of memory: one that is seen in place, as a mapped core file is, and one that is copied out block by block, as
//! a process is read.

use analysis::entropy::Entropy;
use analysis::find::{Find, Pattern, PatternError};
use analysis::strings::{Encoding, Strings};
use analysis::{Analysis, Cut, ScanRange, Serial, Sink, run};
use std::sync::Arc;
use std::time::Instant;
use target::{AddressRange, Fault, Populated, ReadMemory};

struct Plain {
    bytes: Vec<u8>,
    in_place: bool,
}

const START: u64 = 0x7f00_0000_0000;

impl ReadMemory for Plain {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<usize, Fault> {
        let from = (address - START) as usize;
        let count = buffer.len().min(self.bytes.len() - from);
        buffer[..count].copy_from_slice(&self.bytes[from..from + count]);
        Ok(count)
    }

    fn view(&self, address: u64, length: u64) -> Option<&[u8]> {
        let from = (address - START) as usize;
        self.in_place.then(|| &self.bytes[from..self.bytes.len().min(from + length as usize)])
    }
}

/// A hundred times as much memory as there is, of which only runs of so many bytes are populated.
struct Sparse {
    bytes: Arc<[u8]>,
    run: u64,
}

impl ReadMemory for Sparse {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<usize, Fault> {
        let (index, within) = ((address - START) / (100 * self.run), (address - START) % (100 * self.run));
        let from = (index * self.run + within) as usize;
        buffer.copy_from_slice(&self.bytes[from..from + buffer.len()]);
        Ok(buffer.len())
    }

    fn populated(&self, range: AddressRange, _swapped: bool) -> Populated {
        let step = 100 * self.run;
        let mut start = range.start - (range.start - START) % step;
        let mut runs = Vec::new();
        while start < range.end {
            runs.extend(AddressRange::sized(start, self.run).intersect(range));
            start += step;
        }
        Populated { runs, skipped: Vec::new() }
    }
}

/// Counts what it is given.
struct Count(u64);

impl<T> Sink<T> for Count {
    fn found(&mut self, items: Vec<T>) {
        self.0 += items.len() as u64;
    }
}

fn measure<A: Analysis<Input = dyn ReadMemory>>(name: &str, memory: &mut Plain, analysis: &A) {
    let bytes = memory.bytes.len() as f64;
    let mut speeds = Vec::new();
    let mut count = Count(0);
    for in_place in [true, false] {
        memory.in_place = in_place;
        let fastest = (0..3).map(|_| {
            count.0 = 0;
            let started = Instant::now();
            let memory: &dyn ReadMemory = &*memory;
            let memory: &dyn ReadMemory = memory;
            run(analysis, &mut Serial::new(analysis, memory), memory, Cut::default(), &mut count);
            started.elapsed().as_secs_f64()
        });
        let fastest = fastest.fold(f64::INFINITY, f64::min);
        speeds.push(bytes / fastest / 1e9);
    }
    println!("{name:<24} {:6.2} GB/s in place, {:6.2} GB/s copied, {} found", speeds[0], speeds[1], count.0);
}

fn run_it<A: Analysis<Input = dyn ReadMemory>>(analysis: &A, memory: &Sparse) {
    let memory: &dyn ReadMemory = memory;
    run(analysis, &mut Serial::new(analysis, memory), memory, Cut::default(), &mut Count(0));
}

fn main() {
    let size = std::env::args().nth(1).and_then(|size| size.parse().ok()).unwrap_or(512usize) << 20;
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut bytes = Vec::with_capacity(size);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    let region = AddressRange::sized(START, size as u64);
    let ranges = vec![ScanRange { range: region, region, sparse: false }];
    let mut memory = Plain { bytes, in_place: true };
    let find = |patterns: Vec<Pattern>| Find { ranges: ranges.clone(), patterns, limit: u64::MAX, ..Find::default() };
    let pattern = |pattern: Result<Pattern, PatternError>| pattern.expect("a pattern");
    let needle = |at: usize| Pattern::String(format!("needle number {at:02}").into_bytes());
    let bytes = |text: &str| pattern(Pattern::bytes(text));
    let regex = |text: &str| pattern(Pattern::regex(text, false));

    measure("one 16-byte needle", &mut memory, &find(vec![needle(1)]));
    measure("five 16-byte needles", &mut memory, &find((0..5).map(needle).collect()));
    let random = |at: usize| Pattern::String(memory_at(at));
    measure("five random needles", &mut memory, &find((0..5).map(random).collect()));
    measure("int 42", &mut memory, &find(vec![pattern(Pattern::int("42"))]));
    measure("int 7:1", &mut memory, &find(vec![pattern(Pattern::int("7:1"))]));
    measure("pointer", &mut memory, &find(vec![Pattern::Pointer(0x7f12_3456_7890)]));
    measure("masked", &mut memory, &find(vec![bytes("de ad ?? ef ?? 1? 44")]));
    measure("masked, few fixed", &mut memory, &find(vec![bytes("de ?? ad ?? be")]));
    measure("masked, nibbles", &mut memory, &find(vec![bytes("d? ?a 4? ?3")]));
    measure(
        "pointer range",
        &mut memory,
        &find(vec![pattern(Pattern::pointer_range(0x7f00_0000_0000, 0x7fff_0000_0000))]),
    );
    let loose =
        Find { align: Some(1), ..find(vec![pattern(Pattern::pointer_range(0x7f00_0000_0000, 0x7fff_0000_0000))]) };
    measure("pointer range, any place", &mut memory, &loose);
    let cased = Find { ignore_case: true, ..find(vec![needle(1)]) };
    measure("ignoring case", &mut memory, &cased);
    let many = (0..200).map(|at| Pattern::String(memory_at(at))).collect();
    measure("200 needles", &mut memory, &find(many));
    measure("hard regex", &mut memory, &find(vec![regex(r"[a-z]+[0-9]{3}[A-Z]+@[a-z]+")]));
    measure("regex with a literal", &mut memory, &find(vec![regex(r"https?://[a-z./]+")]));
    let mixed = vec![
        needle(1),
        pattern(Pattern::utf16("wide")),
        bytes("de ad ?? ef"),
        pattern(Pattern::int("-77:8")),
        Pattern::Pointer(0x7f12_3456_7890),
        pattern(Pattern::pointer_range(0x7f12_0000_0000, 0x7f12_1000_0000)),
        regex(r"[a-z]+[0-9]{3}[A-Z]+@[a-z]+"),
    ];
    for one in &mixed {
        measure(&format!("  {one:?}").chars().take(24).collect::<String>(), &mut memory, &find(vec![one.clone()]));
    }
    measure("mixed", &mut memory, &find(mixed));
    let bytes: Arc<[u8]> = memory.bytes.as_slice().into();
    for (name, run) in [("sparse, pages", 4096), ("sparse, 2 MiB", 2 << 20), ("sparse, one run", size as u64)] {
        let sparse = Sparse { bytes: Arc::clone(&bytes), run };
        let region = AddressRange::sized(START, 100 * size as u64);
        let ranges = vec![ScanRange { range: region, region, sparse: true }];
        for (what, pattern) in [("needle", needle(1)), ("regex", regex(r"https?://[a-z./]+"))] {
            let find = Find { ranges: ranges.clone(), ..find(vec![pattern]) };
            let started = Instant::now();
            run_it(&find, &sparse);
            let seconds = started.elapsed().as_secs_f64();
            println!("{name}, {what:<8} {:6.2} GB/s of what is populated", size as f64 / seconds / 1e9);
        }
        let strings = Strings { ranges: ranges.clone(), limit: u64::MAX, ..Strings::default() };
        let started = Instant::now();
        run_it(&strings, &sparse);
        let seconds = started.elapsed().as_secs_f64();
        println!("{name}, strings  {:6.2} GB/s of what is populated", size as f64 / seconds / 1e9);
    }
    let strings = |encoding| Strings { ranges: ranges.clone(), encoding, limit: u64::MAX, ..Strings::default() };
    measure("strings", &mut memory, &strings(Encoding::Ascii));
    measure("strings, UTF-8", &mut memory, &strings(Encoding::Utf8));
    measure("strings, UTF-16", &mut memory, &strings(Encoding::Utf16));
    measure("entropy", &mut memory, &Entropy { ranges: ranges.clone(), swapped: true, block: 512 << 10 });
    let text = b"A line of text, and\na few more words; ".iter().copied().cycle().take(size).collect();
    memory.bytes = text;
    measure("strings in text", &mut memory, &strings(Encoding::Ascii));
    measure("strings in text, UTF-8", &mut memory, &strings(Encoding::Utf8));
    measure("regex in text", &mut memory, &find(vec![regex(r"[a-z]+[0-9]{3}[A-Z]+@[a-z]+")]));
    memory.bytes.fill(0);
    measure("strings in zeros", &mut memory, &strings(Encoding::Ascii));
    measure("entropy of zeros", &mut memory, &Entropy { ranges: ranges.clone(), swapped: true, block: 512 << 10 });
    let count = Find { count: true, ..find(vec![pattern(Pattern::int("0"))]) };
    measure("int 0 in zeros, counted", &mut memory, &count);
    let count = Find { count: true, ..find(vec![regex(r"\x00{3}")]) };
    measure("three zeros, counted", &mut memory, &count);
}

fn memory_at(at: usize) -> Vec<u8> {
    (0..16).map(|byte| (at * 37 + byte * 101 + 13 * (at ^ byte)) as u8).collect()
}
