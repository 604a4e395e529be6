//! What workers do while nobody waits for them: what a command does without, and those of later sessions are faster with.

use anyhow::Result;
use multiprocessing::codec::Message;
use multiprocessing::{Job, Next, Pool};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::{Duration, Instant};
use target::AddressRange;

/// The chores of so many commands are remembered; older ones are worked out another time.
const MOST: usize = 16;

/// What opens a job for chores.
type Open = dyn Fn(&Pool) -> Result<Job> + Send;

/// What one command leaves to be done: parts, each on its own, in any order.
pub struct Chores {
    open: Box<Open>,
    request: fn(AddressRange) -> Message,
    /// Those that have not been seen to be done, by number.
    parts: BTreeMap<u64, AddressRange>,
    /// Under way, if it is.
    job: Option<Job>,
}

impl Chores {
    /// `open` opens a job for them, each time that they are begun; `request` is what a worker is asked in it.
    pub fn new(
        parts: Vec<AddressRange>,
        request: fn(AddressRange) -> Message,
        open: impl Fn(&Pool) -> Result<Job> + Send + 'static,
    ) -> Self {
        Self { open: Box::new(open), request, parts: (1..).zip(parts).collect(), job: None }
    }

    fn begin(&mut self, pool: &Pool) {
        if self.job.is_some() || self.parts.is_empty() {
            return;
        }
        let Ok(job) = (self.open)(pool) else {
            // No result depends on it.
            self.parts.clear();
            return;
        };
        for (id, part) in &self.parts {
            job.submit(*id, (self.request)(*part));
        }
        self.job = Some(job);
    }

    /// Ends the job. What was under way is done anew another time: a worker stops within milliseconds.
    fn pause(&mut self) {
        self.wait(Instant::now());
        self.job = None;
    }

    /// Waits until all is done, at most until then.
    fn wait(&mut self, until: Instant) {
        let Some(job) = &self.job else { return };
        loop {
            match job.next_timeout(until.saturating_duration_since(Instant::now())) {
                // What fails once is not tried for ever.
                Next::Ended(id, _) => drop(self.parts.remove(&id)),
                Next::Nothing => return,
                Next::Idle => break,
            }
        }
        self.parts.clear();
    }
}

impl fmt::Debug for Chores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chores").field("parts", &self.parts).field("job", &self.job).finish_non_exhaustive()
    }
}

/// The chores that commands have left. They rest while a command needs the workers.
#[derive(Debug, Default)]
pub struct Backlog(VecDeque<Chores>);

impl Backlog {
    /// Takes a command's.
    pub fn add(&mut self, chores: Chores) {
        if self.0.len() == MOST {
            self.0.pop_front();
        }
        self.0.push_back(chores);
    }

    /// Has the workers do what is left.
    pub fn begin(&mut self, pool: &Pool) {
        self.0.iter_mut().for_each(|chores| chores.begin(pool));
    }

    /// Leaves the workers to others.
    pub fn pause(&mut self) {
        self.0.iter_mut().for_each(Chores::pause);
        self.0.retain(|chores| !chores.parts.is_empty());
    }

    /// Waits for what is under way, at most so long.
    pub fn wait(&mut self, patience: Duration) {
        let until = Instant::now() + patience;
        self.0.iter_mut().for_each(|chores| chores.wait(until));
    }
}
