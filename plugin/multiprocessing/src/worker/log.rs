//! The logger of a process that this library has started: it sends the records to whoever started it.

use crate::bounded;
use crate::packets::Packets;
use crate::wire::{self, LogText, ToPool};
use log::{Level, LevelFilter, Log, Metadata};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io;
use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The longest message that is sent, in bytes. With it must fit two names and a path.
const MESSAGE: usize = 32 * 1024;
const NAME: usize = 1024;

/// So long, in milliseconds, a record waits for room. Once one has waited in vain, none waits until one finds room again: a
/// parent that stands still must not hold up its processes.
const PATIENCE: u16 = 20;
/// So long, in milliseconds, the end of the process waits to tell how many records were lost.
const LAST_PATIENCE: u16 = 500;

static FORWARD: OnceLock<Forward> = OnceLock::new();

struct Forward {
    connection: Packets,
    lost: AtomicU64,
    patient: AtomicBool,
}

/// Sends this process's records from now on. A program that has a logger of its own keeps that.
pub(super) fn install(level: u8, connection: &Packets) {
    let Some(level) = LevelFilter::iter().find(|known| *known as u8 == level && *known != LevelFilter::Off) else {
        return;
    };
    let Ok(connection) = connection.as_fd().try_clone_to_owned().and_then(Packets::from_descriptor) else { return };
    let forward =
        FORWARD.get_or_init(|| Forward { connection, lost: AtomicU64::new(0), patient: AtomicBool::new(true) });
    if log::set_logger(forward).is_ok() {
        log::set_max_level(level);
        // SAFETY: the function is there as long as the process, and touches nothing that ends before it.
        unsafe { libc::atexit(finish) };
    }
}

/// Whichever way the process leaves: tells what was lost.
extern "C" fn finish() {
    if let Some(forward) = FORWARD.get() {
        forward.finish();
    }
}

impl Forward {
    fn send(&self, level: Level, line: Option<u32>, text: &LogText<'_>) -> io::Result<()> {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        let sent = postcard::to_stdvec(text).map_err(io::Error::other).and_then(|tail| {
            let message = ToPool::Log { level: level as u8, line, lost };
            let head = wire::encode(&message, tail.len()).map_err(io::Error::other)?;
            self.connection.send(&head, &tail, &[], false)
        });
        if sent.is_err() {
            self.lost.fetch_add(lost, Ordering::Relaxed);
        }
        sent
    }

    /// Sends once there is room, if there is within so many milliseconds.
    fn send_patiently(&self, patience: u16, level: Level, line: Option<u32>, text: &LogText<'_>) -> io::Result<()> {
        match self.send(level, line, text) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && patience > 0 => {
                let mut entry = [PollFd::new(self.connection.as_fd(), PollFlags::POLLOUT)];
                let _ = poll(&mut entry, PollTimeout::from(patience));
                self.send(level, line, text)
            }
            other => other,
        }
    }

    fn finish(&self) {
        if self.lost.load(Ordering::Relaxed) > 0 {
            let text = LogText { target: "", module: None, file: None, message: "" };
            // Whoever does not read it does not want to know.
            let _ = self.send_patiently(LAST_PATIENCE, Level::Warn, None, &text);
        }
    }
}

impl Log for Forward {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let cut = |text: &str, limit| bounded(text.to_owned(), limit);
        let (target, message) = (cut(record.target(), NAME), bounded(record.args().to_string(), MESSAGE));
        let (module, file) =
            (record.module_path().map(|text| cut(text, NAME)), record.file().map(|text| cut(text, NAME)));
        let text = LogText { target: &target, module: module.as_deref(), file: file.as_deref(), message: &message };
        let patience = if self.patient.load(Ordering::Relaxed) { PATIENCE } else { 0 };
        let sent = self.send_patiently(patience, record.level(), record.line(), &text).is_ok();
        self.patient.store(sent, Ordering::Relaxed);
        if !sent {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn flush(&self) {}
}
