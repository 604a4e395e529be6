//! Where pointers are that keep chunks alive, outside of the heap itself.

#[cfg(test)]
mod tests;
mod threads;

use super::Segments;
use crate::plan::ScanRange;
use std::collections::BTreeSet;
use target::{AddressRange, AddressSpace, Backing, Permissions, ReadMemory, Region};
use threads::{Descriptor, State};

/// What a function that calls no other may use below the stack pointer (System V ABI for x86-64, 3.2.2).
const RED_ZONE: u64 = 128;

/// Where glibc tells nothing of a thread, its stack is taken to be no larger.
const LARGEST_STACK: u64 = 64 << 20;

/// A thread that is stopped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ThreadState {
    pub stack_pointer: Option<u64>,
    /// Whatever its registers hold, that of its own memory (`fs_base` on x86-64) among them, in any order.
    pub registers: Vec<u64>,
}

/// What is to be searched for pointers into the heap: globals, stacks, registers, thread-local storage, and all other memory
/// that the process writes to. So a mapping of the user's counts as well, and read-only files do not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roots {
    /// Disjoint, in address order.
    pub ranges: Vec<ScanRange>,
    /// Pointers that are in no memory, such as those in registers.
    pub words: Vec<u64>,
    /// Memory of the heap in which a page that is not present may hold something all the same; in address order.
    pub dense: Vec<AddressRange>,
    /// What threads that have ended have left on their stacks, which is not searched; in address order.
    pub ended: Vec<AddressRange>,
}

/// What is known beside the address space.
#[derive(Clone, Copy, Debug, Default)]
pub struct Surroundings<'a> {
    pub threads: &'a [ThreadState],
    /// Memory in which the allocator keeps its own books: arenas and what describes heaps. It points to free chunks by their
    /// headers, and these words belong to what lies before them.
    pub books: &'a [AddressRange],
    /// What of the heap the allocator uses itself, as the addresses of chunks: it is in use for as long as its thread lives.
    pub own: &'a [u64],
}

impl Roots {
    /// The roots of a process whose heap has these segments. It reads what glibc tells of its threads from `memory`, a few
    /// hundred bytes a thread.
    pub fn new(space: &AddressSpace, segments: &Segments, around: Surroundings<'_>, memory: &dyn ReadMemory) -> Self {
        let registers = || around.threads.iter().flat_map(|thread| thread.registers.iter().copied());
        let threads = threads::descriptors(memory, registers().collect::<BTreeSet<_>>());
        let stacks = Stacks { space, segments, threads, pointers: around.threads.iter().filter_map(pointer).collect() };
        let ended = joined(stacks.ended());
        let mut except: Vec<_> = segments.list().iter().map(|segment| segment.range).collect();
        except.extend(around.books);
        except.extend(&ended);
        except.extend(stacks.unused());
        let except = joined(except);
        let mut roots = Self::default();
        for (index, region) in space.regions.iter().enumerate() {
            if may_point(region, space.regions.get(index + 1)) {
                let scan = |range| ScanRange::within(range, region);
                roots.ranges.extend(without(region.range, &except).map(scan));
            }
            if !region.is_sparse() {
                let segments = segments.list();
                let first = segments.partition_point(|segment| segment.range.end <= region.range.start);
                let parts = segments[first..].iter().map_while(|segment| segment.range.intersect(region.range));
                roots.dense.extend(parts);
            }
        }
        let kept = stacks.threads.iter().filter(|thread| thread.state == State::Kept).map(|thread| thread.storage);
        roots.words = registers().chain(around.own.iter().copied()).chain(kept).collect();
        roots.ended = ended;
        roots
    }

    /// What was left out that a user may wonder about, a line each.
    pub fn notes(&self) -> Vec<String> {
        let bytes: u64 = self.ended.iter().map(|range| range.len()).sum();
        let note = match self.ended.len() {
            0 => return Vec::new(),
            1 => "the stack of a thread that has ended keeps nothing alive".to_owned(),
            count => format!("the stacks of {count} threads that have ended keep nothing alive"),
        };
        vec![format!("{note} ({} KiB)", bytes >> 10)]
    }
}

fn pointer(thread: &ThreadState) -> Option<u64> {
    thread.stack_pointer
}

/// Whether memory is searched: whatever the process has written to. What the dynamic linker has relocated, or a program has
/// sealed, is a read-only part of a file before a writable one.
fn may_point(region: &Region, next: Option<&Region>) -> bool {
    let can = |permission| region.permissions.contains(permission);
    let is_sealed = |path: &str| {
        let more = next.filter(|next| next.range.start == region.range.end && next.name() == Some(path));
        more.is_some_and(|next| next.permissions.contains(Permissions::WRITE)) && !can(Permissions::EXECUTE)
    };
    region.is_readable()
        && match &region.backing {
            Backing::Anonymous { .. } | Backing::Heap | Backing::Stack => true,
            Backing::File { path, .. } => can(Permissions::WRITE) || is_sealed(path),
            Backing::Shared { .. } => can(Permissions::WRITE),
            Backing::Unknown => can(Permissions::WRITE) || !can(Permissions::EXECUTE),
            Backing::Special { .. } => false,
        }
}

/// What is known of stacks.
struct Stacks<'a> {
    space: &'a AddressSpace,
    segments: &'a Segments,
    threads: Vec<Descriptor>,
    /// The stack pointers of all threads.
    pointers: Vec<u64>,
}

impl Stacks<'_> {
    /// What threads have left behind.
    fn ended(&self) -> Vec<AddressRange> {
        let left = |thread: &Descriptor| {
            let stack = thread.stack?;
            match thread.state {
                State::Alive => None,
                // Its result is kept beside its stack.
                State::Ended => Some(AddressRange::new(stack.start, thread.address)),
                State::Kept => Some(stack),
            }
        };
        let is_in_use = |stack: &AddressRange| self.pointers.iter().any(|pointer| stack.contains(*pointer));
        self.threads.iter().filter_map(left).filter(|stack| !is_in_use(stack)).collect()
    }

    /// What lies below stack pointers.
    fn unused(&self) -> Vec<AddressRange> {
        let below = |pointer: &u64| {
            let below = AddressRange::new(self.bottom(*pointer)?, pointer.saturating_sub(RED_ZONE));
            // Another one on the same memory makes it uncertain where a stack begins.
            let is_shared = self.pointers.iter().any(|other| below.contains(*other));
            (!is_shared).then_some(below)
        };
        self.pointers.iter().filter_map(below).collect()
    }

    /// Where the stack begins that a stack pointer is on. One that the program has made itself may be a part of anything.
    fn bottom(&self, pointer: u64) -> Option<u64> {
        let thread = self.threads.iter().filter_map(|thread| thread.stack).find(|stack| stack.contains(pointer));
        if let Some(stack) = thread {
            return Some(stack.start);
        }
        let after = self.space.regions.partition_point(|region| region.range.start <= pointer);
        let (region, before) = self.space.regions[..after].split_last()?;
        let is_guarded = || {
            let guard = before.last().filter(|guard| guard.range.end == region.range.start);
            guard.is_some_and(|guard| !guard.permissions.contains(Permissions::READ))
                && pointer - region.range.start <= LARGEST_STACK
                && self.segments.list().iter().all(|segment| segment.range.intersect(region.range).is_none())
        };
        let is_stack = region.range.contains(pointer) && (region.backing == Backing::Stack || is_guarded());
        is_stack.then_some(region.range.start)
    }
}

/// The same memory, as ranges that are in address order and do not meet.
fn joined(mut ranges: Vec<AddressRange>) -> Vec<AddressRange> {
    ranges.sort_unstable();
    ranges.dedup_by(|next, last| {
        let meets = next.start <= last.end;
        last.end = if meets { last.end.max(next.end) } else { last.end };
        meets
    });
    ranges.retain(|range| !range.is_empty());
    ranges
}

/// The parts of `range` that are in none of `except`, which is in address order and disjoint.
fn without(range: AddressRange, except: &[AddressRange]) -> impl Iterator<Item = AddressRange> {
    let first = except.partition_point(|except| except.end <= range.start);
    let inside = except[first..].iter().map_while(move |except| except.intersect(range));
    let mut start = range.start;
    let gaps = inside.chain(std::iter::once(AddressRange::new(range.end, range.end))).map(move |hole| {
        let gap = AddressRange::new(start, hole.start);
        start = hole.end;
        gap
    });
    gaps.filter(|gap| !gap.is_empty())
}
