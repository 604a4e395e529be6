//! Seats whose workers are on other machines, as the dispatcher sees them.

mod courier;
mod mailbox;

use super::commands::Commands;
use super::tasks::{Entry, Jobs, Task};
use super::{PoolConfig, WorkerState, WorkerStatus};
use crate::error::{StartError, TaskError};
use crate::launch::Launcher;
use crate::payload::{Outgoing, Payload};
use crate::stream::ToAgent;
use courier::{Control, Courier};
use mailbox::{Mailbox, Order, Source};
use std::collections::{HashSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The pause after the first failure to start a worker. It doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// So many connections may be lost when a task was the next to be sent; then it is blamed all the same.
const UNLUCKY: u32 = 4;
/// A worker that is lost so soon, without having ended a task, has failed at its start.
const START_PHASE: Duration = Duration::from_secs(1);
/// So many in a row may be lost in that way while the pool waits for no others.
const LOSSES: u32 = 3;
/// How long the end of the pool waits for the workers' last words, and for what carries the connections.
const END_PATIENCE: Duration = Duration::from_secs(1);

/// Why a worker is not there.
#[derive(Debug)]
pub(super) enum Unready {
    /// It was never ready.
    NotStarted(StartError),
    /// The connection is lost.
    Lost(String),
}

/// What has happened to a worker.
#[derive(Debug)]
pub(super) enum Event {
    /// The connection stands.
    Here { machine: String, pid: u32 },
    /// It takes tasks, and has so much memory of its own.
    Ready { memory: Option<u64> },
    /// A task has ended, and so many workers over there have died so far.
    Ended { sequence: u64, deaths: u64, memory: Option<u64>, result: Result<Payload, TaskError> },
    /// It lives, and has so much memory of its own.
    Measured { memory: Option<u64> },
    /// A task was not sent.
    Unsent { sequence: u64, error: TaskError },
    /// It is gone.
    Down(Unready),
}

/// A task that was given to a worker.
#[derive(Debug)]
struct InHand {
    sequence: u64,
    task: Task,
    /// Its owner was told that it was cancelled.
    abandoned: bool,
}

/// A worker, from its launch on.
#[derive(Debug)]
struct Remote {
    /// Which of all launches it is; never used twice.
    attempt: u64,
    mailbox: Arc<Mailbox>,
    control: Arc<Control>,
    machine: Option<String>,
    pid: u32,
    /// Since when it takes tasks.
    ready: Option<Instant>,
    /// Its own memory when it was last heard of, in bytes.
    memory: Option<u64>,
    pipeline: VecDeque<InHand>,
    opened: HashSet<u64>,
    sequence: u64,
    /// Whether it has ended any.
    proven: bool,
    /// How many of its own workers have died.
    deaths: u64,
}

#[derive(Debug)]
struct Seat {
    launcher: Arc<dyn Launcher>,
    worker: Option<Remote>,
    tasks: u64,
    deaths: u64,
    /// How many launches in a row have failed; when the last did, and how.
    failures: u32,
    failed: Instant,
    /// Whether it had been ready then.
    lost: bool,
    error: Option<StartError>,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Remotes {
    seats: Vec<Seat>,
    attempts: u64,
    threads: Vec<JoinHandle<()>>,
    /// The pool's count.
    deaths: Arc<AtomicU64>,
}

impl Seat {
    fn new(launcher: Arc<dyn Launcher>) -> Seat {
        Seat {
            launcher,
            worker: None,
            tasks: 0,
            deaths: 0,
            failures: 0,
            failed: Instant::now(),
            lost: false,
            error: None,
        }
    }

    /// When to launch a worker, if it has none.
    fn due(&self) -> Instant {
        match self.failures {
            0 => self.failed,
            failures => self.failed + (FIRST_PAUSE * 2_u32.saturating_pow(failures - 1).min(1000)).min(LONGEST_PAUSE),
        }
    }

    /// Whether a worker is launched even if there is nothing to do.
    fn unconditional(&self) -> bool {
        self.failures == 0 || self.lost
    }

    fn status(&self) -> WorkerStatus {
        let worker = self.worker.as_ref();
        let state = match worker {
            None => WorkerState::Down,
            Some(worker) if worker.ready.is_none() => WorkerState::Starting,
            Some(worker) if worker.pipeline.is_empty() => WorkerState::Idle,
            Some(_) => WorkerState::Busy,
        };
        let up = worker.is_some_and(|worker| worker.ready.is_some());
        WorkerStatus {
            host: Some(self.launcher.name()),
            machine: worker.and_then(|worker| worker.machine.clone()),
            pid: worker.map_or(0, |worker| worker.pid),
            state,
            tasks: self.tasks,
            deaths: self.deaths,
            memory: worker.and_then(|worker| worker.memory),
            error: self.error.as_ref().filter(|_| !up).map(ToString::to_string),
        }
    }

    /// Gives it a task.
    fn assign(&mut self, mut task: Task, entry: &Entry) -> Result<(), (Task, io::Error)> {
        let Some(worker) = &mut self.worker else { return Err((task, io::ErrorKind::NotConnected.into())) };
        let place = match &worker.machine {
            Some(machine) => format!("{} ({machine})", self.launcher.name()),
            None => self.launcher.name(),
        };
        let payload = match task.payload.prepare().and_then(|()| source(&task.payload, &place)) {
            Ok(payload) => payload,
            Err(error) => return Err((task, error)),
        };
        if !worker.opened.contains(&task.job) {
            let setup = match source(&entry.opening.setup, &place) {
                Ok(setup) => setup,
                Err(error) => return Err((task, error)),
            };
            worker.opened.insert(task.job);
            let (function, schema) = (entry.opening.function.clone(), entry.opening.schema);
            worker.mailbox.post(Order::Open { job: task.job, function, schema, setup });
        }
        worker.sequence += 1;
        worker.mailbox.post(Order::Task { job: task.job, sequence: worker.sequence, payload });
        worker.pipeline.push_back(InHand { sequence: worker.sequence, task, abandoned: false });
        Ok(())
    }
}

fn source(message: &Outgoing, place: &str) -> io::Result<Source> {
    Ok(match message.elsewhere() {
        Some(elsewhere) => Source::Elsewhere(elsewhere.clone(), place.to_owned()),
        None => Source::Payload(message.contents()?),
    })
}

impl Remotes {
    pub(super) fn new(launchers: &[Arc<dyn Launcher>], deaths: Arc<AtomicU64>) -> Remotes {
        let seats = launchers.iter().cloned().map(Seat::new).collect();
        Remotes { seats, attempts: 0, threads: Vec::new(), deaths }
    }

    pub(super) fn len(&self) -> usize {
        self.seats.len()
    }

    /// Whether there is a worker, or may be one soon.
    pub(super) fn hopeful(&self) -> bool {
        let may_come = |seat: &Seat| seat.failures == 0 || (seat.lost && seat.failures < LOSSES);
        self.seats.iter().any(|seat| seat.worker.is_some() || may_come(seat))
    }

    /// Why there is none.
    pub(super) fn error(&self) -> Option<StartError> {
        self.seats.iter().find_map(|seat| seat.error.clone())
    }

    /// Other launchers. Those that were there before keep their workers.
    pub(super) fn set(&mut self, launchers: Vec<Arc<dyn Launcher>>, jobs: &mut Jobs) {
        let mut before = std::mem::take(&mut self.seats);
        for launcher in launchers {
            let place = before.iter().position(|seat| Arc::ptr_eq(&seat.launcher, &launcher));
            self.seats.push(place.map_or_else(|| Seat::new(launcher), |place| before.swap_remove(place)));
        }
        before.iter_mut().for_each(|seat| dismiss(seat, jobs));
    }

    /// Replaces all workers.
    pub(super) fn restart(&mut self, jobs: &mut Jobs) {
        for seat in &mut self.seats {
            dismiss(seat, jobs);
            seat.failures = 0;
        }
    }

    /// Those that have failed may try at once.
    pub(super) fn try_once_more(&mut self) {
        for seat in self.seats.iter_mut().filter(|seat| seat.worker.is_none()) {
            seat.failures = 0;
        }
    }

    /// When the next launch is due, if there is work.
    pub(super) fn next_attempt(&self, work: bool) -> Option<Instant> {
        let waiting = self.seats.iter().filter(|seat| seat.worker.is_none() && (work || seat.unconditional()));
        waiting.map(Seat::due).min()
    }

    /// Launches workers where they are missing and due.
    pub(super) fn fill(&mut self, config: &PoolConfig, commands: &Arc<Commands>, work: bool) {
        self.threads.retain(|thread| !thread.is_finished());
        let now = Instant::now();
        for seat in &mut self.seats {
            if seat.worker.is_some() || seat.due() > now || (!work && !seat.unconditional()) {
                continue;
            }
            self.attempts += 1;
            let courier = Courier {
                attempt: self.attempts,
                launcher: Arc::clone(&seat.launcher),
                config: config.clone(),
                commands: Arc::clone(commands),
                mailbox: Arc::default(),
                control: Arc::default(),
            };
            let worker = Remote {
                attempt: self.attempts,
                mailbox: Arc::clone(&courier.mailbox),
                control: Arc::clone(&courier.control),
                machine: None,
                pid: 0,
                ready: None,
                memory: None,
                pipeline: VecDeque::new(),
                opened: HashSet::new(),
                sequence: 0,
                proven: false,
                deaths: 0,
            };
            match thread::Builder::new().name("remote".into()).spawn(move || courier.run()) {
                Ok(thread) => {
                    self.threads.push(thread);
                    seat.worker = Some(worker);
                }
                Err(error) => fail(seat, StartError::Resources(Arc::new(error))),
            }
        }
    }

    /// Gives tasks to workers with fewer than `limit`; there are so many seats in all.
    pub(super) fn hand_out(&mut self, jobs: &mut Jobs, limit: usize, seats: usize) {
        while jobs.queued() > 0 {
            // The last tasks wait for whoever is free first.
            let pipeline = if jobs.queued() >= seats { limit } else { 1 };
            let ready = |seat: &&mut Seat| seat.worker.as_ref().is_some_and(|worker| worker.ready.is_some());
            let load = |seat: &&mut Seat| seat.worker.as_ref().map_or(usize::MAX, |worker| worker.pipeline.len());
            let seat = self.seats.iter_mut().filter(ready).min_by_key(load);
            let Some(seat) = seat.filter(|seat| load(seat) < pipeline) else { return };
            let Some(job) = jobs.turn_elsewhere() else { return };
            let chunk = jobs.entry(job).map_or(1, |entry| entry.opening.chunk);
            for _ in 0..chunk {
                let Some(task) = jobs.take_elsewhere(job) else { break };
                let Some(entry) = jobs.entry(job) else { break };
                if let Err((task, error)) = seat.assign(task, entry) {
                    jobs.end(task.job, task.id, Err(TaskError::Send(error.to_string())));
                }
            }
        }
    }

    /// Whether some worker has nothing to do.
    pub(super) fn any_idle(&self) -> bool {
        let idle = |worker: &Remote| worker.ready.is_some() && worker.pipeline.is_empty();
        self.seats.iter().filter_map(|seat| seat.worker.as_ref()).any(idle)
    }

    /// Takes back what waits behind a worker's first task and was not sent: a connection may be slow.
    pub(super) fn spread(&mut self, jobs: &mut Jobs) {
        for worker in self.seats.iter_mut().filter_map(|seat| seat.worker.as_mut()) {
            let Some(first) = worker.pipeline.front().filter(|_| worker.pipeline.len() > 1) else { continue };
            let recalled = worker.mailbox.recall(first.sequence);
            let (back, kept) = worker.pipeline.drain(..).partition(|in_hand| recalled.contains(&in_hand.sequence));
            worker.pipeline = kept;
            let back: VecDeque<InHand> = back;
            for in_hand in back.into_iter().rev() {
                if in_hand.abandoned { jobs.forget(in_hand.task.job) } else { jobs.give_back(in_hand.task) }
            }
        }
    }

    /// Takes what has happened; whether a worker has become ready by it.
    pub(super) fn take(&mut self, attempt: u64, event: Event, jobs: &mut Jobs) -> bool {
        let is_it = |seat: &&mut Seat| seat.worker.as_ref().is_some_and(|worker| worker.attempt == attempt);
        let Some(seat) = self.seats.iter_mut().find(is_it) else { return false };
        let Some(worker) = &mut seat.worker else { return false };
        match event {
            Event::Here { machine, pid } => (worker.machine, worker.pid) = (Some(machine), pid),
            Event::Measured { memory } => worker.memory = memory,
            Event::Ready { memory } => {
                (worker.ready, worker.memory) = (Some(Instant::now()), memory);
                seat.error = None;
                return true;
            }
            Event::Ended { sequence, deaths, memory, result } => {
                let Some(place) = worker.pipeline.iter().position(|in_hand| in_hand.sequence == sequence) else {
                    lose(seat, "it answers what it was not asked".into(), jobs, &self.deaths);
                    return false;
                };
                let more = deaths.saturating_sub(worker.deaths);
                worker.deaths += more;
                worker.proven = true;
                worker.memory = memory;
                seat.failures = 0;
                seat.deaths += more;
                self.deaths.fetch_add(more, Ordering::Relaxed);
                if result.as_ref().err().is_none_or(|error| !error.lost_worker()) {
                    seat.tasks += 1;
                }
                if let Some(in_hand) = worker.pipeline.remove(place) {
                    end(in_hand, result, jobs);
                }
            }
            Event::Unsent { sequence, error } => {
                let place = worker.pipeline.iter().position(|in_hand| in_hand.sequence == sequence);
                if let Some(in_hand) = place.and_then(|place| worker.pipeline.remove(place)) {
                    end(in_hand, Err(error), jobs);
                }
            }
            Event::Down(Unready::NotStarted(error)) => {
                seat.worker = None;
                fail(seat, error);
            }
            Event::Down(Unready::Lost(reason)) => lose(seat, reason, jobs, &self.deaths),
        }
        false
    }

    /// Ends a job's tasks: for their owner at once, and over there as soon as that hears of it.
    pub(super) fn cancel(&mut self, job: u64, jobs: &mut Jobs) {
        for worker in self.seats.iter_mut().filter_map(|seat| seat.worker.as_mut()) {
            let mut any = false;
            for in_hand in worker.pipeline.iter_mut().filter(|in_hand| in_hand.task.job == job && !in_hand.abandoned) {
                any = true;
                in_hand.abandoned = true;
                jobs.abandon(job, in_hand.task.id);
            }
            if any {
                worker.mailbox.urgent(ToAgent::Cancel { job });
            }
        }
    }

    /// Lets the workers forget a job.
    pub(super) fn close(&mut self, job: u64) {
        for worker in self.seats.iter_mut().filter_map(|seat| seat.worker.as_mut()) {
            if worker.opened.remove(&job) {
                worker.mailbox.post(Order::Close { job });
            }
        }
    }

    pub(super) fn set_task_timeout(&self, timeout: Option<Duration>) {
        let limit = timeout.map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
        for worker in self.seats.iter().filter_map(|seat| seat.worker.as_ref()) {
            worker.mailbox.urgent(ToAgent::TaskTimeout { limit });
        }
    }

    pub(super) fn status(&self) -> impl Iterator<Item = WorkerStatus> {
        self.seats.iter().map(Seat::status)
    }

    /// Ends all workers.
    pub(super) fn end(&mut self, jobs: &mut Jobs) {
        self.seats.iter_mut().for_each(|seat| dismiss(seat, jobs));
        let deadline = Instant::now() + END_PATIENCE;
        while self.threads.iter().any(|thread| !thread.is_finished()) && Instant::now() < deadline {
            thread::sleep(Duration::from_micros(500));
        }
        for thread in self.threads.drain(..).filter(JoinHandle::is_finished) {
            // A panic there has been printed.
            let _ = thread.join();
        }
    }
}

/// A task has ended.
fn end(in_hand: InHand, result: Result<Payload, TaskError>, jobs: &mut Jobs) {
    let InHand { mut task, abandoned, .. } = in_hand;
    if abandoned {
        return jobs.forget(task.job);
    }
    match &result {
        Err(error) if task.retries > 0 && error.may_be_retried() => {
            task.retries -= 1;
            jobs.give_back(task);
        }
        _ => jobs.end(task.job, task.id, result),
    }
}

fn fail(seat: &mut Seat, error: StartError) {
    seat.failures = seat.failures.saturating_add(1);
    (seat.failed, seat.lost) = (Instant::now(), false);
    seat.error = Some(error);
}

/// The connection is lost: that is the error of the task at its front, and those behind it go to others.
fn lose(seat: &mut Seat, reason: String, jobs: &mut Jobs, deaths: &AtomicU64) {
    let Some(mut worker) = seat.worker.take() else { return };
    worker.control.stop();
    worker.mailbox.end();
    seat.deaths += 1;
    deaths.fetch_add(1, Ordering::Relaxed);
    let begun = worker.mailbox.begun();
    let front = worker.pipeline.front().map(|first| first.sequence).filter(|first| *first <= begun);
    // From the last to the first, so that they come back in their order.
    for (place, mut in_hand) in worker.pipeline.drain(..).enumerate().rev() {
        if in_hand.abandoned || front == Some(in_hand.sequence) || in_hand.task.unlucky >= UNLUCKY {
            end(in_hand, Err(TaskError::Connection(reason.clone())), jobs);
        } else {
            in_hand.task.unlucky += u32::from(place == 0);
            jobs.give_back(in_hand.task);
        }
    }
    // One that has served has not failed at its start.
    let served = worker.proven || worker.ready.is_some_and(|since| since.elapsed() > START_PHASE);
    seat.failures = if served { 0 } else { seat.failures + 1 };
    (seat.failed, seat.lost) = (Instant::now(), true);
    // For a task it begins with the name, which the error has beside it.
    let launcher = seat.launcher.name();
    let reason = reason.strip_prefix(&format!("{launcher}: ")).map(str::to_owned).unwrap_or(reason);
    seat.error = Some(StartError::Launch { launcher, reason });
}

/// A worker is not wanted any more, and its tasks go to others.
fn dismiss(seat: &mut Seat, jobs: &mut Jobs) {
    let Some(mut worker) = seat.worker.take() else { return };
    worker.control.stop();
    worker.mailbox.end();
    for in_hand in worker.pipeline.drain(..).rev() {
        if in_hand.abandoned { jobs.forget(in_hand.task.job) } else { jobs.give_back(in_hand.task) }
    }
}
