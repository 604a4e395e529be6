//! What an analysis is: a plan, the tasks that it is cut into, and how their partials come together.

use crate::driver::Sink;
use crate::report::{Skip, Stop};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::ops::ControlFlow;
use target::{AddressRange, Region};

/// A contiguous part of a region that an analysis covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanRange {
    pub range: AddressRange,
    /// The region that it lies in: what is found may begin only within `range`, but reaches, and sees its neighbours,
    /// as far as this.
    pub region: AddressRange,
    /// Whether pages that are neither present nor swapped are known to hold zeros.
    pub sparse: bool,
}

impl ScanRange {
    /// A range that has nothing around it, and of which every page is read.
    pub const fn alone(range: AddressRange) -> Self {
        Self { range, region: range, sparse: false }
    }

    /// A range within a region.
    pub fn within(range: AddressRange, region: &Region) -> Self {
        Self { range, region: region.range, sparse: region.is_sparse() }
    }
}

/// A piece of work: addresses within one of the plan's ranges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Unique within its job.
    pub id: u64,
    /// Index into [`Analysis::ranges`].
    pub index: usize,
    /// Where what it finds may begin. It reads on beyond the ends as far as it must.
    pub range: AddressRange,
}

impl Task {
    /// The one of the plan's `ranges` that it is cut from; what is not in the plan is looked at alone.
    pub fn scan_range(&self, ranges: &[ScanRange]) -> ScanRange {
        ranges.get(self.index).copied().unwrap_or(ScanRange::alone(self.range))
    }
}

/// What a task brought.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scanned<P> {
    pub partial: P,
    /// Bytes of the task's range that were looked at; pages known to hold zeros count as looked at.
    pub bytes: u64,
    /// What of the task's range could not be read, in address order.
    pub skipped: Vec<Skip>,
    /// The rest of its range, where it stopped before the end: its partial was full, or it was told to stop.
    pub rest: Option<AddressRange>,
    /// Whether a read failed because the process has ended or runs another program now; nothing more can be read then.
    pub gone: bool,
}

impl<P: Default> Scanned<P> {
    /// Of a task none of whose range could be read, and why.
    pub(crate) fn unread(task: &Task, reason: String) -> Self {
        let skipped = vec![Skip { range: task.range, reason }];
        Self { partial: P::default(), bytes: 0, skipped, rest: None, gone: false }
    }
}

/// A plan: what to look for, and where. It is what a worker is given for a job, so it can be serialized.
pub trait Analysis: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The command's name, and that of the function in the worker.
    const NAME: &'static str;
    /// What its tasks read: the target's memory, or the files of its modules.
    type Input: ?Sized + Send + Sync;
    /// What a task finds.
    type Partial: Serialize + DeserializeOwned + Send + 'static;
    /// What is kept from one task to the next: compiled matchers, buffers.
    type Scanner: Send + 'static;
    /// What has been put together of the partials so far.
    type Merge: Send;
    /// What it streams to its sink.
    type Item;

    /// What is to be covered: disjoint, in address order.
    fn ranges(&self) -> &[ScanRange];

    /// How many bytes beyond either end of a task's range it may have to look at, in memory.
    fn reach(&self) -> u64 {
        0
    }

    /// Whether it reads pages of memory that are in swap.
    fn reads_swapped(&self) -> bool {
        false
    }

    /// Makes ready to run tasks.
    ///
    /// # Errors
    /// If the plan cannot be carried out, such as a regex that does not compile.
    fn scanner(&self) -> Result<Self::Scanner, String>;

    /// Runs one task. It asks `stop` at least once a block, and if told so returns what it has, and the `rest`.
    fn scan(
        &self,
        scanner: &mut Self::Scanner,
        task: &Task,
        input: &Self::Input,
        stop: &dyn Fn() -> bool,
    ) -> Scanned<Self::Partial>;

    /// A merge that has seen nothing yet.
    fn merge(&self) -> Self::Merge;

    /// Takes the partial of the next task in address order and gives what is now certain to `sink`. It breaks with
    /// [`Stop::Limit`] if nothing more is needed, and with what the sink says if it is told to stop. `input` is for the
    /// little that must be looked at again where tasks meet.
    fn absorb(
        &self,
        merge: &mut Self::Merge,
        task: &Task,
        partial: Self::Partial,
        input: &Self::Input,
        sink: &mut dyn Sink<Self::Item>,
    ) -> ControlFlow<Stop>;

    /// Roughly the bytes that a partial takes while it waits for those before it.
    fn weight(partial: &Self::Partial) -> usize {
        size_of_val(partial)
    }
}
