//! The parts of the address space that an allocator has cut into chunks.

use serde::{Deserialize, Serialize};
use target::AddressRange;

/// Chunks begin at multiples of so many bytes: MALLOC_ALIGNMENT of glibc with 64 bits.
pub const GRANULE: u64 = 16;

/// Granules of a block of the index; each segment begins with one.
pub(super) const BLOCK: u64 = 512;

/// What a segment is to its allocator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SegmentKind {
    /// Of the main arena, from brk or from a mapping where that failed.
    Main,
    /// A heap of a thread's arena.
    Thread,
    /// One chunk with a mapping of its own.
    Mapped,
}

/// Memory that consists of chunks without a gap, the last of them among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// From the first chunk's beginning to the last one's end; both at multiples of [`GRANULE`].
    pub range: AddressRange,
    pub kind: SegmentKind,
    /// The arena that it belongs to, as an index into the allocator's; `None` for chunks with mappings of their own.
    pub arena: Option<u32>,
}

/// All segments of a heap. Their granules are numbered from 0 on, in address order, those of each segment without a gap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segments {
    /// Disjoint, in address order.
    list: Vec<Segment>,
    /// The number of the first granule of each, a multiple of [`BLOCK`], and behind them, what the next one's would be.
    first: Vec<u64>,
}

impl Segments {
    /// Numbers the granules of `list`. What overlaps with another segment that begins before it is left out.
    pub fn new(mut list: Vec<Segment>) -> Self {
        list.sort_by_key(|segment| (segment.range.start, std::cmp::Reverse(segment.range.end)));
        let mut end = 0;
        list.retain(|segment| {
            let fits = segment.range.start >= end && !segment.range.is_empty();
            end = if fits { segment.range.end } else { end };
            fits
        });
        let mut next = 0;
        let mut first = Vec::with_capacity(list.len() + 1);
        for segment in &list {
            first.push(next);
            next += segment.range.len().div_ceil(GRANULE).next_multiple_of(BLOCK);
        }
        first.push(next);
        Self { list, first }
    }

    /// The same without these ranges, which are in address order and begin and end where chunks do.
    #[must_use]
    pub fn without(&self, gaps: &[AddressRange]) -> Self {
        let mut list = Vec::with_capacity(self.list.len() + gaps.len());
        for segment in &self.list {
            let first = gaps.partition_point(|gap| gap.end <= segment.range.start);
            let mut start = segment.range.start;
            for gap in gaps[first..].iter().map_while(|gap| gap.intersect(segment.range)) {
                list.push(Segment { range: AddressRange::new(start, gap.start), ..*segment });
                start = gap.end;
            }
            list.push(Segment { range: AddressRange::new(start, segment.range.end), ..*segment });
        }
        Self::new(list)
    }

    /// In address order.
    pub fn list(&self) -> &[Segment] {
        &self.list
    }

    /// One more than the highest number of a granule.
    pub fn granules(&self) -> u64 {
        self.first.last().copied().unwrap_or(0)
    }

    /// Bytes of all segments.
    pub fn bytes(&self) -> u64 {
        self.list.iter().map(|segment| segment.range.len()).sum()
    }

    /// The index of the segment that `address` lies in.
    pub fn segment_at(&self, address: u64) -> Option<usize> {
        let index = self.list.partition_point(|segment| segment.range.start <= address).checked_sub(1)?;
        self.list[index].range.contains(address).then_some(index)
    }

    /// The index of the segment that `address` lies in, and the number of the granule.
    #[inline]
    pub fn find(&self, address: u64) -> Option<(usize, u64)> {
        let index = self.segment_at(address)?;
        Some((index, self.first[index] + (address - self.list[index].range.start) / GRANULE))
    }

    /// The number of the granule that `address` lies in.
    pub fn granule(&self, address: u64) -> Option<u64> {
        self.find(address).map(|(_, granule)| granule)
    }

    /// The numbers of a segment's granules.
    pub fn granules_of(&self, segment: usize) -> std::ops::Range<u64> {
        let first = self.first[segment];
        first..first + self.list[segment].range.len().div_ceil(GRANULE)
    }

    /// The segment of a granule, and where the granule begins; `None` if none has this number.
    pub fn place(&self, granule: u64) -> Option<(usize, u64)> {
        let index = self.first.partition_point(|first| *first <= granule).checked_sub(1)?;
        let segment = self.list.get(index)?;
        let address = segment.range.start + (granule - self.first[index]) * GRANULE;
        segment.range.contains(address).then_some((index, address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(start: u64, end: u64) -> Segment {
        Segment { range: AddressRange::new(start, end), kind: SegmentKind::Main, arena: Some(0) }
    }

    #[test]
    fn granules_are_numbered_by_segment_and_found_again() {
        let segments = Segments::new(vec![segment(0x9000, 0xa000), segment(0x1000, 0x4010)]);
        assert_eq!(segments.granule(0x1000), Some(0));
        assert_eq!(segments.granule(0x400f), Some(0x300));
        assert_eq!(segments.granule(0x4010), None);
        assert_eq!(segments.granule(0x9010), Some(1025));
        assert_eq!(segments.granules(), 1024 + 512);
        assert_eq!(segments.place(0x300), Some((0, 0x4000)));
        assert_eq!(segments.place(0x301), None, "a number that no granule has");
        assert_eq!(segments.place(1025), Some((1, 0x9010)));
        assert_eq!(segments.place(5000), None);
        assert_eq!(segments.bytes(), 0x4010);
    }

    #[test]
    fn what_is_cut_out_is_in_no_segment() {
        let segments = Segments::new(vec![segment(0x1000, 0x4000), segment(0x9000, 0xa000)]);
        let gap = AddressRange::new;
        assert_eq!(segments.without(&[]), segments);
        let cut = segments.without(&[gap(0x1020, 0x2000), gap(0x2000, 0x2100), gap(0x3f00, 0x4000)]);
        assert_eq!(cut.list(), [segment(0x1000, 0x1020), segment(0x2100, 0x3f00), segment(0x9000, 0xa000)]);
        assert_eq!(segments.without(&[gap(0x1000, 0x4000), gap(0x9000, 0x9010)]).list(), [segment(0x9010, 0xa000)]);
    }

    #[test]
    fn what_overlaps_is_left_out() {
        let segments = Segments::new(vec![segment(0x1000, 0x3000), segment(0x2000, 0x5000), segment(0x3000, 0x3000)]);
        assert_eq!(segments.list(), [segment(0x1000, 0x3000)]);
    }
}
