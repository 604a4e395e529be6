//! Where tasks run.

mod in_process;
mod serial;

use crate::plan::{Analysis, Scanned, Task};
use std::time::Duration;

pub use in_process::InProcess;
pub use serial::Serial;

/// Something that runs an analysis's tasks, some of them at the same time: on a thread pool, in worker processes. The
/// driver gives it tasks and takes their results; it knows nothing of what is behind.
pub trait Executor<A: Analysis> {
    /// How many tasks run at the same time; at least 1.
    fn width(&self) -> usize;

    /// Gives it a task. It may start at once, or when others have ended; the executor takes any number.
    fn submit(&mut self, task: Task);

    /// Waits until a submitted task has ended, at most for `patience`.
    fn next(&mut self, patience: Duration) -> Next<A::Partial>;

    /// Ends all tasks, within a tenth of a second; what they would have brought is lost.
    fn cancel(&mut self);

    /// What the user should know of how the tasks were run, a line each.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }
}

/// What [`Executor::next`] came back with.
#[derive(Debug)]
pub enum Next<P> {
    /// A task has ended, in whatever order.
    Ended(Task, Result<Scanned<P>, Lost>),
    /// Nothing has ended yet.
    Nothing,
    /// No task is under way.
    Idle,
}

/// A task that ended without a result: its worker died, hung, or used more memory than it may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Why, as a fragment: `its worker died of SIGSEGV`, `no answer within 30 s`.
    pub reason: String,
    /// Whether the task, or parts of it, may succeed when they are run again. False for what no task of this plan can
    /// overcome, such as a regex that does not compile.
    pub retry: bool,
}
