//! The threads of a seat whose worker is on another machine: one starts it, receives from it and in the end attends to what
//! carried the connection; another one sends. The dispatcher hears of it all by commands, and waits for none of it.

use super::mailbox::{Mailbox, Order, Source, Work};
use super::{Event, Unready};
use crate::error::{StartError, TaskError};
use crate::failure::Failure;
use crate::launch::{Launcher, Transport};
use crate::link::{Carried, LinkError, Receiver, Sender};
use crate::logging::Records;
use crate::payload::{Elsewhere, Payload};
use crate::pool::PoolConfig;
use crate::pool::commands::{Command, Commands};
use crate::pool::text::Text;
use crate::stream::{ToAgent, ToEngine};
use crate::sync::word::Until;
use crate::wait;
use crate::wire::{self, WireError};
use nix::poll::{PollFd, PollFlags};
use nix::sys::signal::SigSet;
use std::io;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long a worker may take to end, and to send what is left of its log.
const PARTING: Duration = Duration::from_millis(500);
/// How long what carried a connection may take to end.
const END_PATIENCE: Duration = Duration::from_millis(600);
/// So many messages that have come are taken from a connection that is not wanted any more; a worker may never stop to log.
const LAST_WORDS: usize = 4096;
/// So many bytes of what it said last are told.
const SAID_LIMIT: usize = 500;
/// So many lines of it.
const SAID_LINES: usize = 3;

/// By which the dispatcher ends the threads.
#[derive(Debug, Default)]
pub(super) struct Control {
    stopped: AtomicBool,
    sender: Mutex<Option<Arc<Sender>>>,
}

impl Control {
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        if let Some(sender) = &*self.sender.lock().unwrap_or_else(PoisonError::into_inner) {
            sender.stop();
        }
    }

    /// Makes the sending half known, or forgotten.
    fn set(&self, sender: Option<Arc<Sender>>) {
        *self.sender.lock().unwrap_or_else(PoisonError::into_inner) = sender;
    }

    fn stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }
}

/// What the threads know.
#[derive(Debug)]
pub(super) struct Courier {
    pub(super) attempt: u64,
    pub(super) launcher: Arc<dyn Launcher>,
    pub(super) config: PoolConfig,
    pub(super) commands: Arc<Commands>,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) control: Arc<Control>,
}

/// A connection under way.
struct Line {
    receiver: Receiver,
    sender: Arc<Sender>,
    text: Option<Text>,
    /// Where the records of the worker's log go, and how it is shown there.
    records: Option<(Arc<Records>, Arc<str>)>,
    /// How many messages have come since the connection is not wanted any more.
    last_words: usize,
    /// What is left of the worker's log is waited for.
    parting: bool,
}

impl Courier {
    /// The seat's thread, until its worker is lost or not wanted any more.
    pub(super) fn run(self) {
        // The host's signals are for the host's threads.
        let _ = SigSet::all().thread_block();
        // A launcher is foreign code.
        let launched = catch_unwind(AssertUnwindSafe(|| self.launcher.launch(&|| !self.control.stopped())));
        let ended = match launched {
            Ok(Ok(transport)) => self.attend(transport),
            Ok(Err(error)) => Event::Down(Unready::NotStarted(self.failed(error.to_string()))),
            Err(_) => Event::Down(Unready::NotStarted(self.failed("its launcher panicked".into()))),
        };
        self.tell(ended);
    }

    fn tell(&self, event: Event) {
        self.commands.send(Command::Remote(self.attempt, event));
    }

    fn failed(&self, reason: String) -> StartError {
        StartError::Launch { launcher: self.launcher.name(), reason }
    }

    /// The whole of a connection; how it ended.
    fn attend(&self, transport: Transport) -> Event {
        let Transport { reader, writer, stderr, mut carrier } = transport;
        let silence = self.config.remote_silence.max(Duration::from_millis(1));
        let halves = Receiver::new(reader).and_then(|receiver| Ok((receiver, Sender::new(writer, silence)?)));
        let text = stderr.map(Text::over).transpose();
        let mut ready = false;
        let (error, noise, mut text) = match (halves, text) {
            (Ok((receiver, sender)), Ok(text)) => {
                self.control.set(Some(Arc::clone(&sender)));
                if self.control.stopped() {
                    sender.stop();
                }
                let mut line = Line { receiver, sender, text, records: None, last_words: 0, parting: false };
                let error = self.converse(&mut line, &mut ready);
                self.control.set(None);
                let noise = if line.receiver.greeted() { String::new() } else { line.receiver.noise() };
                (error, noise, line.text)
            }
            (Err(error), _) | (_, Err(error)) => (self.unready(error.into()), String::new(), None),
        };
        // The connection is closed by now: what carried it sees that.
        let patience = if self.control.stopped() { END_PATIENCE / 2 } else { END_PATIENCE };
        let status = carrier.as_mut().and_then(|carrier| carrier.end(patience));
        let reason = match &error {
            Unready::NotStarted(StartError::Launch { reason, .. }) => reason,
            // What says all there is to say.
            Unready::NotStarted(_) => return Event::Down(error),
            Unready::Lost(reason) => reason,
        };
        let said = text.as_mut().map(|text| last_lines(&text.take())).unwrap_or_default();
        let reason = explained(reason, status.as_deref(), &said, &noise);
        Event::Down(if ready {
            Unready::Lost(format!("{}: {reason}", self.launcher.name()))
        } else {
            Unready::NotStarted(self.failed(reason))
        })
    }

    /// Why there is no worker, when the connection has failed before it was ready.
    fn unready(&self, error: LinkError) -> Unready {
        let path = || PathBuf::from(self.launcher.name());
        Unready::NotStarted(match error {
            LinkError::Wire(WireError::Version { theirs }) => {
                StartError::OtherProtocol { path: path(), ours: wire::VERSION, theirs }
            }
            other => self.failed(other.to_string()),
        })
    }

    /// Talks until there is nothing more to say.
    fn converse(&self, line: &mut Line, ready: &mut bool) -> Unready {
        if let Err(error) = self.greet(line) {
            return error;
        }
        *ready = true;
        let failed = Mutex::new(None);
        let error = thread::scope(|scope| {
            let (sender, failed) = (Arc::clone(&line.sender), &failed);
            let sending = move || {
                let _ = SigSet::all().thread_block();
                if let Err(error) = self.send(&sender) {
                    *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                }
                if self.control.stopped() {
                    // Behind a frame that is not whole this is refused.
                    let _ = sender.send(&ToAgent::End, &[]);
                }
                sender.stop();
            };
            let thread = thread::Builder::new().name("remote-send".into()).spawn_scoped(scope, sending);
            let error = match thread {
                Ok(_) => self.receive(line),
                Err(error) => error.into(),
            };
            line.sender.stop();
            self.mailbox.end();
            if self.control.stopped() && line.records.is_some() {
                line.part();
            }
            error
        });
        let first = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
        // The end of what is received says more than that nothing can be sent.
        Unready::Lost(match (error, first) {
            (LinkError::Stopped, Some(first)) => first.to_string(),
            (error, _) => error.to_string(),
        })
    }

    /// From the first byte to a worker that is ready.
    fn greet(&self, line: &mut Line) -> Result<(), Unready> {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let config = &self.config;
        let initializer = config.initializer.as_ref();
        let argument = match initializer.map(|initializer| &initializer.argument) {
            None => Vec::new().into(),
            Some(argument) if argument.is_portable() => {
                argument.contents().map_err(|error| self.unready(error.into()))?
            }
            Some(_) => {
                let what = "its initializer's argument holds a handle, and none travels to another machine";
                return Err(Unready::NotStarted(self.failed(what.into())));
            }
        };
        let records = Records::wanted().map_err(|error| self.unready(error.into()))?;
        let hello = ToAgent::Hello {
            identity: config.program.identity().into(),
            memory_limit: config.memory_limit,
            task_timeout: config.task_timeout.map(micros),
            start_timeout: micros(config.start_timeout),
            silence: micros(config.remote_silence),
            max_tasks: config.max_tasks_per_worker,
            log_level: records.as_ref().map_or(0, |_| log::max_level() as u8),
            initializer: initializer.map(|initializer| (initializer.function.into(), initializer.schema)),
            length: argument.len() as u64,
        };
        // One that has ended already may have said why.
        let sent = line
            .sender
            .preamble()
            .and_then(|()| line.sender.send_payload(&hello, &ToAgent::Part, &argument, || Ok(())));
        let deadline = Instant::now().checked_add(config.remote_start_timeout);
        loop {
            let step = line.next(deadline);
            match step {
                Ok(Some((ToEngine::Here { identity, host, pid }, _))) => {
                    if identity != config.program.identity() {
                        let (ours, theirs) = (config.program.identity().to_owned(), identity);
                        let path = PathBuf::from(format!("{} ({host})", self.launcher.name()));
                        return Err(Unready::NotStarted(StartError::OtherBuild { path, ours, theirs }));
                    }
                    let place = format!("{} ({host})", self.launcher.name());
                    line.records = records.clone().map(|records| (records, place.into()));
                    self.tell(Event::Here { machine: host, pid });
                }
                Ok(Some((ToEngine::Ready { memory }, _))) => {
                    sent.map_err(|error| self.unready(error))?;
                    self.tell(Event::Ready { memory });
                    return Ok(());
                }
                Ok(Some((ToEngine::Failed { .. }, reason))) => {
                    let reason = reason.into_payload().map(|text| String::from_utf8_lossy(&text).into_owned());
                    return Err(Unready::NotStarted(self.failed(reason.unwrap_or_else(|error| error.to_string()))));
                }
                Ok(Some((ToEngine::Beat { .. }, _))) => {}
                Ok(Some((ToEngine::Log { level, line: number }, tail))) => {
                    line.log(level, number, tail).map_err(|error| self.unready(error))?;
                }
                Ok(Some(_)) => {
                    return Err(Unready::NotStarted(self.failed("it says what no worker says at its start".into())));
                }
                Ok(None) => {
                    let seconds = config.remote_start_timeout.as_secs_f32();
                    return Err(Unready::NotStarted(self.failed(format!("no worker was ready within {seconds} s"))));
                }
                Err(error) => return Err(self.unready(error)),
            }
        }
    }

    /// Receives until the connection ends.
    fn receive(&self, line: &mut Line) -> LinkError {
        let silence = self.config.remote_silence;
        line.receiver.heard = Instant::now();
        loop {
            let now = Instant::now();
            match line.next(now.checked_add(silence / 4)) {
                Ok(Some((ToEngine::Ended { sequence, good, deaths, memory, .. }, carried))) => {
                    let result = self.result(good, carried);
                    self.tell(Event::Ended { sequence, deaths, memory, result });
                }
                Ok(Some((ToEngine::Beat { memory }, _))) => self.tell(Event::Measured { memory }),
                Ok(Some((ToEngine::Log { level, line: number }, tail))) => {
                    if let Err(error) = line.log(level, number, tail) {
                        return error;
                    }
                }
                Ok(Some((other, _))) => {
                    let what = format!("it says {other:?} where that makes no sense");
                    return io::Error::new(io::ErrorKind::InvalidData, what).into();
                }
                Ok(None) if line.receiver.heard.elapsed() > silence => return LinkError::Silent(silence),
                Ok(None) => {}
                Err(error) => return error,
            }
            if let Err(error) = line.sender.beat(|| ToAgent::Beat) {
                return error;
            }
        }
    }

    fn result(&self, good: bool, carried: Carried) -> Result<Payload, TaskError> {
        let payload = carried.into_payload().map_err(|error| TaskError::Decode(format!("its value: {error}")))?;
        if good {
            return Ok(payload);
        }
        Err(match postcard::from_bytes::<Failure>(&payload) {
            Ok(failure) => failure.into_error(&self.launcher.name()),
            Err(error) => TaskError::Decode(format!("its error: {error}")),
        })
    }

    /// Sends what there is to send, until the end.
    fn send(&self, sender: &Sender) -> Result<(), LinkError> {
        let urgent = || match self.mailbox.take_urgent() {
            _ if sender.is_stopped() => Err(LinkError::Stopped),
            Some(message) => sender.send(&message, &[]),
            None => Ok(()),
        };
        while let Some(work) = self.mailbox.take() {
            match work {
                Work::Urgent(message) => sender.send(&message, &[])?,
                Work::Cancelled { sequence } => self.unsent(sequence, TaskError::Cancelled),
                Work::Order(Order::Close { job }) => sender.send(&ToAgent::Close { job }, &[])?,
                Work::Order(Order::Open { job, function, schema, setup }) => match self.make(setup) {
                    Ok(setup) => {
                        let length = setup.len() as u64;
                        sender.send_payload(
                            &ToAgent::Open { job, function, schema, length },
                            &ToAgent::Part,
                            &setup,
                            urgent,
                        )?;
                    }
                    // The tasks, which are of no job then, end the connection; it is memory that is lacking.
                    Err(error) => return Err(io::Error::other(error).into()),
                },
                Work::Order(Order::Task { job, sequence, payload }) => match self.make(payload) {
                    Ok(payload) => {
                        let length = payload.len() as u64;
                        let task = ToAgent::Task { job, sequence, length };
                        sender.send_payload(&task, &ToAgent::Part, &payload, urgent)?;
                    }
                    Err(error) => self.unsent(sequence, TaskError::Send(error)),
                },
            }
        }
        Ok(())
    }

    fn unsent(&self, sequence: u64, error: TaskError) {
        self.tell(Event::Unsent { sequence, error });
    }

    /// The bytes to send.
    fn make(&self, source: Source) -> Result<Payload, String> {
        match source {
            Source::Payload(payload) => Ok(payload),
            Source::Elsewhere(Elsewhere::Bytes(bytes), _) => Ok(bytes.to_vec().into()),
            Source::Elsewhere(Elsewhere::Made(make), place) => catch_unwind(AssertUnwindSafe(|| make(&place)))
                .unwrap_or_else(|_| Err("what should make its message has panicked".into()))
                .map(Payload::from),
        }
    }
}

impl Line {
    /// Takes a record of the worker's log.
    fn log(&self, level: u8, line: Option<u32>, tail: Carried) -> Result<(), LinkError> {
        let Some((records, source)) = &self.records else { return Ok(()) };
        let tail = tail.into_payload()?;
        records
            .push(source, level, line, 0, &tail)
            .map_err(|what| io::Error::new(io::ErrorKind::InvalidData, what).into())
    }

    /// Takes what is left of the worker's log, until the agent closes the connection, as it was asked to.
    fn part(&mut self) {
        self.parting = true;
        let deadline = Instant::now() + PARTING;
        while Instant::now() < deadline
            && let Ok(Some((message, carried))) = self.next(Some(deadline))
        {
            if let ToEngine::Log { level, line } = message
                && self.log(level, line, carried).is_err()
            {
                return;
            }
        }
    }

    /// The next message; `None` at the deadline.
    fn next(&mut self, deadline: Option<Instant>) -> Result<Option<(ToEngine, Carried)>, LinkError> {
        if self.sender.is_stopped() && !self.parting {
            self.last_words += 1;
            if self.last_words > LAST_WORDS {
                return Err(LinkError::Stopped);
            }
        }
        loop {
            if let Some(found) = self.receiver.take()? {
                return Ok(Some(found));
            }
            if self.receiver.fill()? {
                continue;
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Ok(None);
            }
            let stop = if self.parting { PollFlags::empty() } else { PollFlags::POLLIN };
            let mut entries =
                vec![PollFd::new(self.receiver.as_fd(), PollFlags::POLLIN), PollFd::new(self.sender.stopped(), stop)];
            entries.extend(self.text.as_ref().and_then(Text::pipe).map(|pipe| PollFd::new(pipe, PollFlags::POLLIN)));
            wait::poll(&mut entries, Until::Then(deadline))?;
            let stopped = entries[1].any() == Some(true);
            if let Some(text) = &mut self.text {
                text.read();
            }
            if stopped {
                return Err(LinkError::Stopped);
            }
        }
    }
}

/// Why a connection has failed, the first cause first: what was said last tells more of its end than the end itself. How its carrier
/// ended means something only if that was the first to end.
fn explained(error: &str, status: Option<&str>, said: &str, noise: &str) -> String {
    let quoted = if noise.is_empty() || error.contains(noise) { String::new() } else { format!("it said '{noise}'") };
    let words = [said, &quoted].into_iter().filter(|words| !words.is_empty());
    let ended = error == LinkError::End.to_string();
    let parts: Vec<&str> = match words.clone().next() {
        Some(_) if ended => words.collect(),
        _ => std::iter::once(error).chain(words).collect(),
    };
    let status = status.filter(|_| ended).map(|status| format!(" ({status})")).unwrap_or_default();
    parts.join("; ") + &status
}

/// The end of what somebody has said.
fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let text = lines[lines.len().saturating_sub(SAID_LINES)..].join("; ");
    let start = (text.len().saturating_sub(SAID_LIMIT)..=text.len()).find(|start| text.is_char_boundary(*start));
    text[start.unwrap_or(0)..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_is_told_first() {
        let end = LinkError::End.to_string();
        let status = Some("exited with code 255");
        let cases = [
            (explained(&end, status, "ssh: no such host", ""), "ssh: no such host (exited with code 255)"),
            (explained(&end, status, "", "go away"), "it said 'go away' (exited with code 255)"),
            (explained(&end, status, "", ""), "it closed the connection (exited with code 255)"),
            (explained(&end, None, "a", "b"), "a; it said 'b'"),
            (explained("silence", status, "queued", ""), "silence; queued"),
        ];
        for (found, expected) in cases {
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn the_last_lines_are_told() {
        assert_eq!(last_lines(" one\n\n two \nthree\r\nfour\n"), "two; three; four");
        assert_eq!(last_lines(""), "");
        assert_eq!(last_lines(&"ä".repeat(400)).len(), SAID_LIMIT);
    }
}
