//! An analysis's tasks on the worker pool.

use crate::relay::Feed;
use analysis::remote::{Answer, Request, Setup};
use analysis::{Analysis, Executor, Lost, Next, Task};
use anyhow::{Context as _, Result};
use multiprocessing::codec::{self, Descriptor};
use multiprocessing::{Job, Pool, TaskError};
use std::collections::{HashMap, VecDeque};
use std::os::fd::OwnedFd;
use std::time::Duration;
use target::Source;

/// One job of the pool.
#[derive(Debug)]
pub struct PoolExecutor {
    job: Job,
    width: usize,
    running: HashMap<u64, Task>,
    /// What the debugger has to read for the workers, if they cannot read it themselves.
    feed: Option<Feed>,
    /// Tasks that wait until there is room for their memory.
    waiting: VecDeque<Task>,
}

impl PoolExecutor {
    /// A job for `analysis` on `pool`, whose workers read `source` with `descriptors`.
    ///
    /// # Errors
    /// If the pool cannot take it: no memory, no descriptors.
    pub fn new<A: Analysis>(
        pool: &Pool,
        width: usize,
        analysis: A,
        source: Source,
        descriptors: Vec<OwnedFd>,
        feed: Option<Feed>,
    ) -> Result<Self> {
        let descriptors: Vec<Descriptor> = descriptors.into_iter().map(Descriptor::from).collect();
        let setup = codec::encode(&(Setup { analysis, source }, descriptors)).context("the plan cannot be sent")?;
        let job = pool.job(A::NAME, setup)?;
        Ok(Self { job, width: width.max(1), running: HashMap::new(), feed, waiting: VecDeque::new() })
    }

    /// Sends what waits. What the debugger has to read for it takes a while, so it is one task at a time then, if there is
    /// room for its memory. Returns whether another one could be sent at once.
    fn send_waiting(&mut self) -> bool {
        while let Some(task) = self.waiting.front().copied() {
            let filled = match &mut self.feed {
                None => None,
                Some(feed) => match feed.fill(&task) {
                    Some(filled) => Some(filled),
                    None => return false,
                },
            };
            self.waiting.pop_front();
            let request = Request { task, filled, carried: None };
            let payload = codec::encode(&request).expect("a request is plain data");
            self.running.insert(task.id, task);
            self.job.submit(task.id, payload);
            if self.feed.is_some() {
                return !self.waiting.is_empty();
            }
        }
        false
    }
}

impl<A: Analysis> Executor<A> for PoolExecutor {
    fn width(&self) -> usize {
        self.width
    }

    fn submit(&mut self, task: Task) {
        self.waiting.push_back(task);
        if self.feed.is_none() {
            self.send_waiting();
        }
    }

    fn next(&mut self, patience: Duration) -> Next<A::Partial> {
        let more = self.send_waiting();
        let (id, result) = match self.job.next(if more { Duration::ZERO } else { patience }) {
            multiprocessing::Next::Ended(id, result) => (id, result),
            multiprocessing::Next::Nothing => return Next::Nothing,
            // What waits for its memory is under way as well.
            multiprocessing::Next::Idle if !self.waiting.is_empty() => return Next::Nothing,
            multiprocessing::Next::Idle => return Next::Idle,
        };
        let Some(task) = self.running.remove(&id) else { return Next::Nothing };
        if let Some(feed) = &mut self.feed {
            feed.release(&task);
        }
        let result = result.and_then(|payload| {
            match postcard::from_bytes(&payload).map_err(|error| TaskError::Decode(error.to_string()))? {
                Answer::Scanned(scanned) => Ok(scanned),
                Answer::Unseen(why) => Err(TaskError::Error(why)),
            }
        });
        Next::Ended(task, result.map_err(lost))
    }

    fn cancel(&mut self) {
        self.waiting.clear();
        self.running.clear();
        self.job.cancel();
    }
}

/// A task that died, hung or panicked may have met one bad block, so it is worth trying in parts. Without workers it is not.
fn lost(error: TaskError) -> Lost {
    let retry = error.lost_worker() || matches!(error, TaskError::Panic { .. } | TaskError::Decode(_));
    Lost { reason: error.to_string(), retry }
}
