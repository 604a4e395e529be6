//! References in the instructions of x86-64 code.

use super::boundaries::{Boundaries, Stretch};
use super::candidates::Filter;
use super::instruction::{self, Use};
use super::linkage::Linkage;
use super::{Kind, Kinds, Reference, Through};
use iced_x86::{Code as Opcode, Decoder, DecoderOptions, Instruction};
use std::ops::Range;
use target::AddressRange;

/// The most bytes of an instruction.
pub(crate) const LONGEST: u64 = 15;

/// Farther than this from their ends short jumps do not reach.
const SHORT: u64 = 128;

/// Code is looked at in blocks of so many bytes, and whether to stop is asked at each.
const BLOCK: u64 = 64 << 10;

/// While instructions are decoded, whether to stop is asked after so many.
const PATIENCE: u32 = 1 << 16;

/// A section's instructions, or some of them.
#[derive(Clone, Debug)]
pub struct Code<'a> {
    pub bytes: &'a [u8],
    /// The address of the first of `bytes`.
    pub address: u64,
    /// The section that they are of.
    pub section: Range<u64>,
}

impl Code<'_> {
    /// What of a section has to be read for what begins in `within`.
    pub fn needed(within: AddressRange, section: &Range<u64>, boundaries: &Boundaries<'_>) -> Range<u64> {
        let from = boundaries.stretch(within.start.saturating_sub(LONGEST).max(section.start), section).from;
        from..within.end.saturating_add(2 * LONGEST).min(section.end)
    }

    fn end(&self) -> u64 {
        self.address + self.bytes.len() as u64
    }
}

/// The references of the wanted kinds in instructions that begin in `within`, in ascending order, and how far it has looked: to
/// the end of `within`, unless `stop` said so.
pub fn scan(
    code: &Code<'_>,
    within: AddressRange,
    linkage: &Linkage,
    boundaries: &Boundaries<'_>,
    kinds: Kinds,
    stop: &dyn Fn() -> bool,
) -> (Vec<Reference>, u64) {
    search(&mut Walk::new(code, boundaries), within, linkage, kinds, stop)
}

fn search(
    walk: &mut Walk<'_>,
    within: AddressRange,
    linkage: &Linkage,
    kinds: Kinds,
    stop: &dyn Fn() -> bool,
) -> (Vec<Reference>, u64) {
    let code = walk.code;
    let filter = Filter::new(&linkage.ranges(), linkage.fixed).with(linkage.in_thread());
    let near = nearby(linkage);
    let mut found = Vec::new();
    let mut at = within.start;
    while at < within.end && !stop() {
        let block = AddressRange::new(at, within.end.min(at.saturating_add(BLOCK)));
        let known = found.len();
        let mut spans: Vec<AddressRange> = near.iter().filter_map(|range| range.intersect(block)).collect();
        if !spans.contains(&block) {
            let first = (block.start - code.address) as usize;
            let last = (block.end.saturating_add(LONGEST).min(code.end()) - code.address) as usize;
            filter.find(&code.bytes[first..last], block.start, |place| {
                let place = block.start + place as u64;
                // What begins in the next block is decoded with that.
                let end = (place + 1).min(block.end);
                spans.push(AddressRange::new(place.saturating_sub(LONGEST).max(block.start), end));
            });
        }
        let whole = joined(spans).into_iter().all(|span| {
            walk.cover(span, stop, |instruction| {
                if block.contains(instruction.ip()) {
                    found.extend(reference(instruction, linkage, kinds));
                }
            })
        });
        if !whole {
            found.truncate(known);
            break;
        }
        at = block.end;
    }
    found.sort_unstable();
    found.dedup();
    (found, at)
}

/// As [`scan`], by decoding every instruction: what it is tested against.
pub fn sweep(code: &Code<'_>, linkage: &Linkage, boundaries: &Boundaries<'_>, kinds: Kinds) -> Vec<Reference> {
    let mut found = Vec::new();
    let mut walk = Walk::new(code, boundaries);
    walk.cover(AddressRange::new(code.address, code.end()), &|| false, |instruction| {
        found.extend(reference(instruction, linkage, kinds));
    });
    found
}

/// The spans in ascending order, those that meet or lie nearer than an instruction is long as one: else the same code would be
/// decoded for each of them, and of a large range there are as many as bytes.
fn joined(mut spans: Vec<AddressRange>) -> Vec<AddressRange> {
    spans.sort_unstable();
    spans.dedup_by(|next, before| {
        let near = next.start < before.end.saturating_add(LONGEST);
        before.end = if near { before.end.max(next.end) } else { before.end };
        near
    });
    spans
}

/// Where short jumps to what is wanted begin.
fn nearby(linkage: &Linkage) -> Vec<AddressRange> {
    let reach = SHORT + LONGEST;
    let places = linkage.ways().iter().filter(|way| way.through != Through::Got).map(|way| way.range);
    places.map(|range| AddressRange::new(range.start.saturating_sub(reach), range.end.saturating_add(reach))).collect()
}

/// What an instruction refers to.
fn reference(instruction: &Instruction, linkage: &Linkage, kinds: Kinds) -> Option<Reference> {
    let mut found = None;
    instruction::addresses(instruction, linkage.fixed, |address, used| {
        let way = if used == Use::InThread { linkage.find_in_thread(address) } else { linkage.find(address) };
        let Some(way) = way.filter(|_| found.is_none()) else { return };
        let kind = match (way.through, used) {
            (Through::Got, Use::Call | Use::Jump) => return,
            (Through::Got, Use::CallAt) | (_, Use::Call) => Kind::Call,
            (Through::Got, Use::JumpAt) | (_, Use::Jump) => Kind::Jump,
            _ => Kind::Mention,
        };
        let reference = Reference { address: instruction.ip(), kind, through: way.through, target: way.target };
        found = Some(reference).filter(|_| kinds.has(kind));
    });
    found
}

/// Decodes instructions here and there, in ascending order.
struct Walk<'a> {
    code: &'a Code<'a>,
    boundaries: &'a Boundaries<'a>,
    decoder: Decoder<'a>,
    stretch: Stretch,
    /// The next instruction's address in the stretch.
    next: u64,
    decoded: u32,
}

impl<'a> Walk<'a> {
    fn new(code: &'a Code<'a>, boundaries: &'a Boundaries<'a>) -> Self {
        let decoder = Decoder::with_ip(64, code.bytes, code.address, DecoderOptions::MPX);
        Self { code, boundaries, decoder, stretch: Stretch { from: 0, range: 0..0 }, next: 0, decoded: 0 }
    }

    /// Calls `found` with each instruction that reaches into `span`, unless it reached into the span before. Spans come in ascending
    /// order. Returns `false` if it was stopped before its end.
    fn cover(&mut self, span: AddressRange, stop: &dyn Fn() -> bool, mut found: impl FnMut(&Instruction)) -> bool {
        let end = span.end.min(self.code.end());
        let mut instruction = Instruction::default();
        let mut at = span.start;
        while at < end {
            if !self.stretch.range.contains(&at) {
                self.stretch = self.boundaries.stretch(at, &self.code.section);
                self.next = self.stretch.from.max(self.code.address);
            }
            let last = end.min(self.stretch.range.end);
            while self.next < last {
                self.decode(&mut instruction);
                let start = self.next;
                self.next += instruction.len() as u64;
                if self.next > span.start && self.stretch.range.contains(&start) {
                    found(&instruction);
                }
                self.decoded = self.decoded.wrapping_add(1);
                if self.decoded.is_multiple_of(PATIENCE) && stop() {
                    return false;
                }
            }
            at = self.stretch.range.end;
        }
        true
    }

    /// Decodes what is at `next`. A byte that begins no instruction counts as one of its own.
    fn decode(&mut self, instruction: &mut Instruction) {
        let position = (self.next - self.code.address) as usize;
        if self.decoder.position() != position {
            // It lies within the bytes.
            let _ = self.decoder.set_position(position);
        }
        self.decoder.set_ip(self.next);
        self.decoder.decode_out(instruction);
        if instruction.code() == Opcode::INVALID {
            instruction.set_len(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::boundaries::Known;
    use super::super::{Elf, Named, Target};
    use super::*;

    #[test]
    fn spans_are_joined_where_they_are_nearer_than_an_instruction() {
        let range = |start, end| AddressRange { start, end };
        let spans = vec![range(40, 56), range(0, 10), range(8, 9), range(24, 25), range(30, 41)];
        assert_eq!(joined(spans), [range(0, 56)]);
        assert_eq!(joined(vec![range(25, 26), range(0, 10)]), [range(0, 10), range(25, 26)]);
    }

    /// An instruction around the end of a block, and its address in it, may lie in either.
    #[test]
    fn what_begins_at_a_blocks_end_is_found_wherever_that_is() {
        let bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let file = Elf::parse(&bytes[..]).unwrap();
        let (known, start) = (Known::default(), 1_u64 << 46);
        let boundaries = Boundaries::new(&file, Vec::new, &known);
        let section = start..start + 3 * BLOCK;
        let within = AddressRange::new(section.start, section.end);
        let target = Target::Place { module: 0, range: AddressRange::sized(start + 64, 1) };
        let linkage = Linkage::direct(&file, 0, &[Named { target, names: Vec::new() }]);
        for place in BLOCK - 20..BLOCK + 20 {
            let mut code = vec![0x90; 3 * BLOCK as usize];
            // Two calls, one behind the other.
            for at in [place, place + 5] {
                let distance = 64_u32.wrapping_sub(at as u32 + 5).to_le_bytes();
                code[at as usize] = 0xe8;
                code[at as usize + 1..at as usize + 5].copy_from_slice(&distance);
            }
            let code = Code { bytes: &code, address: start, section: section.clone() };
            let (found, _) = scan(&code, within, &linkage, &boundaries, Kinds::ALL, &|| false);
            let found: Vec<u64> = found.iter().map(|reference| reference.address - start).collect();
            assert_eq!(found, [place, place + 5]);
        }
    }

    /// However much is asked about, no code is decoded again and again.
    #[test]
    fn what_is_decoded_is_in_proportion_to_the_code() {
        let bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let file = Elf::parse(&bytes[..]).unwrap();
        let known = Known::default();
        let boundaries = Boundaries::new(&file, Vec::new, &known);
        let part = file.named(".text").unwrap();
        let section = part.address..part.address + part.size;
        let code = Code { bytes: file.bytes(part).unwrap(), address: section.start, section: section.clone() };
        let within = AddressRange::new(section.start, section.end.min(section.start + (4 << 20)));
        let mut all = Walk::new(&code, &boundaries);
        assert!(all.cover(within, &|| false, |_| {}));
        for size in [1 << 16, 1 << 20, section.end - section.start] {
            let target = Target::Place { module: 0, range: AddressRange::sized(section.start, size) };
            let linkage = Linkage::new(&file, 0, &[Named { target, names: Vec::new() }]).unwrap();
            let mut walk = Walk::new(&code, &boundaries);
            let (found, reached) = search(&mut walk, within, &linkage, Kinds::ALL, &|| false);
            assert_eq!(reached, within.end);
            assert!(!found.is_empty());
            let (decoded, once) = (walk.decoded, all.decoded);
            assert!(
                decoded <= once + once / 10,
                "{decoded} instructions decoded, of {once}, for a range of {size} bytes"
            );
        }
    }
}
