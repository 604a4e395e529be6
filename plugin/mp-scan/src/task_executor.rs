//! Tasks that take nothing with them, on the workers of this machine.

use crate::pool_executor::lost;
use analysis::{Analysis, Executor, Next, Scanned, Task};
use multiprocessing::codec::{self, Message};
use multiprocessing::{Job, Payload, TaskError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::time::Duration;

/// One job of the pool. `Q` is what its function is asked, and `R` what it answers.
pub struct TaskExecutor<A: Analysis, Q, R> {
    job: Job,
    width: usize,
    running: HashMap<u64, Task>,
    question: fn(Task) -> Q,
    answer: fn(R) -> Option<Scanned<A::Partial>>,
}

impl<A: Analysis, Q: Serialize, R: DeserializeOwned> TaskExecutor<A, Q, R> {
    pub fn new(job: Job, width: usize, question: fn(Task) -> Q, answer: fn(R) -> Option<Scanned<A::Partial>>) -> Self {
        Self { job, width: width.max(1), running: HashMap::new(), question, answer }
    }

    fn message(&self, task: Task) -> Message {
        codec::encode(&(self.question)(task)).expect("a request is plain data")
    }

    fn answer(&self, payload: Payload) -> Result<Scanned<A::Partial>, TaskError> {
        let answer: R = payload.decode().map_err(|error| TaskError::Decode(error.to_string()))?;
        (self.answer)(answer).ok_or_else(|| TaskError::Decode("another answer than was asked for".to_owned()))
    }
}

impl<A: Analysis, Q: Serialize, R: DeserializeOwned> Executor<A> for TaskExecutor<A, Q, R> {
    fn width(&self) -> usize {
        self.width
    }

    fn submit(&mut self, task: Task) {
        self.running.insert(task.id, task);
        self.job.submit(task.id, self.message(task));
    }

    fn next(&mut self, patience: Duration) -> Next<A::Partial> {
        let (id, result) = match self.job.next_timeout(patience) {
            multiprocessing::Next::Ended(id, result) => (id, result),
            multiprocessing::Next::Nothing => return Next::Nothing,
            multiprocessing::Next::Idle => return Next::Idle,
        };
        let Some(task) = self.running.remove(&id) else { return Next::Nothing };
        Next::Ended(task, result.and_then(|payload| self.answer(payload)).map_err(lost))
    }

    fn cancel(&mut self) {
        self.running.clear();
        self.job.cancel();
    }
}
