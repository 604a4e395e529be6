//! An analysis's tasks on the worker pool.

use crate::carrier::Carrier;
use crate::in_hand::InHand;
use crate::relay::Feed;
use analysis::remote::{Answer, Request, Setup};
use analysis::{Analysis, Executor, Lost, Next, Task};
use anyhow::{Context as _, Result};
use multiprocessing::codec::{self, Descriptor};
use multiprocessing::{Job, JobSpec, Payload, Pool, TaskError};
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};
use target::relayed::Filled;
use target::{ReadMemory, Source};

/// One job of the pool.
#[derive(Debug)]
pub struct PoolExecutor<A> {
    job: Job,
    width: usize,
    in_hand: InHand,
    /// What the debugger has to read for the workers, if they cannot read it themselves.
    feed: Option<Feed>,
    /// What tasks take with them to other machines, if there are workers.
    carrier: Option<Arc<Carrier<A>>>,
    /// Tasks that wait until there is room for their memory.
    waiting: VecDeque<Task>,
}

impl<A: Analysis<Input = dyn ReadMemory> + Clone> PoolExecutor<A> {
    /// A job for `analysis` on `pool`, whose workers on this machine read `source` with `descriptors`, and those elsewhere what
    /// `carrier` gives them.
    ///
    /// # Errors
    /// If the pool cannot take it: no memory, no descriptors.
    pub fn new(
        pool: &Pool,
        width: usize,
        analysis: A,
        source: Source,
        descriptors: Vec<OwnedFd>,
        feed: Option<Feed>,
        carrier: Option<Carrier<A>>,
    ) -> Result<Self> {
        let descriptors: Vec<Descriptor> = descriptors.into_iter().map(Descriptor::from).collect();
        let setup = codec::encode(&(Setup { analysis, source }, descriptors)).context("the plan cannot be sent")?;
        let mut spec = JobSpec::new(A::NAME, setup);
        spec.remote_setup = carrier.as_ref().map(Carrier::setup).transpose()?;
        let job = pool.open(spec)?;
        let carrier = carrier.map(Arc::new);
        Ok(Self { job, width: width.max(1), in_hand: InHand::default(), feed, carrier, waiting: VecDeque::new() })
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
            self.send(task, filled);
            if self.feed.is_some() {
                return !self.waiting.is_empty();
            }
        }
        false
    }

    fn send(&mut self, task: Task, filled: Option<Filled>) {
        let number = self.in_hand.hand_out(task, filled.clone());
        let elsewhere = self.carrier.clone().map(|carrier| {
            let filled = filled.clone();
            move |host: &str| carrier.message(number, &task, filled.as_ref(), host)
        });
        let request = Request { task, filled, carried: None };
        let payload = codec::encode(&request).expect("a request is plain data");
        match elsewhere {
            None => self.job.submit(number, payload),
            Some(elsewhere) => self.job.submit_either(number, payload, Arc::new(elsewhere)),
        }
    }

    /// Sends once more what other machines do not get done.
    fn send_overdue(&mut self) {
        let Some(carrier) = self.carrier.clone() else { return };
        while let Some((task, filled)) =
            self.in_hand.overdue(Instant::now(), self.width, |number| carrier.gone_since(number))
        {
            self.send(task, filled);
        }
    }

    /// A task has ended for one of its workers, in whatever way. A worker elsewhere may not have seen what it is about: then it is
    /// sent once more, with its memory where it takes that.
    fn ended(&mut self, number: u64, result: Result<Payload, TaskError>) -> Next<A::Partial> {
        let answer = result
            .and_then(|payload| postcard::from_bytes(&payload).map_err(|error| TaskError::Decode(error.to_string())));
        let task = match &answer {
            Ok(Answer::Scanned(_)) => self.in_hand.done(number),
            _ => self.in_hand.lost(number),
        };
        let unseen = if let Ok(Answer::Unseen(why)) = &answer { Some(why) } else { None };
        if let Some(carrier) = &self.carrier {
            carrier.ended(number, unseen.map(String::as_str));
        }
        // Somebody else has done it, or still has it in hand.
        let Some(task) = task else { return Next::Nothing };
        if unseen.is_some() && self.carrier.is_some() {
            // Only what lies in a core file goes without memory, and that needs no feed.
            self.send(task, None);
            return Next::Nothing;
        }
        if let Some(feed) = &mut self.feed {
            feed.release(&task);
        }
        let result = match answer {
            Ok(Answer::Scanned(scanned)) => Ok(scanned),
            Ok(Answer::Unseen(why)) => Err(lost(TaskError::Error(why))),
            Err(error) => Err(lost(error)),
        };
        Next::Ended(task, result)
    }
}

impl<A: Analysis<Input = dyn ReadMemory> + Clone> Executor<A> for PoolExecutor<A> {
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
        self.send_overdue();
        let (number, result) = match self.job.next_timeout(if more { Duration::ZERO } else { patience }) {
            multiprocessing::Next::Ended(number, result) => (number, result),
            multiprocessing::Next::Nothing => return Next::Nothing,
            // What waits for its memory is under way as well.
            multiprocessing::Next::Idle if !self.waiting.is_empty() => return Next::Nothing,
            multiprocessing::Next::Idle => return Next::Idle,
        };
        self.ended(number, result)
    }

    fn cancel(&mut self) {
        self.waiting.clear();
        self.in_hand.clear();
        self.job.cancel();
    }

    fn notes(&self) -> Vec<String> {
        self.carrier.as_ref().map(|carrier| carrier.notes()).unwrap_or_default()
    }
}

/// A task that died, hung or panicked may have met one bad block, so it is worth trying in parts. Without workers it is not.
pub fn lost(error: TaskError) -> Lost {
    let retry = error.lost_worker() || matches!(error, TaskError::Panic { .. } | TaskError::Decode(_));
    Lost { reason: error.to_string(), retry }
}
