//! Unwinding by call frame information.

use super::{End, Frame, Registers, Stack};
use crate::driver::{Cut, Sink};
use crate::plan::{Analysis, ScanRange, Scanned, Task};
use crate::report::Stop;
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;
use std::path::PathBuf;
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

/// What a worker is told once for a job. The descriptors travel beside it: those of the source, then those of what has been
/// inflated.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Setup {
    pub analysis: Unwind,
    pub source: Source,
    /// How many of the descriptors are the source's.
    pub descriptors: usize,
    /// The folder of the cache, and how many bytes it may have; `None` without one.
    pub cache: Option<(PathBuf, u64)>,
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

/// What is kept from one task to the next.
#[derive(Debug, Default)]
pub struct UnwindScanner {}

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
        _scanner: &mut UnwindScanner,
        task: &Task,
        _view: &View,
        _stop: &dyn Fn() -> bool,
    ) -> Scanned<Vec<Stack>> {
        let threads = (task.range.start / THREAD) as usize..task.range.end.div_ceil(THREAD) as usize;
        let stack = |registers: &Registers| {
            let pc = registers.get(Registers::PC);
            let frame = |pc| Frame { pc, cfa: 0, interrupted: true };
            Stack { frames: pc.map(frame).into_iter().collect(), end: End::NoRules }
        };
        let partial = self.threads[threads].iter().map(stack).collect();
        Scanned { partial, bytes: task.range.len(), skipped: Vec::new(), rest: None, gone: false }
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
        merge.resize((task.range.start / THREAD) as usize, Stack { frames: Vec::new(), end: End::Malformed });
        merge.append(&mut partial);
        ControlFlow::Continue(())
    }
}
