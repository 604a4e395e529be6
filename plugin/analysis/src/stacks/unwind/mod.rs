//! Unwinding by call frame information.
//!
//! [`walk`] goes from frame to frame. For each, [`code`] finds the module and keeps the rules of every address that was looked up;
//! [`frames`] finds them in .eh_frame or .debug_frame, of the module's files or, where it has none, of its [`image`] in memory;
//! [`row`] applies them to registers and to the stack, which is read through a [`window`].

mod code;
mod expression;
mod frames;
mod image;
mod row;
#[cfg(test)]
mod tests;
mod walk;
mod window;

use self::code::Code;
use super::{End, Registers, Stack};
use crate::driver::{Cut, Sink};
use crate::plan::{Analysis, ScanRange, Scanned, Task};
use crate::report::Stop;
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;
use std::sync::Arc;
use target::modules::{FileSet, Files};
use target::{AddressRange, ReadMemory, Source};

/// Threads lie this far from one another in the space that they are counted through in.
const THREAD: u64 = 1 << 16;

/// How threads are cut into tasks.
pub const CUT: Cut = Cut { block: THREAD, task: 64 * THREAD, sparse: 64 * THREAD };

/// What tasks look at.
pub struct View {
    pub memory: Arc<dyn ReadMemory>,
    pub files: Files,
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View").field("files", &self.files).finish_non_exhaustive()
    }
}

/// What a worker is told once for a job. The descriptors that the source is read through travel beside it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Setup {
    pub analysis: Unwind,
    pub source: Source,
}

/// Unwinds the stacks of threads. A task is some of the threads, which are counted through from address 0 on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unwind {
    set: FileSet,
    threads: Vec<Registers>,
    ranges: Vec<ScanRange>,
}

impl Unwind {
    pub fn new(set: FileSet, threads: Vec<Registers>) -> Self {
        let all = AddressRange::new(0, threads.len() as u64 * THREAD);
        let ranges = if all.is_empty() { Vec::new() } else { vec![ScanRange::alone(all)] };
        Self { set, threads, ranges }
    }

    pub fn set(&self) -> &FileSet {
        &self.set
    }
}

/// Whether a frame is what a signal's handler returns to, by the bytes there: what called it was interrupted.
pub fn returns_from_signal(memory: &dyn ReadMemory, pc: u64) -> bool {
    let mut bytes = code::SIGNAL_RETURN.map(|_| 0);
    memory.read(pc, &mut bytes) == Ok(bytes.len()) && bytes == code::SIGNAL_RETURN
}

/// What is kept from one task to the next.
#[derive(Default)]
pub struct UnwindScanner {
    code: Option<Code>,
}

impl std::fmt::Debug for UnwindScanner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UnwindScanner").finish_non_exhaustive()
    }
}

impl Analysis for Unwind {
    const NAME: &'static str = "unwind";
    type Input = View;
    type Partial = Vec<Stack>;
    type Scanner = UnwindScanner;
    /// One for each thread, in their order, once all is merged.
    type Merge = Vec<Stack>;
    type Item = ();

    fn ranges(&self) -> &[ScanRange] {
        &self.ranges
    }

    fn scanner(&self) -> Result<UnwindScanner, String> {
        Ok(UnwindScanner::default())
    }

    fn scan(
        &self,
        scanner: &mut UnwindScanner,
        task: &Task,
        view: &View,
        stop: &dyn Fn() -> bool,
    ) -> Scanned<Vec<Stack>> {
        let code = scanner.code.get_or_insert_with(|| Code::new(view));
        let threads = (task.range.start / THREAD) as usize..task.range.end.div_ceil(THREAD) as usize;
        let mut partial = Vec::with_capacity(threads.len());
        let (mut gone, mut frames) = (false, 0);
        let mut rest = None;
        for (number, registers) in threads.clone().zip(&self.threads[threads.clone()]) {
            if stop() {
                rest = Some(AddressRange::new(number as u64 * THREAD, task.range.end));
                break;
            }
            let stack = walk::unwind(code, view, registers, &mut gone);
            frames += stack.frames.len();
            partial.push(stack);
            if frames > walk::MOST_FRAMES && number + 1 < threads.end {
                // One answer is not to hold many deep stacks.
                rest = Some(AddressRange::new((number as u64 + 1) * THREAD, task.range.end));
                break;
            }
        }
        let bytes = task.range.len() - rest.map_or(0, AddressRange::len);
        Scanned { partial, bytes, skipped: Vec::new(), rest, gone }
    }

    fn merge(&self) -> Vec<Stack> {
        Vec::new()
    }

    fn absorb(
        &self,
        merge: &mut Vec<Stack>,
        task: &Task,
        mut partial: Vec<Stack>,
        _: &View,
        _: &mut dyn Sink<()>,
    ) -> ControlFlow<Stop> {
        // What no worker survived is missing between.
        merge.resize((task.range.start / THREAD) as usize, Stack { frames: Vec::new(), end: End::Lost });
        merge.append(&mut partial);
        ControlFlow::Continue(())
    }
}
