//! What `heap` does: what fills it.

use super::{Known, Registers};
use crate::course::{Answer, Course, Failure, Ground, Stages};
use analysis::heap::dominators::Dominators;
use analysis::heap::retained::{Retained, sizes};
use analysis::heap::types::{Type, Types};
use analysis::heap::{Chunk, SegmentKind};
use analysis::{HeapRow, HeapRows, HeapTotals, Results};
use std::collections::HashMap;
use target::AddressRange;

/// What allocations are summed up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    Size,
    Type,
    Arena,
    Region,
}

impl By {
    fn name(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Type => "type",
            Self::Arena => "arena",
            Self::Region => "region",
        }
    }
}

impl std::str::FromStr for By {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::Size, Self::Type, Self::Arena, Self::Region];
        let found = all.into_iter().find(|by| by.name() == text);
        found.ok_or_else(|| "the heap is summed up by size, type, arena or region".to_owned())
    }
}

/// What stands for the types that are not known.
const UNKNOWN: &str = "?";

/// So many chunks are summed up between two looks at whether to stop.
const STEP: usize = 1 << 16;

/// Sums up all allocations, and shows the `top` largest sums. With registers it is told what each retains.
pub fn course(by: By, retained: Option<Registers>, top: u64) -> Course {
    Box::new(move |stages, ground| {
        let passes = u64::from(by == By::Type) + u64::from(retained.is_some());
        let known = Known::of(stages, ground, passes)?;
        known.check()?;
        let types = if by == By::Type { Some(known.types(stages, ground)?) } else { None };
        let mut sums =
            Sums { by, known: &known, ground, types: types.as_deref(), numbers: HashMap::new(), rows: Vec::new() };
        let (totals, groups) = sums.add_all(stages, retained.is_some())?;
        let mut rows = sums.rows;
        let mut notes = known.notes();
        if let Some(registers) = retained {
            let graph = known.graph(stages, ground, &registers)?;
            let stop = stages.stop_signal();
            let index = &known.indexed.index;
            let lookup = index.lookup();
            let used = |number: u32| lookup.numbered(number.into()).is_some_and(|granule| lookup.is_used(granule));
            let dominators = Dominators::of(&graph, used, &|| stop.requested()).ok_or_else(|| stop.failure())?;
            let retained = Retained::of(&dominators, &sizes(index));
            stages.takes(dominators.memory() + retained.memory());
            let group = |chunk: u32| {
                groups.get(chunk as usize).copied().filter(|group| *group != NO_GROUP).map(|group| group as usize)
            };
            let bytes = retained.groups(rows.len(), group, &|| stop.requested()).ok_or_else(|| stop.failure())?;
            for (row, bytes) in rows.iter_mut().zip(bytes) {
                row.retained = Some(bytes);
            }
            let lost = totals.used.count.saturating_sub(dominators.reached().0);
            if lost > 0 {
                notes.push(match lost {
                    1 => "one allocation is lost already, and retains what only it leads to: see `mp-scan leaks`"
                        .to_owned(),
                    _ => format!(
                        "{lost} allocations are lost already, and retain what only they lead to: see `mp-scan leaks`"
                    ),
                });
            }
        }
        rows.sort_by(|a, b| {
            let size = |row: &HeapRow| (row.retained.unwrap_or(row.bytes), row.bytes);
            size(b).cmp(&size(a)).then_with(|| a.key.cmp(&b.key))
        });
        let total = rows.len() as u64;
        rows.truncate(usize::try_from(top).unwrap_or(usize::MAX));
        let rows = HeapRows { totals, by: by.name().to_owned(), rows };
        Ok(Answer::new(Results::Heap(rows), total, notes))
    })
}

/// A chunk that is in no group.
const NO_GROUP: u32 = u32::MAX;

/// The sums so far, a row for each.
struct Sums<'a> {
    by: By,
    known: &'a Known,
    ground: &'a Ground,
    types: Option<&'a Types>,
    /// The row for each thing that chunks have in common, by its number.
    numbers: HashMap<u64, u32>,
    rows: Vec<HeapRow>,
}

impl Sums<'_> {
    /// Adds up all chunks. Beside the totals it gives, if `each` is wanted, the row of each chunk.
    fn add_all(&mut self, stages: &Stages, each: bool) -> Result<(HeapTotals, Vec<u32>), Failure> {
        let stop = stages.stop_signal();
        let lookup = self.known.indexed.index.lookup();
        let Known { located, walked, .. } = self.known;
        let heads: u64 = located.heads().map(|head| head.len()).sum();
        let gaps: u64 = walked.gaps.iter().map(|gap| gap.len()).sum();
        let mut totals = HeapTotals {
            arenas: located.arenas.len() as u64,
            system: (lookup.segments().bytes() + heads).saturating_sub(gaps),
            ..HeapTotals::default()
        };
        let mut groups = Vec::new();
        let all = AddressRange::new(0, u64::MAX);
        for (number, chunk) in lookup.chunks(all).enumerate() {
            if number % STEP == 0 && stop.requested() {
                return Err(stop.failure());
            }
            let mut row = NO_GROUP;
            let bytes = chunk.usable().len();
            if chunk.used {
                totals.used.add(bytes);
                if chunk.kind == SegmentKind::Mapped {
                    totals.mapped.add(bytes);
                }
                row = self.row(number as u64, &chunk);
                let row = &mut self.rows[row as usize];
                row.count += 1;
                row.bytes += bytes;
            } else if !self.known.is_mark(&chunk) {
                totals.free.add(bytes);
                totals.largest_free = totals.largest_free.max(bytes);
            }
            if each {
                groups.push(row);
            }
        }
        totals.overhead = totals.system.saturating_sub(totals.used.bytes + totals.free.bytes);
        Ok((totals, groups))
    }

    /// The row that a chunk is added to.
    fn row(&mut self, number: u64, chunk: &Chunk) -> u32 {
        let common = match self.by {
            By::Size => chunk.usable().len(),
            By::Type => self.types.and_then(|types| types.index_of(number)).map_or(u64::MAX, |index| index as u64),
            By::Arena if chunk.kind == SegmentKind::Mapped => u64::MAX,
            By::Arena => self.segment(chunk).map_or(u64::MAX - 1, u64::from),
            By::Region => self.ground.space.region_at(chunk.range.start).map_or(0, |region| region.range.start),
        };
        if let Some(row) = self.numbers.get(&common) {
            return *row;
        }
        // Objects of a class may be known in several ways, and are of one class all the same.
        let key = self.key(common, chunk);
        let same = if self.by == By::Type { self.rows.iter().position(|row| row.key == key) } else { None };
        let row = same.unwrap_or_else(|| {
            self.rows.push(HeapRow { key, ..HeapRow::default() });
            self.rows.len() - 1
        });
        self.numbers.insert(common, row as u32);
        row as u32
    }

    fn segment(&self, chunk: &Chunk) -> Option<u32> {
        self.known.indexed.index.segments().list().get(chunk.segment)?.arena
    }

    /// What a row's chunks have in common, for people.
    fn key(&self, common: u64, chunk: &Chunk) -> String {
        match self.by {
            By::Size => common.to_string(),
            By::Type => {
                let kind = self.types.and_then(|types| types.list().get(usize::try_from(common).ok()?));
                kind.map_or_else(|| UNKNOWN.to_owned(), Type::shown)
            }
            By::Arena => {
                let arena = self.segment(chunk).and_then(|arena| self.known.located.arenas.get(arena as usize));
                match arena {
                    Some(arena) if arena.main => format!("main arena at {:#x}", arena.address),
                    Some(arena) => format!("arena at {:#x}", arena.address),
                    None if chunk.kind == SegmentKind::Mapped => "with mappings of their own".to_owned(),
                    None => "of a damaged arena".to_owned(),
                }
            }
            By::Region => match self.ground.space.region_at(chunk.range.start) {
                Some(region) => format!("{} {}", region.range, region.name().unwrap_or("anonymous")),
                None => UNKNOWN.to_owned(),
            },
        }
    }
}
