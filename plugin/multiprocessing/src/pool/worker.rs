//! One worker process, as the dispatcher sees it.

use super::commands::Opening;
use super::patience::{Grace, Stop};
use super::tasks::{Entry, Task};
use super::text::Text;
use super::{PoolConfig, WorkerState};
use crate::error::StartError;
use crate::flags::Flags;
use crate::logging::Records;
use crate::packets::{Buffer, Packets};
use crate::payload::Payload;
use crate::process::child::Child;
use crate::report::Report;
use crate::ring::Consumer;
use crate::wire::{self, Outcome, ToPool, ToWorker, WireError};
use nix::poll::PollFlags;
use serde::Serialize;
use std::collections::{HashSet, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A worker has this many tasks, if there are as many: one that it runs, and one that it goes on with. It has more if they
/// are small.
pub(super) const PIPELINE: usize = 2;

/// The time for which a worker shall have work in hand: much more than it takes to hand it more.
pub(super) const IN_HAND: Duration = Duration::from_micros(400);

/// A packet of several frames has so many bytes at most, unless its last frame is large.
const BATCH: usize = 32 * 1024;

/// Behind a task that has run for so long, none is put: it would win nothing, and might wait for one that hangs.
pub(super) const BRIEF: Duration = Duration::from_millis(10);

/// So long others wait, with nothing to do, for a worker that has several tasks in hand; then it is left only the first.
pub(super) const HOARD: Duration = Duration::from_millis(1);

/// A task that was sent to a worker.
#[derive(Debug)]
pub(super) struct InHand {
    pub(super) sequence: u64,
    pub(super) task: Task,
    /// Since when the worker can have been busy with it.
    pub(super) since: Instant,
    /// How long it was expected to take.
    cost: Duration,
    /// Its owner was told that it was cancelled.
    pub(super) abandoned: bool,
    pub(super) stop: Stop,
    /// Its job is cancelled, and it shall end.
    pub(super) grace: Option<Grace>,
}

/// A packet that found no room in the connection.
#[derive(Debug)]
struct Waiting {
    head: Vec<u8>,
    tail: Vec<u8>,
    descriptors: Vec<OwnedFd>,
}

/// What a look at the connection brought.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "the large one is the most frequent, and is taken apart at once")]
pub(super) enum Step {
    /// There was nothing to receive.
    Nothing,
    /// The worker is ready.
    Ready,
    /// It has sent a record of its log.
    Logged,
    /// The first task of the pipeline has been answered.
    Answer(InHand, Outcome, Payload),
    /// It can never be a worker of this pool.
    Refused(StartError),
    /// It said what no worker says.
    Broken(String),
    /// It has closed the connection.
    HungUp,
}

#[derive(Debug)]
pub(super) struct Worker {
    /// Which worker of the pool this is; never used twice.
    pub(super) number: u64,
    pub(super) process: Child,
    pub(super) report: Report,
    pub(super) text: Text,
    pub(super) started: Instant,
    pub(super) ready: bool,
    /// When it was seen to have closed the connection. Usually it is then about to die.
    pub(super) hung_up: Option<Instant>,
    pub(super) pipeline: VecDeque<InHand>,
    memory_limit: Option<u64>,
    /// Where the records of its log go, and how it is shown there.
    records: Option<(Arc<Records>, Arc<str>)>,
    /// It gets so many tasks at most.
    max_tasks: u64,
    connection: Packets,
    answers: Consumer,
    /// Answers that came before their turn: one in the ring before one by a packet, or the other way round.
    early: [Option<Early>; 2],
    /// Space for an answer.
    answer: Vec<u8>,
    opened: HashSet<u64>,
    /// Frames that make the next packet.
    batch: Vec<u8>,
    outbox: VecDeque<Waiting>,
    sequence: u64,
    /// How long the tasks in hand were expected to take.
    work: Duration,
    /// Since when it has had its tasks in hand, or when it was last looked at.
    since: Instant,
    /// What it could not be told.
    unsent: Option<String>,
    /// The number of the first task when nothing was left to be taken back.
    vain: u64,
}

/// An answer, and the number of its task.
#[derive(Debug)]
struct Early {
    sequence: u64,
    outcome: Outcome,
    payload: Payload,
}

/// Which of the early answers is the ring's, and which came by a packet.
const RING: usize = 0;
const PACKET: usize = 1;

impl Worker {
    /// Starts the process; it becomes ready later.
    pub(super) fn start(
        config: &PoolConfig,
        flags: &Flags,
        doorbell: BorrowedFd<'_>,
        number: u64,
    ) -> Result<Worker, StartError> {
        let resources = |error| StartError::Resources(Arc::new(error));
        let (connection, theirs) = Packets::pair().map_err(resources)?;
        let report = Report::new().map_err(resources)?;
        let answers = report.answers().map_err(|error| resources(io::Error::other(error)))?;
        // All that can fail is done before there is a process, which would have to be ended and waited for.
        let report_there = report.as_fd().try_clone_to_owned().map_err(resources)?;
        let records = Records::wanted().map_err(resources)?;
        let started = Instant::now();
        let (text, stderr) = Text::new().map_err(resources)?;
        let process =
            Child::spawn(config.program.path(), config.program.arguments(), theirs.as_fd(), stderr.as_fd()).map_err(
                |error| StartError::Spawn { path: config.program.path().to_owned(), error: Arc::new(error) },
            )?;
        drop(theirs);
        let source = crate::logging::source("worker", process.pid());
        let mut worker = Worker {
            records: records.map(|records| (records, source)),
            number,
            process,
            report,
            text,
            started,
            ready: false,
            hung_up: None,
            pipeline: VecDeque::new(),
            memory_limit: config.memory_limit,
            max_tasks: config.max_tasks_per_worker.unwrap_or(u64::MAX).max(1),
            connection,
            answers,
            early: [None, None],
            answer: Vec::new(),
            opened: HashSet::new(),
            batch: Vec::new(),
            outbox: VecDeque::new(),
            sequence: 0,
            work: Duration::ZERO,
            since: started,
            unsent: None,
            vain: 0,
        };
        let (parent, identity) = (std::process::id(), config.program.identity());
        let log_level = if worker.records.is_some() { log::max_level() as u8 } else { 0 };
        let initializer = config.initializer.as_ref().map(|initializer| wire::Initializer {
            function: initializer.function,
            schema: initializer.schema,
            shared: initializer.argument.shared(),
        });
        let hello = ToWorker::Hello { parent, identity, memory_limit: config.memory_limit, log_level, initializer };
        let argument = config.initializer.as_ref().map(|initializer| &initializer.argument);
        let mut descriptors = vec![report_there.as_fd(), flags.as_fd(), doorbell];
        descriptors.extend(argument.into_iter().flat_map(|argument| argument.descriptors()));
        // An empty connection has room for it; a worker that has died already shows as such.
        let _ = worker.send(&hello, argument.map_or(&[], |argument| argument.tail()), &descriptors);
        Ok(worker)
    }

    pub(super) fn state(&self) -> WorkerState {
        match (self.ready, self.pipeline.is_empty()) {
            (false, _) => WorkerState::Starting,
            (true, true) => WorkerState::Idle,
            (true, false) => WorkerState::Busy,
        }
    }

    /// What changes as it gets on: whether it is ready, and the number of the task that it is busy with.
    pub(super) fn progress(&self) -> (bool, Option<u64>) {
        (self.ready, self.pipeline.front().map(|first| first.sequence))
    }

    /// Its own memory in bytes, if it can be read.
    pub(super) fn memory(&self) -> Option<u64> {
        self.process.own_memory().ok()
    }

    /// Whether its memory has a limit and may grow.
    pub(super) fn to_be_measured(&self) -> bool {
        self.memory_limit.is_some() && !self.pipeline.is_empty()
    }

    pub(super) fn exceeds_its_memory(&self) -> bool {
        let limit = self.memory_limit.filter(|_| self.to_be_measured());
        let exceeds = |limit: u64| self.memory() > Some(limit.saturating_add(self.report.allowance()));
        limit.is_some_and(exceeds)
    }

    /// The connection, and what to wait for there.
    pub(super) fn interest(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        let mut events = PollFlags::POLLIN;
        events.set(PollFlags::POLLOUT, !self.outbox.is_empty());
        self.hung_up.is_none().then(|| (self.connection.as_fd(), events))
    }

    /// Whether it can take a task, when `pipeline` are allowed in any case, and more if they are small.
    pub(super) fn has_room(&self, pipeline: usize) -> bool {
        let room = self.pipeline.len() < pipeline || (pipeline >= PIPELINE && self.work < IN_HAND / 2);
        let brief = self.pipeline.front().is_none_or(|first| first.grace.is_none() && first.since.elapsed() < BRIEF);
        self.ready && self.hung_up.is_none() && room && brief && self.serves_on()
    }

    /// Whether it has nothing to do and could have something.
    pub(super) fn is_idle(&self) -> bool {
        self.pipeline.is_empty() && self.has_room(1)
    }

    /// Whether it has less in hand than it shall have.
    pub(super) fn wants_more(&self) -> bool {
        self.pipeline.len() < PIPELINE || self.work < IN_HAND
    }

    /// Whether something waits behind its first task that might be taken back.
    pub(super) fn may_hoard(&self) -> bool {
        self.pipeline.len() > 1 && self.pipeline.front().is_some_and(|first| first.sequence != self.vain)
    }

    /// Whether others could do what waits behind its first task, and should: that one has run for long, or they will, by
    /// what is known of them now.
    pub(super) fn hoards(&self, now: Instant, pace: Duration, chunk: usize) -> bool {
        let Some(first) = self.pipeline.front().filter(|_| self.may_hoard()) else { return false };
        let behind = self.pipeline.len() - 1;
        let patience = if chunk > 1 { BRIEF } else { HOARD };
        let long = now.saturating_duration_since(first.since) >= patience;
        long || (chunk <= 1 && behind > 1 && pace.saturating_mul(behind as u32) >= HOARD)
    }

    /// Takes back the tasks that it has not begun, from the last to the first.
    pub(super) fn recall(&mut self) -> Vec<InHand> {
        let begun = self.report.recall(self.sequence);
        let kept = self.pipeline.iter().take_while(|in_hand| in_hand.sequence <= begun).count();
        let recalled: Vec<InHand> = self.pipeline.drain(kept..).rev().collect();
        self.work = self.pipeline.iter().map(|in_hand| in_hand.cost).sum();
        if recalled.is_empty() {
            self.vain = self.pipeline.front().map_or(0, |first| first.sequence);
        }
        recalled
    }

    /// Asks to be woken when some of what it has in hand is answered: the first task, or half of them if they are many and so
    /// small. It is to be looked at once more after this.
    pub(super) fn wake_me(&self) {
        let place = if self.pipeline.len() > PIPELINE { self.pipeline.len() / 2 } else { 0 };
        match self.pipeline.get(place) {
            Some(in_hand) => self.report.wake_at(in_hand.sequence),
            None => self.report.awake(),
        }
    }

    /// Whether it may be answering without waking the pool.
    pub(super) fn is_quiet(&self) -> bool {
        self.pipeline.len() > PIPELINE
    }

    /// Whether there is an answer in its ring; or nonsense, which is to be looked at as well.
    pub(super) fn has_answered(&mut self) -> bool {
        self.early.iter().any(Option::is_some) || !matches!(self.answers.has_record(), Ok(false))
    }

    /// Notes that so many tasks have been answered since it was last looked at; how long each took, if any.
    pub(super) fn took(&mut self, tasks: u32) -> Option<Duration> {
        if tasks == 0 {
            return None;
        }
        let now = Instant::now();
        let time = now.saturating_duration_since(self.since);
        self.since = now;
        if let Some(next) = self.pipeline.front_mut() {
            next.since = now;
        }
        Some(time / tasks)
    }

    /// Whether it may have one more task before it is replaced.
    pub(super) fn serves_on(&self) -> bool {
        self.sequence < self.max_tasks
    }

    /// Whether it has ended all tasks that it may have.
    pub(super) fn spent(&self) -> bool {
        self.pipeline.is_empty() && !self.serves_on()
    }

    /// Sends a task, which is then in the pipeline; and its job before it, if the worker does not have it yet.
    ///
    /// # Errors
    /// The task comes back if it cannot be sent.
    pub(super) fn assign(&mut self, mut task: Task, entry: &Entry, now: Instant) -> Result<(), (Task, io::Error)> {
        if let Err(error) = task.payload.prepare().and_then(|()| self.open(task.job, entry)) {
            return Err((task, error));
        }
        self.sequence += 1;
        let message = ToWorker::Task { job: task.job, sequence: self.sequence, shared: task.payload.shared() };
        match self.send(&message, task.payload.tail(), &task.payload.descriptors()) {
            Ok(()) => {
                if self.pipeline.is_empty() {
                    self.since = now;
                }
                let cost = entry.pace;
                self.work += cost;
                self.pipeline.push_back(InHand {
                    sequence: self.sequence,
                    task,
                    since: now,
                    cost,
                    abandoned: false,
                    stop: Stop::default(),
                    grace: None,
                });
                Ok(())
            }
            Err(error) => Err((task, error)),
        }
    }

    fn open(&mut self, job: u64, entry: &Entry) -> io::Result<()> {
        if self.opened.contains(&job) {
            return Ok(());
        }
        let Opening { inbox, function, schema, setup, .. } = &entry.opening;
        let (flag, schema) = (inbox.slot(), *schema);
        let message = ToWorker::Open { job, flag, function, schema, shared: setup.shared() };
        self.send(&message, setup.tail(), &setup.descriptors())?;
        self.opened.insert(job);
        Ok(())
    }

    /// Lets the worker forget a job.
    pub(super) fn close(&mut self, job: u64) {
        if self.opened.remove(&job) {
            // If it cannot be told, it is about to die.
            let _ = self.send(&ToWorker::Close { job }, &[], &[]);
        }
    }

    /// Adds a message to the next packet. One with descriptors has a packet of its own, which is sent at once.
    fn send<M: Serialize>(&mut self, message: &M, tail: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
        if !self.batch.is_empty() && (!descriptors.is_empty() || self.batch.len() + tail.len() > BATCH) {
            self.post();
        }
        if descriptors.is_empty() {
            return wire::append(&mut self.batch, message, tail).map_err(invalid);
        }
        let head = wire::encode(message, tail.len()).map_err(invalid)?;
        if self.outbox.is_empty() {
            match self.connection.send(&head, tail, descriptors, false) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // The other end is gone: the death that follows says what becomes of the pipeline.
                Err(error) if is_hang_up(&error) => return Ok(()),
                other => return other,
            }
        }
        let descriptors = descriptors.iter().map(BorrowedFd::try_clone_to_owned).collect::<io::Result<_>>()?;
        self.outbox.push_back(Waiting { head, tail: tail.to_vec(), descriptors });
        Ok(())
    }

    /// Sends the messages that have been added up.
    pub(super) fn post(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        if self.outbox.is_empty() {
            match self.connection.send(&self.batch, &[], &[], false) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if !is_hang_up(&error) => {
                    self.unsent = Some(error.to_string());
                    return self.batch.clear();
                }
                Ok(()) | Err(_) => return self.batch.clear(),
            }
        }
        self.outbox.push_back(Waiting {
            head: std::mem::take(&mut self.batch),
            tail: Vec::new(),
            descriptors: Vec::new(),
        });
    }

    /// Sends what has waited for room.
    pub(super) fn flush(&mut self) {
        while let Some(waiting) = self.outbox.front() {
            let descriptors: Vec<_> = waiting.descriptors.iter().map(AsFd::as_fd).collect();
            match self.connection.send(&waiting.head, &waiting.tail, &descriptors, false) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    // As above; without this packet the others make no sense.
                    self.unsent = (!is_hang_up(&error)).then(|| error.to_string());
                    return self.outbox.clear();
                }
                Ok(()) => self.outbox.pop_front(),
            };
        }
    }

    /// Takes the next answer from the ring, if there is one and the last was taken.
    fn look_into_ring(&mut self) -> Result<(), String> {
        if self.early[RING].is_some() {
            return Ok(());
        }
        match self.answers.try_pop(&mut self.answer) {
            Ok(None) => Ok(()),
            Ok(Some(tag)) => {
                let parts = self.answer.split_first_chunk().zip(Outcome::from_number(tag));
                let ((sequence, payload), outcome) = parts.ok_or("an answer that is none")?;
                let (sequence, payload) = (u64::from_le_bytes(*sequence), Payload::from(payload.to_vec()));
                self.early[RING] = Some(Early { sequence, outcome, payload });
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// The answer to the first task of the pipeline, if it is among those that have come.
    fn next_answer(&mut self) -> Option<Step> {
        let first = self.pipeline.front()?.sequence;
        let place = self.early.iter().position(|early| early.as_ref().is_some_and(|early| early.sequence == first))?;
        let (early, in_hand) = self.early[place].take().zip(self.pipeline.pop_front())?;
        self.work = self.work.saturating_sub(in_hand.cost);
        // What it has said since it began another one may be about that.
        if self.report.begun() <= first {
            self.text.clear();
        }
        Some(Step::Answer(in_hand, early.outcome, early.payload))
    }

    /// Takes the next thing that it has said: from its ring or, if `packets` says that there may be some or the ring that there
    /// must be, from a packet.
    pub(super) fn step(&mut self, config: &PoolConfig, buffer: &mut Buffer, packets: bool) -> Step {
        if let Some(what) = self.unsent.take() {
            return Step::Broken(format!("it cannot be told anything: {what}"));
        }
        // A packet may be behind answers in the ring that came after the first look.
        for _ in 0..2 {
            if let Err(what) = self.look_into_ring() {
                return Step::Broken(what);
            }
            if let Some(answer) = self.next_answer() {
                return answer;
            }
            let missing = self.early[RING].is_some();
            if self.early[PACKET].is_none() && (packets || missing) {
                match self.receive(config, buffer) {
                    Step::Nothing => {}
                    step => return step,
                }
            }
        }
        if self.early.iter().any(Option::is_some) {
            return Step::Broken("an answer that nothing was asked for".into());
        }
        Step::Nothing
    }

    /// Receives one packet, if there is one. An answer is put among the early ones.
    fn receive(&mut self, config: &PoolConfig, buffer: &mut Buffer) -> Step {
        if self.hung_up.is_some() {
            return Step::Nothing;
        }
        let received = match self.connection.receive(buffer, false) {
            Ok(Some(received)) => received,
            Ok(None) => return Step::HungUp,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Step::Nothing,
            Err(error) => return Step::Broken(error.to_string()),
        };
        let path = || config.program.path().to_owned();
        match wire::decode::<ToPool>(&buffer.bytes[..received.length]) {
            Ok((ToPool::Ready { identity }, _)) if !self.ready => {
                if identity != config.program.identity() {
                    let (ours, theirs) = (config.program.identity().to_owned(), identity.to_owned());
                    return Step::Refused(StartError::OtherBuild { path: path(), ours, theirs });
                }
                self.ready = true;
                Step::Ready
            }
            Ok((ToPool::Failed, tail)) if !self.ready => {
                let message = String::from_utf8_lossy(tail).into_owned();
                Step::Refused(StartError::Initializer { path: path(), message })
            }
            Ok((ToPool::Ended { sequence, outcome, shared }, tail)) => {
                match Payload::received(tail, shared, received.descriptors) {
                    Err(error) => Step::Broken(error.to_string()),
                    Ok(payload) => {
                        self.early[PACKET] = Some(Early { sequence, outcome, payload });
                        Step::Nothing
                    }
                }
            }
            Ok((ToPool::Log { level, line, lost }, tail)) => match &self.records {
                Some((records, source)) => match records.push(source, level, line, lost, tail) {
                    Ok(()) => Step::Logged,
                    Err(what) => Step::Broken(what.into()),
                },
                None => Step::Logged,
            },
            Ok((ToPool::Forked { .. } | ToPool::NotForked, _)) => Step::Broken("it speaks as a zygote".into()),
            Err(WireError::Version { theirs }) if !self.ready => {
                Step::Refused(StartError::OtherProtocol { path: path(), ours: wire::VERSION, theirs })
            }
            Ok((ToPool::Ready { .. } | ToPool::Failed, _)) => Step::Broken("it was ready twice".into()),
            Err(error) => Step::Broken(error.to_string()),
        }
    }
}

fn is_hang_up(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Message;
    use crate::payload::Outgoing;
    use crate::pool::inbox::Inbox;
    use crate::pool::tasks::Jobs;

    /// A worker whose other end is in the test's hands; its process only sleeps.
    fn worker() -> (Worker, Packets) {
        let (connection, theirs) = Packets::pair().expect("a pair");
        let (text, stderr) = Text::new().expect("a pipe");
        let words = ["60".into()];
        let report = Report::new().expect("memory");
        let worker = Worker {
            records: None,
            number: 1,
            process: Child::spawn("/bin/sleep".as_ref(), &words, stderr.as_fd(), stderr.as_fd()).expect("a process"),
            answers: report.answers().expect("a ring"),
            report,
            early: [None, None],
            answer: Vec::new(),
            batch: Vec::new(),
            work: Duration::ZERO,
            since: Instant::now(),
            unsent: None,
            vain: 0,
            text,
            started: Instant::now(),
            ready: true,
            hung_up: None,
            pipeline: VecDeque::new(),
            memory_limit: None,
            max_tasks: u64::MAX,
            connection,
            opened: HashSet::new(),
            outbox: VecDeque::new(),
            sequence: 0,
        };
        (worker, theirs)
    }

    #[test]
    fn what_finds_no_room_is_sent_later_whole_and_in_order() {
        let (mut worker, theirs) = worker();
        let mut jobs = Jobs::default();
        let (reader, _writer) = io::pipe().expect("a pipe");
        let setup = Outgoing::new(Message { bytes: vec![1; 60_000], descriptors: vec![reader.into()] });
        let flag = Arc::new(Flags::new().expect("memory")).flag(5).expect("room");
        let inbox = Arc::new(Inbox::new(5, flag, true));
        jobs.open(Opening { inbox, function: "function".into(), schema: 3, setup, retries: 0, chunk: 1 });
        let entry = jobs.entry(5).expect("it was opened");
        for id in 0..10 {
            // Every second one travels as a descriptor.
            let payload = Outgoing::new(Message::plain(vec![id as u8; if id % 2 == 0 { 60_000 } else { 70_000 }]));
            worker
                .assign(Task { job: 5, id, payload, unlucky: 0, retries: 0 }, entry, Instant::now())
                .expect("it is sent or kept");
        }
        worker.close(5);
        worker.post();
        assert!(!worker.outbox.is_empty(), "there is no room for all of this");
        assert!(worker.interest().is_some_and(|(_, events)| events.contains(PollFlags::POLLOUT)));

        let mut buffer = Buffer::new();
        let mut receive = || {
            worker.flush();
            let received = theirs.receive(&mut buffer, false).expect("a packet").expect("not the end");
            let packet = buffer.bytes[..received.length].to_vec();
            (packet, received.descriptors)
        };
        let (packet, descriptors) = receive();
        let (message, tail) = wire::decode::<ToWorker>(&packet).expect("a frame");
        assert_eq!(message, ToWorker::Open { job: 5, flag: 0, function: "function", schema: 3, shared: false });
        assert_eq!((tail.len(), descriptors.len()), (60_000, 1));
        for id in 0..10 {
            let (packet, descriptors) = receive();
            let (message, tail) = wire::decode::<ToWorker>(&packet).expect("a frame");
            let shared = id % 2 == 1;
            assert_eq!(message, ToWorker::Task { job: 5, sequence: id + 1, shared });
            let payload = Payload::received(tail, shared, descriptors).expect("sealed memory, if any");
            assert_eq!(*payload, vec![id as u8; if shared { 70_000 } else { 60_000 }]);
        }
        let (packet, _) = receive();
        assert_eq!(wire::decode::<ToWorker>(&packet).expect("a frame").0, ToWorker::Close { job: 5 });
        worker.process.kill();
        while !worker.process.is_gone() {
            std::thread::yield_now();
        }
    }
}
