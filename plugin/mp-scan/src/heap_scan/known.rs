//! What is known of a heap: where its allocations are, and, once somebody has asked for it, what they are and who points to whom.

use super::copied::copied;
use super::types::Glimpses;
use super::{Indexed, Registers};
use crate::course::{Copy, Failure, Ground, Stages};
use crate::engine::engine;
use analysis::heap::allocators::{Allocators, Runtimes};
use analysis::heap::glibc::{FreeLists, FreeListsMerge, Locate, Located, Sightings, Walk, WalkMerge};
use analysis::heap::graph::{Edges, Graph, ReverseGraph};
use analysis::heap::provider::FindProvider;
use analysis::heap::refs::{Invert, Inverted, PointersMerge};
use analysis::heap::roots::{Roots, Surroundings};
use analysis::heap::types::Types;
use analysis::heap::{Area, Chunk, HEADER, Segments};
use analysis::{AllocationRow, ScanRange, Skip, TargetKind};
use anyhow::Context as _;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use target::{AddressRange, Permissions, Region};

/// Bytes that the graph of a heap may take in this process.
const GRAPH: u64 = 8 << 30;

/// So many pointers at most are sorted by what they point to, behind the prompt: that takes 16 bytes for each, and 6 are kept.
const MOST_POINTERS: u64 = 32 << 20;

/// So many searches are made before all pointers are sorted while somebody waits: that takes as long as five.
const PATIENT: u32 = 3;

/// So much memory of others between chunks is told apart from these.
const MOST_GAPS: usize = 1 << 16;

/// A heap that has been indexed.
#[derive(Debug)]
pub struct Known {
    pub located: Located,
    pub walked: WalkMerge,
    pub free: FreeListsMerge,
    pub indexed: Indexed,
    /// What else the process allocates with, and what it is written in.
    pub(super) runtimes: Runtimes,
    /// The path of the module whose malloc it calls, if that is not glibc.
    provider: Option<String>,
    /// What could not be read of it.
    skipped: Vec<Skip>,
    /// Whether it is a file's, which has what it has.
    is_saved: bool,
    /// A copy of it, if it was of use and there was room.
    copy: OnceLock<Option<Arc<Copy>>>,
    /// What could not be read for them goes with them.
    pub(super) types: OnceLock<(Arc<Types>, Vec<Skip>)>,
    /// Types of a few allocations, before those of all are known.
    pub(super) glimpses: Glimpses,
    pointers: OnceLock<Arc<Pointers>>,
    /// All pointers, and what could not be read of where they may lie; nothing if there are too many.
    inverted: OnceLock<Option<(Inverted, Vec<Skip>)>>,
    /// How often somebody has looked through all memory for pointers.
    searches: AtomicU32,
}

/// Who points to whom, and where that was looked for.
#[derive(Debug)]
pub struct Pointers {
    pub graph: ReverseGraph,
    pub area: Area,
    /// What could not be read for it.
    skipped: Vec<Skip>,
}

impl Known {
    /// The heap of the stages' target: as it is known, or else indexed now, and kept while that is true. After that it will be looked
    /// at `passes` times.
    ///
    /// # Errors
    /// As for [`Stages::run`].
    pub fn of(stages: &mut Stages, ground: &Ground, passes: u64) -> Result<Arc<Self>, Failure> {
        Ok(Self::watching(stages, ground, passes, |_| None)?.0)
    }

    /// The same, with the pointers into a range that it comes across if the heap is indexed now. Each page is read once for both.
    ///
    /// # Errors
    /// As for [`Stages::run`].
    pub fn watching(
        stages: &mut Stages,
        ground: &Ground,
        passes: u64,
        range: impl FnOnce(&Segments) -> Option<AddressRange>,
    ) -> Result<(Arc<Self>, Sightings), Failure> {
        if let Some(known) = ground.moment.as_ref().and_then(|moment| engine().heaps.at(moment)) {
            stages.skipped.extend(known.skipped.iter().cloned());
            if let Some(copy) = known.copy.get().and_then(Option::as_ref) {
                stages.reading = copy.over(&stages.reading)?;
            }
            stages.takes(known.memory());
            stages.control.expect(passes * known.indexed.index.segments().bytes());
            return Ok((known, Sightings::default()));
        }
        let before = stages.skipped.len();
        let nothing = Indexed::new(Segments::default())?;
        let mut located = stages.run(&Locate::new(&ground.space), &nothing, &[])?.merge;
        let mut indexed = Indexed::new(Segments::new(located.segments.clone()))?;
        stages.control.expect((1 + passes) * indexed.index.segments().bytes());
        let walk = Walk::new(&located, &ground.space).watching(range(indexed.index.segments()));
        let mut walked = stages.run(&walk, &indexed, &[])?.merge;
        walk.finish(&mut walked, &indexed.index);
        let sightings = std::mem::take(&mut walked.sightings);
        let free = stages.run(&FreeLists::new(&located, &walked), &indexed, &[])?.merge;
        // What others have from brk between chunks is memory as any other, and may lead to allocations.
        let gaps: Vec<AddressRange> = walked.gaps.drain(..walked.gaps.len().min(MOST_GAPS)).collect();
        if !gaps.is_empty() {
            let cut = Indexed::new(indexed.index.segments().without(&gaps))?;
            cut.index.adopt(&indexed.index);
            located.segments = cut.index.segments().list().to_vec();
            indexed = cut;
        }
        indexed.index.complete();
        let allocators = Allocators::new(&ground.space);
        let runtimes = allocators.finish(&stages.run(&allocators, &nothing, &[])?.merge);
        let provider = stages.run(&FindProvider::new(&ground.space), &nothing, &[])?.merge;
        let provider = provider.filter(|provider| !provider.is_glibc).map(|provider| {
            // The dynamic linker has no path of the program.
            let mapped = ground.space.region_at(provider.address).and_then(Region::name);
            let own = Some(provider.path).filter(|path| !path.is_empty());
            mapped.map(str::to_owned).or(own).or_else(|| ground.info.executable.clone()).unwrap_or_default()
        });
        let skipped = stages.skipped[before..].to_vec();
        let known = Arc::new(Self {
            located,
            walked,
            free,
            indexed,
            runtimes,
            provider,
            skipped,
            is_saved: ground.is_saved,
            copy: OnceLock::new(),
            types: OnceLock::new(),
            glimpses: Glimpses::default(),
            pointers: OnceLock::new(),
            inverted: OnceLock::new(),
            searches: AtomicU32::new(0),
        });
        stages.takes(known.memory());
        if let Some(moment) = &ground.moment {
            engine().heaps.keep(moment.clone(), Arc::clone(&known));
        }
        Ok((known, sightings))
    }

    /// Bytes of all that is known so far, but for the copy.
    fn memory(&self) -> u64 {
        let types = self.types.get().map_or(0, |(types, _)| types.memory());
        let pointers = self.pointers.get().map_or(0, |pointers| pointers.graph.memory());
        let inverted = self.inverted.get().and_then(Option::as_ref).map_or(0, |(inverted, _)| inverted.memory());
        self.indexed.index.memory() + types + pointers + inverted
    }

    /// Whether an allocator was found that is understood. malloc of glibc is there, but unused, where another one has taken its
    /// place.
    pub fn is_covered(&self) -> bool {
        let found = !self.located.arenas.is_empty() || !self.located.segments.is_empty();
        let replaced = self.located.is_unused() && (!self.runtimes.allocators.is_empty() || self.provider.is_some());
        found && !replaced
    }

    /// The path of the module whose malloc the process calls, if that is not glibc's and the allocator has no name.
    fn unnamed(&self) -> Option<&str> {
        let path = self.provider.as_deref()?;
        self.runtimes.allocators.iter().all(|other| other.evidence != path).then_some(path)
    }

    /// Whether there is anything to tell of.
    ///
    /// # Errors
    /// If no heap is found, or none that is understood.
    pub fn check(&self) -> Result<(), Failure> {
        if self.is_covered() {
            return Ok(());
        }
        if let Some(skip) = self.skipped.first() {
            let reason = &skip.reason;
            return Err(Failure::Failed(match self.is_saved {
                true => anyhow::anyhow!("the file has no heap, or lacks what one is found by: {reason}"),
                false => anyhow::anyhow!("the heap could not be looked for: {reason}; try it again"),
            }));
        }
        let named = self.runtimes.allocators.iter().map(|other| format!("{} ({})", other.name, other.evidence));
        let others: Vec<String> = named.chain(self.unnamed().map(|path| format!("the malloc of {path}"))).collect();
        Err(Failure::Failed(match others.is_empty() {
            true => anyhow::anyhow!("no heap of glibc's malloc is found, and no other allocator is recognised"),
            false => anyhow::anyhow!(
                "the process has no heap of glibc's malloc; it allocates with {}, which is not covered",
                others.join(" and ")
            ),
        }))
    }

    /// What the user should know of it, a line each.
    pub fn notes(&self) -> Vec<String> {
        let problems = self.located.problems.len() as u64;
        let breaks = self.walked.breaks.len() as u64 + self.walked.more_breaks;
        let wrong = self.free.wrong.len() as u64 + self.free.more_wrong;
        let mut notes = self.state();
        match problems + breaks + wrong {
            0 => {}
            1 => notes.push("one place of the heap does not add up: see `mp-scan heap --check`".to_owned()),
            count => notes.push(format!("{count} places of the heap do not add up: see `mp-scan heap --check`")),
        }
        notes
    }

    /// The same without what does not add up.
    pub fn state(&self) -> Vec<String> {
        let locked = self.located.arenas.iter().filter(|arena| arena.locked).map(|arena| {
            let address = arena.address;
            format!("the arena at {address:#x} is locked: a thread is in the middle of malloc, and some may not add up")
        });
        let others = self.runtimes.allocators.iter();
        let others =
            others.map(|other| format!("what {} has allocated is not covered ({})", other.name, other.evidence));
        let unnamed = self.unnamed().filter(|_| self.is_covered()).map(|path| {
            format!("what the malloc of {path} has allocated is covered only where it comes from glibc's malloc")
        });
        let unused = (self.located.is_unused() && self.is_covered())
            .then(|| "nothing was ever allocated with glibc's malloc".to_owned());
        let copy = self.copy.get().and_then(Option::as_ref).filter(|copy| copy.left > 0);
        let left = copy.map(|copy| {
            let (copied, left) = (render::bytes(copy.bytes), render::bytes(copy.left));
            format!(
                "{copied} of the heap are copied, and there is no room for {left} more, which take longer to look at"
            )
        });
        locked.chain(others).chain(unnamed).chain(unused).chain(left).collect()
    }

    /// What keeps allocations alive.
    pub fn roots(&self, stages: &Stages, ground: &Ground, registers: &Registers) -> Roots {
        let around = Surroundings {
            threads: &registers.states(&ground.stacks),
            books: &self.located.books(),
            own: &self.free.caches.iter().map(|chunk| chunk + HEADER).collect::<Vec<_>>(),
        };
        Roots::new(&ground.space, self.indexed.index.segments(), around, &*stages.reading.memory)
    }

    /// Has the stages read a live process's heap from a copy from here on: for what is looked at in any order, or several times.
    ///
    /// # Errors
    /// As for [`Stages::run`].
    pub fn copied(&self, stages: &mut Stages, ground: &Ground) -> Result<(), Failure> {
        if ground.info.kind != TargetKind::Live || self.copy.get().is_some() {
            return Ok(());
        }
        if let Some(moment) = &ground.moment {
            engine().heaps.make_room(moment);
        }
        let copy = copied(stages, &self.indexed, &ground.space)?.map(Arc::new);
        if let Some(copy) = self.copy.get_or_init(|| copy) {
            stages.reading = copy.over(&stages.reading)?;
        }
        Ok(())
    }

    /// Whether it has a copy of its own.
    pub fn is_copied(&self) -> bool {
        self.copy.get().is_some_and(Option::is_some)
    }

    /// Where pointers are looked for: in the heap and in its roots; where no allocator is known, in all that is readable and may be
    /// written.
    pub fn area(&self, stages: &Stages, ground: &Ground, registers: &Registers) -> Area {
        if !self.is_covered() {
            let written = |region: &&Region| region.is_readable() && region.permissions.contains(Permissions::WRITE);
            let regions = ground.space.regions.iter().filter(written);
            let ranges = regions.map(|region| ScanRange::within(region.range, region)).collect();
            return Area { ranges, ..Area::default() };
        }
        let roots = self.roots(stages, ground, registers);
        Area::of(&roots.ranges, self.indexed.index.segments(), |range| ground.space.is_sparse(range))
    }

    /// Who points to whom.
    ///
    /// # Errors
    /// As for [`Stages::run`], and if there is too much of it.
    pub fn pointers(
        &self,
        stages: &mut Stages,
        ground: &Ground,
        registers: &Registers,
    ) -> Result<Arc<Pointers>, Failure> {
        if let Some(pointers) = self.known_pointers(stages) {
            return Ok(pointers);
        }
        let area = self.area(stages, ground, registers);
        let before = stages.skipped.len();
        let graph = self.search(stages, area.clone(), registers)?;
        let skipped = stages.skipped[before..].to_vec();
        let stop = stages.stop_signal();
        let graph = ReverseGraph::of(graph, &|| stop.requested()).ok_or_else(|| stop.failure())?;
        stages.takes(graph.memory());
        let pointers = Arc::new(Pointers { graph, area, skipped });
        Ok(Arc::clone(self.pointers.get_or_init(|| pointers)))
    }

    /// Who points to whom, if somebody has asked before.
    pub fn known_pointers(&self, stages: &mut Stages) -> Option<Arc<Pointers>> {
        let pointers = self.pointers.get()?;
        skip(stages, &pointers.skipped);
        Some(Arc::clone(pointers))
    }

    /// Sorts all pointers by what they point to, so that who points to an address takes no scan.
    ///
    /// # Errors
    /// As for [`Stages::run`].
    pub fn invert(&self, stages: &mut Stages, ground: &Ground, registers: &Registers) -> Result<(), Failure> {
        if self.inverted.get().is_some() {
            return Ok(());
        }
        let before = stages.skipped.len();
        let mapped = ground.space.regions.iter().filter(|region| region.is_readable()).map(|region| region.range);
        let area = self.area(stages, ground, registers);
        // There is no use in looking where there are more chunks than there may be pointers.
        let few = self.indexed.index.count() <= MOST_POINTERS;
        let inverted = match Invert::new(area, mapped.collect(), MOST_POINTERS).filter(|_| few) {
            Some(invert) => {
                let merge = stages.run(&invert, &self.indexed, &[])?.merge;
                let stop = stages.stop_signal();
                let inverted = invert.finish(merge, &|| stop.requested());
                if inverted.is_none() && stop.requested() {
                    return Err(stop.failure());
                }
                inverted
            }
            None => None,
        };
        let skipped = stages.skipped.split_off(before);
        stages.takes(inverted.as_ref().map_or(0, Inverted::memory));
        self.inverted.get_or_init(|| Some((inverted?, skipped)));
        Ok(())
    }

    /// What points into a range, of which `most` are kept, if all pointers have been sorted and tell.
    pub fn inverted(&self, stages: &mut Stages, target: AddressRange, most: u64) -> Option<PointersMerge> {
        let (inverted, skipped) = self.inverted.get()?.as_ref()?;
        let stop = stages.stop_signal();
        let found = inverted.pointers(target, most, &self.indexed.index.lookup(), &|| stop.requested())?;
        skip(stages, skipped);
        Some(found)
    }

    /// Counts one more search through all memory, and says whether it is time to sort all pointers first: one command after the other
    /// leaves nothing the time to be done behind the prompt.
    pub fn is_searched_often(&self) -> bool {
        self.searches.fetch_add(1, Ordering::Relaxed) >= PATIENT
    }

    /// Whether it has been tried to sort all pointers.
    pub fn is_inverted(&self) -> bool {
        self.inverted.get().is_some()
    }

    /// The same by who points, for what takes it apart.
    ///
    /// # Errors
    /// As for [`pointers`](Self::pointers).
    pub fn graph(&self, stages: &mut Stages, ground: &Ground, registers: &Registers) -> Result<Graph, Failure> {
        let Some(pointers) = self.known_pointers(stages) else {
            let area = self.area(stages, ground, registers);
            return self.search(stages, area, registers);
        };
        let stop = stages.stop_signal();
        let graph = pointers.graph.forward(&|| stop.requested()).ok_or_else(|| stop.failure())?;
        stages.takes(graph.memory());
        Ok(graph)
    }

    fn search(&self, stages: &mut Stages, area: Area, registers: &Registers) -> Result<Graph, Failure> {
        let index = &self.indexed.index;
        let edges = Edges::new(area, index.count(), GRAPH).context("who points to whom cannot be kept")?;
        let merge = stages.run(&edges, &self.indexed, &[])?.merge;
        let graph = merge.graph(&registers.named(), index.lookup());
        let graph = graph.context("who points to whom cannot be kept")?;
        stages.takes(graph.memory());
        Ok(graph)
    }

    /// Whether a chunk only marks where a piece of memory ends, with what others have behind it.
    pub fn is_mark(&self, chunk: &Chunk) -> bool {
        !chunk.used && self.walked.marks.binary_search(&chunk.range.start).is_ok()
    }

    /// The allocation that an address lies in, used or free.
    pub fn allocation(&self, address: u64) -> Option<AllocationRow> {
        let lookup = self.indexed.index.lookup();
        let granule = lookup.used_at(address).or_else(|| lookup.granule_at(address))?;
        let chunk = lookup.chunk(granule).filter(|chunk| !self.is_mark(chunk))?;
        let usable = chunk.usable();
        usable.contains(address).then(|| AllocationRow {
            start: usable.start,
            size: usable.len(),
            used: chunk.used,
            type_name: self.type_name(&chunk),
        })
    }
}

/// What an earlier look could not read is missing from what is made of it, and is told once.
pub(super) fn skip(stages: &mut Stages, skipped: &[Skip]) {
    for skip in skipped {
        if !stages.skipped.contains(skip) {
            stages.skipped.push(skip.clone());
        }
    }
}
