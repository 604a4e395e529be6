//! The dispatcher: one thread that starts the workers, owns all that is known of them, and hands out tasks.

use super::PoolConfig;
use super::commands::{Command, Commands};
use super::remote::Remotes;
use super::seats::Seats;
use super::tasks::Jobs;
use super::worker::{BRIEF, HOARD, PIPELINE, Step, Worker};
use crate::error::{StartError, TaskError};
use crate::flags::Flags;
use crate::packets::Buffer;
use crate::process::child::Child;
use crate::wire::Outcome;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::SigSet;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

/// So many answers of one worker are taken before the others have their turn.
const ANSWERS: usize = 512;
/// So long at most small tasks are answered without anybody being woken for it.
const QUIET: Duration = Duration::from_millis(1);

/// What woke the dispatcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Commands,
    Text(u64),
    /// Whether it is the connection, or only the ring of answers.
    Connection(u64, bool),
    Death(u64),
}

/// Where the outcome of a start is told.
pub(super) type Starter = Sender<Result<(), StartError>>;

/// How many workers there are on this machine.
fn local_workers(wanted: usize, remote: usize) -> usize {
    if remote == 0 { wanted.max(1) } else { wanted }
}

#[derive(Debug)]
pub(super) struct Dispatcher {
    pub(super) config: PoolConfig,
    pub(super) commands: Arc<Commands>,
    pub(super) flags: Arc<Flags>,
    pub(super) jobs: Jobs,
    pub(super) seats: Seats,
    /// The seats whose workers are on other machines.
    pub(super) remote: Remotes,
    /// Killed, and not yet gone.
    pub(super) dying: Vec<Child>,
    /// How many workers were started so far.
    pub(super) workers: u64,
    pub(super) deaths: Arc<AtomicU64>,
    /// How many workers in a row have failed at their start, and how the last did.
    pub(super) failures: u32,
    pub(super) failure: Option<StartError>,
    pub(super) failed: Instant,
    /// Who waits for the first worker to be ready.
    pub(super) starters: Vec<Starter>,
    pub(super) memory_checked: Instant,
    pub(super) buffer: Buffer,
    shutdown: bool,
    /// No more tasks come: the end comes with that of the last.
    finishing: bool,
}

impl Dispatcher {
    pub(super) fn new(
        config: PoolConfig,
        commands: Arc<Commands>,
        flags: Arc<Flags>,
        deaths: Arc<AtomicU64>,
        starter: Starter,
    ) -> Dispatcher {
        Dispatcher {
            seats: Seats::new(local_workers(config.workers, config.remote.len())),
            remote: Remotes::new(&config.remote, Arc::clone(&deaths)),
            config,
            commands,
            flags,
            jobs: Jobs::default(),
            dying: Vec::new(),
            workers: 0,
            deaths,
            failures: 0,
            failure: None,
            failed: Instant::now(),
            starters: vec![starter],
            memory_checked: Instant::now(),
            buffer: Buffer::new(),
            shutdown: false,
            finishing: false,
        }
    }

    /// The thread: until the pool is dropped.
    pub(super) fn run(mut self) {
        // The host's signals are for the host's threads.
        let _ = SigSet::all().thread_block();
        while !self.shutdown {
            self.fill();
            self.spread();
            self.hand_out();
            self.seats.workers_mut().for_each(Worker::post);
            self.jobs.tell();
            for source in self.wait() {
                match source {
                    Source::Commands => self.obey(),
                    Source::Text(number) => self.listen(number),
                    Source::Connection(number, packets) => self.receive(number, packets),
                    Source::Death(number) => self.bury(number),
                }
            }
            self.watch();
            self.reap();
            self.jobs.tell();
            self.close_jobs();
            self.shutdown |= self.finishing && self.jobs.idle();
        }
    }

    /// Waits until something happens or a deadline passes.
    fn wait(&mut self) -> Vec<Source> {
        self.seats.workers().for_each(Worker::wake_me);
        let answered = self.seats.workers_mut().any(Worker::has_answered);
        let ready = if self.commands.sleep() && !answered {
            let quiet = self.seats.workers().any(Worker::is_quiet).then(|| Instant::now() + QUIET);
            self.poll(self.deadline().into_iter().chain(quiet).min())
        } else {
            self.poll(Some(Instant::now()))
        };
        self.commands.awake();
        // In the order in which a worker comes to an end: it prints, it answers, it dies.
        let mut sources = vec![Source::Commands];
        for worker in self.seats.workers_mut() {
            worker.report.awake();
            let is = |source| ready.contains(&source);
            if is(Source::Text(worker.number)) {
                sources.push(Source::Text(worker.number));
            }
            let packets = is(Source::Connection(worker.number, true));
            if packets || worker.has_answered() {
                sources.push(Source::Connection(worker.number, packets));
            }
            if is(Source::Death(worker.number)) {
                sources.push(Source::Death(worker.number));
            }
        }
        sources
    }

    /// Asks the system what is ready, and waits for it until the deadline.
    fn poll(&self, deadline: Option<Instant>) -> Vec<Source> {
        let mut sources = vec![Source::Commands];
        let mut entries = vec![PollFd::new(self.commands.as_fd(), PollFlags::POLLIN)];
        for worker in self.seats.workers() {
            if let Some(pipe) = worker.text.pipe() {
                sources.push(Source::Text(worker.number));
                entries.push(PollFd::new(pipe, PollFlags::POLLIN));
            }
            if let Some((descriptor, events)) = worker.interest() {
                sources.push(Source::Connection(worker.number, true));
                entries.push(PollFd::new(descriptor, events));
            }
            sources.push(Source::Death(worker.number));
            entries.push(PollFd::new(worker.process.as_fd(), PollFlags::POLLIN));
        }
        let timeout = deadline.map_or(PollTimeout::NONE, |deadline| {
            // Rounded up, lest it wakes too early again and again.
            let left = deadline.saturating_duration_since(Instant::now()) + Duration::from_micros(999);
            PollTimeout::try_from(left.as_millis()).unwrap_or(PollTimeout::MAX)
        });
        match poll(&mut entries, timeout) {
            Ok(0) | Err(Errno::EINTR) => Vec::new(),
            Err(_) => {
                // The system is short of memory: that is no reason to ask again without a pause.
                std::thread::sleep(Duration::from_millis(1));
                Vec::new()
            }
            Ok(_) => {
                let ready = |entry: &PollFd| entry.revents().is_none_or(|events| !events.is_empty());
                let ready =
                    sources.into_iter().zip(&entries).filter(|(_, entry)| ready(entry)).map(|(source, _)| source);
                ready
                    .inspect(|source| {
                        if *source == Source::Commands {
                            self.commands.silence()
                        }
                    })
                    .collect()
            }
        }
    }

    fn obey(&mut self) {
        for command in self.commands.take() {
            match command {
                Command::Open(opening) => {
                    // Whatever kept workers from starting may have been mended since.
                    self.try_once_more();
                    if !self.alive() {
                        self.remote.try_once_more();
                    }
                    self.jobs.open(opening);
                }
                Command::Submit { inbox, tasks } => self.jobs.submit(&inbox, tasks),
                Command::Resume => {}
                Command::Cancel { job } => self.cancel(job),
                Command::Close { job } => self.jobs.close(job),
                Command::Status(sender) => {
                    let _ = sender.send(self.seats.status().into_iter().chain(self.remote.status()).collect());
                }
                Command::Restart(starter) => self.restart(starter),
                Command::Resize(workers) => {
                    self.config.workers = workers;
                    self.seats.resize(local_workers(workers, self.remote.len()));
                }
                Command::SetRemote(launchers) => {
                    self.remote.set(launchers, &mut self.jobs);
                    self.seats.resize(local_workers(self.config.workers, self.remote.len()));
                }
                Command::Remote(attempt, event) => {
                    if self.remote.take(attempt, event, &mut self.jobs) {
                        self.started();
                    }
                }
                Command::TaskTimeout(timeout) => {
                    self.config.task_timeout = timeout;
                    self.remote.set_task_timeout(timeout);
                }
                Command::MemoryLimit(limit) => self.config.memory_limit = limit,
                Command::Finish => self.finishing = true,
                Command::Shutdown => self.shutdown = true,
            }
        }
    }

    /// Ends a job's tasks: queued ones at once, those that a worker runs when they have stopped or it was killed.
    fn cancel(&mut self, job: u64) {
        self.jobs.cancel(job);
        self.remote.cancel(job, &mut self.jobs);
        for worker in self.seats.workers_mut() {
            for later in worker.pipeline.iter_mut().skip(1).filter(|later| later.task.job == job && !later.abandoned) {
                later.abandoned = true;
                self.jobs.abandon(job, later.task.id);
            }
        }
    }

    /// Tells the workers which jobs are over.
    fn close_jobs(&mut self) {
        for job in self.jobs.remove_closed() {
            self.seats.workers_mut().for_each(|worker| worker.close(job));
            self.remote.close(job);
        }
    }

    /// Gives tasks to workers, to those with the fewest first.
    fn hand_out(&mut self) {
        for pipeline in 1..=PIPELINE {
            self.hand_out_here(pipeline);
            self.remote.hand_out(&mut self.jobs, pipeline, self.seats.len() + self.remote.len());
        }
    }

    /// Gives tasks to workers of this machine, until they have so many.
    fn hand_out_here(&mut self, limit: usize) {
        while self.jobs.queued() > 0 {
            // The last tasks wait for whoever is free first.
            let places = (self.seats.len() + self.remote.len()).max(1);
            let pipeline = if self.jobs.queued() >= places { limit } else { 1 };
            let Some(worker) = self.seats.free(pipeline) else { return };
            let Some(job) = self.jobs.turn() else { return };
            let chunk = self.jobs.entry(job).map_or(1, |entry| entry.opening.chunk);
            // Small tasks go many at a time, but none has more than its share of the last ones.
            let share = (self.jobs.queued() / places).max(1);
            let now = Instant::now();
            let mut given = 0;
            while worker.serves_on() && (given < chunk || (chunk == 1 && given < share && worker.wants_more())) {
                given += 1;
                let Some(task) = self.jobs.take(job) else { break };
                let Some(entry) = self.jobs.entry(job) else { break };
                if let Err((task, error)) = worker.assign(task, entry, now) {
                    self.jobs.end(task.job, task.id, Err(TaskError::Send(error.to_string())));
                }
            }
        }
    }

    /// Whether some worker of this machine has nothing to do, and nothing is left for it.
    fn is_short(&self) -> bool {
        self.jobs.queued() == 0 && self.seats.workers().any(Worker::is_idle)
    }

    /// Takes back what waits behind a task that turns out to be long, when others have nothing to do.
    fn spread(&mut self) {
        if self.is_short() || (self.jobs.queued() == 0 && self.remote.any_idle()) {
            self.remote.spread(&mut self.jobs);
        }
        if !self.is_short() {
            return;
        }
        let now = Instant::now();
        for worker in self.seats.workers_mut() {
            let Some(entry) = worker.pipeline.front().and_then(|first| self.jobs.entry(first.task.job)) else {
                continue;
            };
            if !worker.hoards(now, entry.pace, entry.opening.chunk) {
                continue;
            }
            for in_hand in worker.recall() {
                match in_hand.abandoned {
                    true => self.jobs.forget(in_hand.task.job),
                    false => self.jobs.give_back(in_hand.task),
                }
            }
        }
    }

    /// When to look whether there is something to be taken back.
    pub(super) fn next_spread(&self) -> Option<Instant> {
        if !self.is_short() {
            return None;
        }
        let firsts =
            self.seats.workers().filter(|worker| worker.may_hoard()).filter_map(|worker| worker.pipeline.front());
        let patience =
            |job| if self.jobs.entry(job).is_some_and(|entry| entry.opening.chunk > 1) { BRIEF } else { HOARD };
        firsts.map(|first| first.since + patience(first.task.job)).min()
    }

    /// A worker is ready.
    fn started(&mut self) {
        for starter in self.starters.drain(..) {
            let _ = starter.send(Ok(()));
        }
    }

    /// Takes what a worker has printed.
    fn listen(&mut self, number: u64) {
        if let Some(worker) = self.seats.of(number).and_then(|seat| seat.worker.as_mut()) {
            worker.text.read();
        }
    }

    /// Sends to a worker what has waited, and takes what it has said; `packets` is whether some of it may be in packets.
    pub(super) fn receive(&mut self, number: u64, packets: bool) {
        let mut answered = 0;
        let mut job = None;
        for _ in 0..ANSWERS {
            let Some(seat) = self.seats.of(number) else { return };
            let Some(worker) = seat.worker.as_mut() else { return };
            if packets {
                worker.flush();
            }
            match worker.step(&self.config, &mut self.buffer, packets) {
                Step::Nothing => break,
                Step::Logged => {}
                Step::Ready => self.started(),
                Step::Answer(in_hand, outcome, payload) => {
                    seat.tasks += 1;
                    self.failures = 0;
                    answered += 1;
                    job = Some(in_hand.task.job);
                    self.jobs.answer(in_hand, outcome, payload);
                    if outcome == Outcome::Panic {
                        return self.replace(number);
                    }
                    // One that has nothing to do has nothing to say.
                    if worker.pipeline.is_empty() {
                        break;
                    }
                }
                Step::HungUp => {
                    worker.hung_up = Some(Instant::now());
                    break;
                }
                Step::Refused(error) => return self.refuse(number, error),
                Step::Broken(what) => return self.kill(number, TaskError::Connection(what)),
            }
        }
        let worker = self.seats.of(number).and_then(|seat| seat.worker.as_mut());
        if let Some((pace, job)) = worker.and_then(|worker| worker.took(answered)).zip(job) {
            self.jobs.note_pace(job, pace);
        }
    }
}
