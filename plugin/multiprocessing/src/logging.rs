//! Records of the log that were made in other processes, and a logger for those who have none.
//!
//! A process that this library starts has no logger of its own. It sends its records to its parent, whose logger they
//! reach as if they had been made there, with the other process's name and number before the message; those of a worker on another
//! machine have its launcher and that machine before these. Which ones it sends is what [`log::max_level`] said in the parent when it
//! was started, so without a logger in the parent none are sent.

use crate::wire::LogText;
use log::{Level, LevelFilter, Log, Metadata};
use nix::sys::signal::SigSet;
use std::collections::VecDeque;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

/// The name of the thread that calls the logger.
const THREAD: &str = "log";

/// So many records wait for the logger; what comes beyond them is lost, and counted.
const WAITING: usize = 4096;

/// A record from another process.
#[derive(Debug)]
struct Foreign {
    /// The other process, as it is shown.
    source: Arc<str>,
    level: Level,
    target: String,
    module: Option<String>,
    file: Option<String>,
    line: Option<u32>,
    message: String,
}

impl Foreign {
    /// Gives it to this process's logger.
    fn emit(&self) {
        let metadata = Metadata::builder().level(self.level).target(&self.target).build();
        let logger = log::logger();
        if self.level <= log::max_level() && logger.enabled(&metadata) {
            logger.log(
                &log::Record::builder()
                    .metadata(metadata)
                    .module_path(self.module.as_deref())
                    .file(self.file.as_deref())
                    .line(self.line)
                    .args(format_args!("[{}] {}", self.source, self.message))
                    .build(),
            );
        }
    }
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Foreign>,
    /// How many were lost since the last one that was not, and whose the last of them was.
    lost: Option<(Arc<str>, u64)>,
    /// The logger has one of them now.
    emitting: bool,
    emitted: u64,
    /// Nobody can push any more.
    closed: bool,
}

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread: it alone calls the logger, which may take its time or wait for whatever it wants, so that nobody who
    /// serves a process ever does. It ends when nobody can push any more.
    fn run(&self) {
        let _ = SigSet::all().thread_block();
        let mut state = self.lock();
        loop {
            if let Some(record) = state.waiting.pop_front().or_else(|| lost_here(&mut state)) {
                state.emitting = true;
                drop(state);
                // A logger that panics costs the record.
                let _ = catch_unwind(AssertUnwindSafe(|| record.emit()));
                state = self.lock();
                state.emitting = false;
                state.emitted += 1;
                self.changed.notify_all();
            } else if state.closed {
                return;
            } else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

/// The way to this process's logger. Its thread ends with the last of these.
#[derive(Debug)]
pub(crate) struct Records {
    queue: Arc<Queue>,
}

static RECORDS: Mutex<Weak<Records>> = Mutex::new(Weak::new());

impl Records {
    /// The one of this process, if records are wanted at all.
    pub(crate) fn wanted() -> io::Result<Option<Arc<Records>>> {
        if log::max_level() == LevelFilter::Off {
            return Ok(None);
        }
        let mut current = RECORDS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(records) = current.upgrade() {
            return Ok(Some(records));
        }
        let queue = Arc::<Queue>::default();
        let served = Arc::clone(&queue);
        thread::Builder::new().name(THREAD.into()).spawn(move || served.run())?;
        let records = Arc::new(Records { queue });
        *current = Arc::downgrade(&records);
        Ok(Some(records))
    }

    /// Takes what a process has sent: a [`Log`](crate::wire::ToPool::Log) message and its tail. `source` is how the process is shown.
    ///
    /// # Errors
    /// It is no record.
    pub(crate) fn push(
        &self,
        source: &Arc<str>,
        level: u8,
        line: Option<u32>,
        lost: u64,
        tail: &[u8],
    ) -> Result<(), &'static str> {
        const NO_RECORD: &str = "a record of the log that is none";
        let text: LogText<'_> = postcard::from_bytes(tail).map_err(|_| NO_RECORD)?;
        let level = Level::iter().find(|known| *known as u8 == level).ok_or(NO_RECORD)?;
        if lost > 0 {
            self.add(lost_records(source, lost));
        }
        if !(text.message.is_empty() && lost > 0) {
            self.add(Foreign {
                source: Arc::clone(source),
                level,
                target: text.target.to_owned(),
                module: text.module.map(str::to_owned),
                file: text.file.map(str::to_owned),
                line,
                message: text.message.to_owned(),
            });
        }
        Ok(())
    }

    fn add(&self, record: Foreign) {
        let mut state = self.queue.lock();
        if state.waiting.len() >= WAITING {
            let before = state.lost.take().map_or(0, |(_, count)| count);
            state.lost = Some((record.source, before + 1));
            return;
        }
        if let Some(lost) = lost_here(&mut state) {
            state.waiting.push_back(lost);
        }
        state.waiting.push_back(record);
        self.queue.changed.notify_all();
    }

    /// Waits until the logger has had what was pushed before this, but no longer than `patience`: the logger may be waiting for
    /// something that the caller holds.
    pub(crate) fn flush(&self, patience: Duration) {
        if thread::current().name() == Some(THREAD) {
            return;
        }
        let deadline = Instant::now() + patience;
        let mut state = self.queue.lock();
        let until = state.emitted + state.waiting.len() as u64 + u64::from(state.emitting);
        while state.emitted < until {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self.queue.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Records {
    fn drop(&mut self) {
        self.queue.lock().closed = true;
        self.queue.changed.notify_all();
    }
}

/// Tells what was lost for want of room here.
fn lost_here(state: &mut State) -> Option<Foreign> {
    state.lost.take().map(|(source, count)| lost_records(&source, count))
}

fn lost_records(source: &Arc<str>, lost: u64) -> Foreign {
    Foreign {
        source: Arc::clone(source),
        level: Level::Warn,
        target: env!("CARGO_PKG_NAME").into(),
        module: None,
        file: None,
        line: None,
        message: format!("{lost} records of the log found no room and are lost"),
    }
}

/// How a process is shown before its records.
pub(crate) fn source(name: &str, pid: u32) -> Arc<str> {
    format!("{name}/{pid}").into()
}

/// Writes each record as one line to standard error.
struct Stderr;

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            // Nobody can be told that nobody reads it.
            let line = format!("[{}] {}: {}\n", record.level(), record.target(), record.args());
            let _ = io::stderr().write_all(line.as_bytes());
        }
    }

    fn flush(&self) {}
}

/// Lets this process write its log to standard error, and that of the processes that it starts from now on: CPython's
/// `log_to_stderr`. It is for programs that have no logger of their own; those that have one need nothing.
///
/// ```
/// multiprocessing::log_to_stderr(log::LevelFilter::Info)?;
/// log::info!("on standard error: [INFO] and the target before it");
/// # Ok::<(), log::SetLoggerError>(())
/// ```
///
/// # Errors
/// This process has a logger already. In a process that this library has started it has one that sends the records to the
/// parent, unless the parent wants none.
pub fn log_to_stderr(level: LevelFilter) -> Result<(), log::SetLoggerError> {
    log::set_logger(&Stderr)?;
    log::set_max_level(level);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_record_is_refused() {
        let records = Records { queue: Arc::default() };
        let source = source("name", 7);
        let text = LogText { target: "target", module: None, file: None, message: "message" };
        let tail = postcard::to_stdvec(&text).expect("text");
        assert!(records.push(&source, 9, None, 0, &tail).is_err());
        assert!(records.push(&source, 1, None, 0, &tail[1..]).is_err());
        assert!(records.push(&source, 1, None, 3, &tail).is_ok());
        let state = records.queue.lock();
        assert_eq!(state.waiting.len(), 2);
        assert_eq!(state.waiting[0].message, "3 records of the log found no room and are lost");
        assert_eq!(state.waiting[1].message, "message");
    }

    #[test]
    fn a_logger_that_stands_still_costs_bounded_memory() {
        let records = Records { queue: Arc::default() };
        let source = source("name", 7);
        let tail = postcard::to_stdvec(&LogText { target: "", module: None, file: None, message: "x" }).expect("text");
        for _ in 0..WAITING + 10 {
            records.push(&source, 1, None, 0, &tail).expect("a record");
        }
        let started = Instant::now();
        records.flush(Duration::from_millis(1));
        assert!(started.elapsed() < Duration::from_secs(20));
        records.queue.lock().waiting.clear();
        records.push(&source, 1, None, 0, &tail).expect("a record");
        let state = records.queue.lock();
        assert_eq!(state.waiting[0].message, "10 records of the log found no room and are lost");
        assert_eq!(state.waiting.len(), 2);
    }
}
