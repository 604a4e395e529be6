//! The logger of a process that this library has started: it sends the records to whoever started it, on this machine or on another.

use crate::bounded;
use crate::link::Sender;
use crate::packets::Packets;
use crate::stream::ToEngine;
use crate::wire::{self, LogText, ToPool};
use log::{Level, LevelFilter, Log, Metadata, Record};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// The longest message that is sent, in bytes. With it must fit two names and a path.
const MESSAGE: usize = 32 * 1024;
const NAME: usize = 1024;

/// So long, in milliseconds, a record waits for room. Once one has waited in vain, none waits until one finds room again: a
/// parent that stands still must not hold up its processes.
const PATIENCE: u16 = 20;
/// So long, in milliseconds, the end of the process waits to tell how many records were lost.
const LAST_PATIENCE: u16 = 500;

static FORWARD: OnceLock<Forward> = OnceLock::new();
static RELAY: OnceLock<Relay> = OnceLock::new();

/// Sends this process's records from now on. A program that has a logger of its own keeps that.
pub(super) fn install(level: u8, connection: &Packets) {
    let Ok(connection) = connection.as_fd().try_clone_to_owned().and_then(Packets::from_descriptor) else { return };
    let forward =
        FORWARD.get_or_init(|| Forward { connection, lost: AtomicU64::new(0), patient: AtomicBool::new(true) });
    if become_logger(level, forward) {
        // SAFETY: the function is there as long as the process, and touches nothing that ends before it.
        unsafe { libc::atexit(finish) };
    }
}

/// Sends the records of an agent, which its worker's reach as those of any process reach its parent, to the pool. A program that
/// has a logger of its own keeps that, for the worker's records too.
pub(super) fn install_relay(level: u8, sender: &Arc<Sender>) {
    become_logger(level, RELAY.get_or_init(|| Relay { sender: Arc::clone(sender) }));
}

/// Makes it this process's logger, unless there is one already or no records are wanted; whether it is.
fn become_logger(level: u8, logger: &'static dyn Log) -> bool {
    let level = LevelFilter::iter().find(|known| *known as u8 == level && *known != LevelFilter::Off);
    let level = level.filter(|_| log::set_logger(logger).is_ok());
    level.inspect(|level| log::set_max_level(*level)).is_some()
}

/// Whichever way the process leaves: tells what was lost.
extern "C" fn finish() {
    if let Some(forward) = FORWARD.get() {
        forward.finish();
    }
}

fn wanted(metadata: &Metadata<'_>) -> bool {
    metadata.level() <= log::max_level()
}

/// The texts of a record as they are sent: cut, where they are too long.
fn tail(record: &Record<'_>) -> io::Result<Vec<u8>> {
    let cut = |text: &str| bounded(text.to_owned(), NAME);
    let (target, message) = (cut(record.target()), bounded(record.args().to_string(), MESSAGE));
    let (module, file) = (record.module_path().map(cut), record.file().map(cut));
    encode(&LogText { target: &target, module: module.as_deref(), file: file.as_deref(), message: &message })
}

fn encode(text: &LogText<'_>) -> io::Result<Vec<u8>> {
    postcard::to_stdvec(text).map_err(io::Error::other)
}

/// The logger of a process: it waits for its parent for a moment at most, and counts what finds no room.
struct Forward {
    connection: Packets,
    lost: AtomicU64,
    patient: AtomicBool,
}

impl Forward {
    fn send(&self, level: Level, line: Option<u32>, tail: &[u8]) -> io::Result<()> {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        let message = ToPool::Log { level: level as u8, line, lost };
        let head = wire::encode(&message, tail.len()).map_err(io::Error::other);
        let sent = head.and_then(|head| self.connection.send(&head, tail, &[], false));
        if sent.is_err() {
            self.lost.fetch_add(lost, Ordering::Relaxed);
        }
        sent
    }

    /// Sends once there is room, if there is within so many milliseconds.
    fn send_patiently(&self, patience: u16, level: Level, line: Option<u32>, tail: &[u8]) -> io::Result<()> {
        match self.send(level, line, tail) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && patience > 0 => {
                let mut entry = [PollFd::new(self.connection.as_fd(), PollFlags::POLLOUT)];
                let _ = poll(&mut entry, PollTimeout::from(patience));
                self.send(level, line, tail)
            }
            other => other,
        }
    }

    fn finish(&self) {
        if self.lost.load(Ordering::Relaxed) > 0 {
            let text = encode(&LogText { target: "", module: None, file: None, message: "" });
            // Whoever does not read it does not want to know.
            let _ = text.and_then(|text| self.send_patiently(LAST_PATIENCE, Level::Warn, None, &text));
        }
    }
}

impl Log for Forward {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        wanted(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !wanted(record.metadata()) {
            return;
        }
        let patience = if self.patient.load(Ordering::Relaxed) { PATIENCE } else { 0 };
        let sent = tail(record).and_then(|tail| self.send_patiently(patience, record.level(), record.line(), &tail));
        self.patient.store(sent.is_ok(), Ordering::Relaxed);
        if sent.is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn flush(&self) {}
}

/// The logger of an agent: it waits for the connection, for it has a thread of its own for its worker's records, which are counted
/// where they find no room.
struct Relay {
    sender: Arc<Sender>,
}

impl Log for Relay {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        wanted(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if wanted(record.metadata())
            && let Ok(tail) = tail(record)
        {
            let message = ToEngine::Log { level: record.level() as u8, line: record.line() };
            // Without a connection the whole process ends.
            let _ = self.sender.send(&message, &tail);
        }
    }

    fn flush(&self) {}
}
