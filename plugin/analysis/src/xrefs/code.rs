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
    let filter = Filter::new(&linkage.ranges(), linkage.fixed);
    let near = nearby(linkage);
    let mut walk = Walk::new(code, boundaries);
    let mut found = Vec::new();
    let mut at = within.start;
    while at < within.end && !stop() {
        let block = AddressRange::new(at, within.end.min(at.saturating_add(BLOCK)));
        let known = found.len();
        let mut spans: Vec<AddressRange> = near.iter().filter_map(|range| range.intersect(block)).collect();
        let first = (block.start - code.address) as usize;
        let last = (block.end.saturating_add(LONGEST).min(code.end()) - code.address) as usize;
        filter.find(&code.bytes[first..last], block.start, |place| {
            let place = block.start + place as u64;
            spans.push(AddressRange::new(place.saturating_sub(LONGEST).max(block.start), place + 1));
        });
        spans.sort_unstable();
        let whole = spans.into_iter().all(|span| {
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
        let Some(way) = linkage.find(address).filter(|_| found.is_none()) else { return };
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

    /// Calls `found` with each instruction that reaches into `span`. Returns `false` if it was stopped before its end.
    fn cover(&mut self, span: AddressRange, stop: &dyn Fn() -> bool, mut found: impl FnMut(&Instruction)) -> bool {
        let end = span.end.min(self.code.end());
        let mut instruction = Instruction::default();
        let mut at = span.start;
        while at < end {
            if !self.stretch.range.contains(&at) || self.next > at {
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
