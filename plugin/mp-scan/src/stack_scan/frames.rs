//! Names the calls whose parts of stacks something lies in.

use super::walk;
use crate::course::{Ground, Stages};
use analysis::stacks::{Names, Registers, Stack, Thread};
use analysis::{Match, StackFrame, TargetKind};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use target::modules::Search;

/// The stacks of so many threads are unwound for it.
const MOST_THREADS: usize = 64;

/// What is found is shown without calls rather than later than this.
const PATIENCE: Duration = Duration::from_secs(1);

/// Puts calls to those of `found` that lie on a stack, as far as call frame information of the modules' files tells. `registers` are
/// those of all threads, by the debugger's numbers. The debugger is asked for nothing.
pub fn name(stages: &mut Stages, ground: &Ground, registers: &BTreeMap<u64, Registers>, found: &mut [Match]) {
    let on_stack = |found: &&Match| found.register.is_none() && found.symbol.is_none();
    let wanted: BTreeSet<u64> = found.iter().filter(on_stack).filter_map(|found| found.thread).collect();
    let thread = |number: u64| Some(Thread { number, registers: *registers.get(&number)?, ..Thread::default() });
    let threads: Vec<Thread> = wanted.into_iter().filter_map(thread).take(MOST_THREADS).collect();
    if threads.is_empty() {
        return;
    }
    // It is no part of what the command looks at.
    let (stats, skipped, until) = (stages.stats.clone(), stages.skipped.len(), stages.until);
    let patience = Instant::now() + PATIENCE;
    stages.until = Some(until.map_or(patience, |until| until.min(patience)));
    // What is there already is shown without if it fails, or is told to stop.
    if let Ok(calls) = Calls::of(stages, ground, &threads, found) {
        for found in found.iter_mut().filter(|found| on_stack(&&**found)) {
            let stack = threads.iter().position(|thread| Some(thread.number) == found.thread);
            found.frame = stack.and_then(|stack| calls.frame(stack, found.address));
        }
    }
    stages.skipped.truncate(skipped);
    (stages.stats, stages.until) = (stats, until);
}

/// The stacks of threads, and the names of the calls on them.
struct Calls {
    stacks: Vec<Stack>,
    names: Names,
}

impl Calls {
    /// Those of `threads` up to the outermost one that anything of `found` lies in.
    fn of(
        stages: &mut Stages,
        ground: &Ground,
        threads: &[Thread],
        found: &[Match],
    ) -> Result<Self, crate::course::Failure> {
        let mut modules = Vec::new();
        super::unlisted::add(&mut modules, &ground.space, &*stages.reading.memory);
        let pid = ground.info.pid.filter(|_| ground.info.kind == TargetKind::Live);
        let (set, inflated) = walk::survey(stages, modules, Search { pid, ..Search::default() })?;
        let mut stacks = walk::unwound(stages, &set, threads)?;
        for (stack, thread) in stacks.iter_mut().zip(threads) {
            let own = found.iter().filter(|found| found.thread == Some(thread.number) && found.register.is_none());
            let deepest = own.filter_map(|found| physical(stack, found.address)).max();
            stack.frames.truncate(deepest.map_or(0, |deepest| deepest + 1));
        }
        let names = walk::name(stages, &set, &inflated, &stacks)?;
        Ok(Self { stacks, names })
    }

    /// The call that `address` lies in.
    fn frame(&self, stack: usize, address: u64) -> Option<StackFrame> {
        let stack = &self.stacks[stack];
        let own = physical(stack, address)?;
        // What is inlined into a function has its variables in that one's part of the stack.
        let inner = Stack { frames: stack.frames[..=own].to_vec(), end: stack.end };
        let calls = self.names.calls(&inner);
        let function = calls.last()?.function.as_deref().map(str::to_owned);
        Some(StackFrame { index: calls.len() as u64 - 1, function })
    }
}

/// The index of the frame whose part of the stack `address` is in: from where the one that it calls ends to where its caller's begins.
fn physical(stack: &Stack, address: u64) -> Option<usize> {
    let index = stack.frames.iter().position(|frame| frame.cfa == 0 || address < frame.cfa)?;
    (stack.frames[index].cfa != 0).then_some(index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use analysis::stacks::{End, Frame};

    #[test]
    fn a_part_of_the_stack_is_its_frames_up_to_where_its_callers_begins() {
        let frame = |cfa| Frame { pc: 0x1000, cfa, interrupted: false };
        let stack = Stack { frames: [0x7010, 0x7050, 0x7080, 0].map(frame).to_vec(), end: End::NoRules };
        let expected = [(0x7000, Some(0)), (0x7008, Some(0)), (0x7010, Some(1)), (0x704f, Some(1)), (0x7050, Some(2))];
        for (address, index) in expected {
            assert_eq!(physical(&stack, address), index, "{address:#x}");
        }
        assert_eq!(physical(&stack, 0x7080), None, "where the last one ends is not known");
        let whole = Stack { frames: stack.frames[..3].to_vec(), end: End::Outermost };
        assert_eq!(physical(&whole, 0x7080), None, "arguments and the environment are above");
    }
}
