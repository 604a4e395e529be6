//! What other threads ask of the dispatcher.

use super::WorkerStatus;
use super::inbox::Inbox;
use crate::error::StartError;
use crate::payload::Outgoing;
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// One wish.
#[derive(Debug)]
pub(super) enum Command {
    Open {
        inbox: Arc<Inbox>,
        function: String,
        setup: Outgoing,
    },
    Submit {
        inbox: Arc<Inbox>,
        id: u64,
        payload: Outgoing,
    },
    /// Results were taken from a job that had too many of them.
    Resume,
    Cancel {
        job: u64,
    },
    /// Nobody waits for this job any more.
    Close {
        job: u64,
    },
    Status(Sender<Vec<WorkerStatus>>),
    Restart(Sender<Result<(), StartError>>),
    Resize(usize),
    TaskTimeout(Option<Duration>),
    MemoryLimit(Option<u64>),
    Shutdown,
}

/// A queue that the dispatcher can wait for beside its sockets.
#[derive(Debug)]
pub(super) struct Commands {
    /// `None` once the dispatcher has ended.
    queue: Mutex<Option<Queue>>,
    event: EventFd,
}

#[derive(Debug, Default)]
struct Queue {
    commands: Vec<Command>,
    /// Whether the dispatcher was told that there is something.
    told: bool,
}

impl Commands {
    pub(super) fn new() -> io::Result<Commands> {
        let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Commands { queue: Mutex::new(Some(Queue::default())), event })
    }

    /// Gives the dispatcher a command. If it has ended, a task that the command brings ends too, and nothing else is owed.
    pub(super) fn send(&self, command: Command) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(waiting) = queue.as_mut() else {
            drop(queue);
            return refuse(command);
        };
        // There is nothing to do for a job before its first task: one command wakes the dispatcher for both.
        let tell = !waiting.told && !matches!(command, Command::Open { .. });
        waiting.told |= tell;
        waiting.commands.push(command);
        drop(queue);
        if tell {
            // It can only fail when the counter is full, and then the dispatcher is awake.
            let _ = self.event.write(1);
        }
    }

    /// All commands since the last call, in order.
    pub(super) fn take(&self) -> Vec<Command> {
        // First the event, then the queue: a command that comes in between makes a new event.
        let _ = self.event.read();
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.as_mut().map(std::mem::take).unwrap_or_default().commands
    }

    /// Takes no more commands.
    pub(super) fn close(&self) {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        queue.into_iter().flat_map(|queue| queue.commands).for_each(refuse);
    }
}

/// What a command comes to when there is no dispatcher.
fn refuse(command: Command) {
    if let Command::Submit { inbox, id, .. } = command {
        inbox.deliver(id, Err(crate::TaskError::Closed));
    }
}

impl AsFd for Commands {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}
