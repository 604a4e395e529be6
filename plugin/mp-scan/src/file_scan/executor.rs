//! A file analysis's tasks on the worker pool.

use crate::pool_executor::lost;
use analysis::files::{Answer, FileAnalysis, Request};
use analysis::{Executor, Next, Task};
use multiprocessing::{Job, TaskError, codec};
use std::collections::HashMap;
use std::time::Duration;

/// One job of the pool.
pub struct FileExecutor {
    job: Job,
    width: usize,
    running: HashMap<u64, Task>,
}

impl FileExecutor {
    pub fn new(job: Job, width: usize) -> Self {
        Self { job, width: width.max(1), running: HashMap::new() }
    }
}

impl<A: FileAnalysis> Executor<A> for FileExecutor {
    fn width(&self) -> usize {
        self.width
    }

    fn submit(&mut self, task: Task) {
        let request: Request<A::Item> = Request::Scan(task);
        self.running.insert(task.id, task);
        self.job.submit(task.id, codec::encode(&request).expect("a request is plain data"));
    }

    fn next(&mut self, patience: Duration) -> Next<A::Partial> {
        let (id, result) = match self.job.next_timeout(patience) {
            multiprocessing::Next::Ended(id, result) => (id, result),
            multiprocessing::Next::Nothing => return Next::Nothing,
            multiprocessing::Next::Idle => return Next::Idle,
        };
        let Some(task) = self.running.remove(&id) else { return Next::Nothing };
        let answer = result.and_then(|payload| payload.decode().map_err(|error| TaskError::Decode(error.to_string())));
        Next::Ended(
            task,
            match answer {
                Ok(Answer::Scanned(scanned)) => Ok(scanned),
                Ok(_) => Err(lost(TaskError::Decode("something else for a task".to_owned()))),
                Err(error) => Err(lost(error)),
            },
        )
    }

    fn cancel(&mut self) {
        self.running.clear();
        self.job.cancel();
    }
}
