//! One task after the other, on the calling thread.

use super::{Executor, Lost, Next};
use crate::plan::{Analysis, Task};
use std::collections::VecDeque;
use std::time::Duration;
use target::ReadMemory;

/// Runs tasks in the order in which they come, within [`next`](Executor::next). The plainest executor there is: what
/// the others bring is compared with it.
#[derive(Debug)]
pub struct Serial<'a, A: Analysis, M: ReadMemory + ?Sized> {
    analysis: &'a A,
    memory: &'a M,
    scanner: Option<A::Scanner>,
    waiting: VecDeque<Task>,
}

impl<'a, A: Analysis, M: ReadMemory> Serial<'a, A, M> {
    pub fn new(analysis: &'a A, memory: &'a M) -> Self {
        Self { analysis, memory, scanner: None, waiting: VecDeque::new() }
    }
}

impl<A: Analysis, M: ReadMemory> Executor<A> for Serial<'_, A, M> {
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
        let scanned = self.analysis.scan(&mut scanner, &task, self.memory, &|| false);
        self.scanner = Some(scanner);
        Next::Ended(task, Ok(scanned))
    }

    fn cancel(&mut self) {
        self.waiting.clear();
    }
}
