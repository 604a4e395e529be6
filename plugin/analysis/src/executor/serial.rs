//! One task after the other, on the calling thread.

use super::{Executor, Lost, Next};
use crate::plan::{Analysis, Task};
use std::collections::VecDeque;
use std::ops::Deref;
use std::time::Duration;

/// Runs tasks in the order in which they come, within [`next`](Executor::next). The plainest executor there is: what
/// the others bring is compared with it.
///
/// `P` and `I` are whatever holds the analysis and its input: references, or [`Arc`](std::sync::Arc)s.
pub struct Serial<A: Analysis, P, I> {
    analysis: P,
    input: I,
    scanner: Option<A::Scanner>,
    waiting: VecDeque<Task>,
}

impl<A: Analysis, P: Deref<Target = A>, I> Serial<A, P, I> {
    pub fn new(analysis: P, input: I) -> Self {
        Self { analysis, input, scanner: None, waiting: VecDeque::new() }
    }
}

impl<A: Analysis, P, I> std::fmt::Debug for Serial<A, P, I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Serial").field("waiting", &self.waiting.len()).finish_non_exhaustive()
    }
}

impl<A: Analysis, P: Deref<Target = A>, I: Deref<Target = A::Input>> Executor<A> for Serial<A, P, I> {
    fn width(&self) -> usize {
        1
    }

    fn submit(&mut self, task: Task) {
        self.waiting.push_back(task);
    }

    fn next(&mut self, _patience: Duration) -> Next<A::Partial> {
        let Some(task) = self.waiting.pop_front() else { return Next::Idle };
        let mut scanner = match self.scanner.take().map_or_else(|| self.analysis.scanner(), Ok) {
            Ok(scanner) => scanner,
            Err(reason) => return Next::Ended(task, Err(Lost { reason, retry: false })),
        };
        let scanned = self.analysis.scan(&mut scanner, &task, &self.input, &|| false);
        self.scanner = Some(scanner);
        Next::Ended(task, Ok(scanned))
    }

    fn cancel(&mut self) {
        self.waiting.clear();
    }
}
