//! What this process knows of one that it has started.

use super::child::{Child, ExitStatus};
use crate::futex::deadline;
use crate::logging::Records;
use crate::packets::{Buffer, Packets};
use crate::wait::wait_readable;
use crate::wire::{self, ToPool};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

/// So long the end of a process is kept from who waits for it, while the logger has not had its last records.
const LOGGER_PATIENCE: Duration = Duration::from_secs(1);

/// So many packets are taken from one process before others have their turn.
const PACKETS: usize = 64;

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) daemon: bool,
    pub(super) child: Child,
    status: Mutex<Option<ExitStatus>>,
    /// It is kept open until the process has ended.
    connection: Packets,
    records: Option<(Arc<Records>, Arc<str>)>,
    /// Nothing more comes through the connection.
    silent: AtomicBool,
    /// Held while packets are taken, lest they change their order.
    receiving: Mutex<()>,
}

/// All that have not ended yet, and some that have.
static ENTRIES: Mutex<Vec<Weak<Entry>>> = Mutex::new(Vec::new());

/// Those that have not ended.
pub(super) fn alive() -> Vec<Arc<Entry>> {
    let mut entries = ENTRIES.lock().unwrap_or_else(PoisonError::into_inner);
    let mut alive: Vec<_> = entries.iter().filter_map(Weak::upgrade).collect();
    alive.retain(|entry| entry.status().is_none());
    *entries = alive.iter().map(Arc::downgrade).collect();
    drop(entries);
    alive
}

impl Entry {
    pub(super) fn new(
        name: String,
        daemon: bool,
        child: Child,
        connection: Packets,
        records: Option<Arc<Records>>,
    ) -> Arc<Entry> {
        let source = crate::logging::source(&name, child.pid());
        let entry = Arc::new(Entry {
            name,
            daemon,
            child,
            status: Mutex::new(None),
            connection,
            records: records.map(|records| (records, source)),
            silent: AtomicBool::new(false),
            receiving: Mutex::new(()),
        });
        let mut entries = ENTRIES.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() == entries.capacity() {
            // Before it grows: those whose handles are gone.
            entries.retain(|entry| entry.strong_count() > 0);
        }
        entries.push(Arc::downgrade(&entry));
        entry
    }

    /// How it ended, if it has.
    pub(super) fn status(&self) -> Option<ExitStatus> {
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        if status.is_none() {
            *status = self.child.try_wait();
        }
        *status
    }

    /// Whether somebody must take the records of its log.
    pub(super) fn is_heard(&self) -> bool {
        self.records.is_some()
    }

    /// Where records come from, while any can.
    pub(super) fn records(&self) -> Option<BorrowedFd<'_>> {
        (self.is_heard() && !self.silent.load(Ordering::Relaxed)).then(|| self.connection.as_fd())
    }

    /// Takes some of the records that have come; whether there may be more.
    pub(super) fn receive(&self, buffer: &mut Buffer) -> bool {
        let Some((records, source)) = &self.records else { return false };
        let _receiving = self.receiving.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..PACKETS {
            if self.silent.load(Ordering::Relaxed) {
                return false;
            }
            let received = match self.connection.receive(buffer, false) {
                Ok(Some(received)) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Ok(None) | Err(_) => {
                    self.silent.store(true, Ordering::Relaxed);
                    return false;
                }
            };
            let taken = match wire::decode::<ToPool>(&buffer.bytes[..received.length]) {
                Ok((ToPool::Log { level, line, lost }, tail)) => records.push(source, level, line, lost, tail).is_ok(),
                _ => false,
            };
            if !taken {
                // What else it says is not listened to.
                self.silent.store(true, Ordering::Relaxed);
            }
        }
        true
    }

    /// Takes the records that it sent before it ended. They are not many, unless others write where it did.
    pub(super) fn receive_rest(&self, buffer: &mut Buffer) {
        for _ in 0..PACKETS {
            if !self.receive(buffer) {
                return;
            }
        }
    }

    /// Waits until it has ended, and its records have been passed on; `None` if it has not in this time.
    pub(super) fn join(&self, timeout: Option<Duration>) -> io::Result<Option<ExitStatus>> {
        let until = deadline(timeout);
        let status = loop {
            if let Some(status) = self.status() {
                break status;
            }
            if !wait_readable(self.child.as_fd(), until)? {
                return Ok(None);
            }
        };
        if let Some((records, _)) = &self.records {
            self.receive_rest(&mut Buffer::new());
            records.flush(LOGGER_PATIENCE);
        }
        Ok(Some(status))
    }
}
