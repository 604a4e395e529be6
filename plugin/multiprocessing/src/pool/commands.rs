//! What other threads ask of the dispatcher.

use super::WorkerStatus;
use super::inbox::Inbox;
use super::remote;
use crate::error::StartError;
use crate::launch::Launcher;
use crate::payload::Outgoing;
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// One wish.
#[derive(Debug)]
pub(super) enum Command {
    Open(Opening),
    Submit {
        inbox: Arc<Inbox>,
        tasks: Vec<Submission>,
    },
    /// Results were taken from a job that had too many of them.
    Resume,
    Cancel {
        job: u64,
    },
    /// Nobody waits for this job any more. Its tasks run to their end, unless it was cancelled.
    Close {
        job: u64,
    },
    Status(Sender<Vec<WorkerStatus>>),
    Restart(Sender<Result<(), StartError>>),
    Resize(usize),
    SetRemote(Vec<Arc<dyn Launcher>>),
    /// Something has happened to a worker on another machine.
    Remote(u64, remote::Event),
    TaskTimeout(Option<Duration>),
    MemoryLimit(Option<u64>),
    /// There will be no more tasks: the end comes with that of the last.
    Finish,
    Shutdown,
}

/// A task's id and what it is to be run with.
pub(super) type Submission = (u64, Outgoing);

/// What a job is opened with.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) inbox: Arc<Inbox>,
    pub(super) function: String,
    /// A number for the function's types; 0 if they are not known.
    pub(super) schema: u64,
    pub(super) setup: Outgoing,
    /// How often a task may run again after it has cost a worker.
    pub(super) retries: u32,
    /// So many tasks in a row go to one worker.
    pub(super) chunk: usize,
}

/// A queue that the dispatcher can wait for beside its sockets.
#[derive(Debug)]
pub(super) struct Commands {
    /// `None` once the dispatcher has ended.
    queue: Mutex<Option<Queue>>,
    event: EventFd,
    /// Whether the dispatcher and all its workers are gone.
    over: Mutex<bool>,
    over_changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    commands: Vec<Command>,
    /// Whether the dispatcher sleeps and is to be woken.
    asleep: bool,
    /// Whether no more tasks are taken.
    finished: bool,
}

impl Commands {
    pub(super) fn new() -> io::Result<Commands> {
        let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let queue = Mutex::new(Some(Queue::default()));
        Ok(Commands { queue, event, over: Mutex::new(false), over_changed: Condvar::new() })
    }

    /// Gives the dispatcher a command. If it has ended, a task that the command brings ends too, and nothing else is owed.
    pub(super) fn send(&self, command: Command) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = |queue: &&mut Queue| !(queue.finished && matches!(command, Command::Submit { .. }));
        let Some(waiting) = queue.as_mut().filter(taken) else {
            drop(queue);
            return refuse(command);
        };
        waiting.finished |= matches!(command, Command::Finish);
        // There is nothing to do for a job before its first task: one command wakes the dispatcher for both.
        let tell = waiting.asleep && !matches!(command, Command::Open(_));
        waiting.asleep &= !tell;
        waiting.commands.push(command);
        drop(queue);
        if tell {
            // It can only fail when the counter is full, and then the dispatcher is awake.
            let _ = self.event.write(1);
        }
    }

    /// All commands since the last call, in order.
    pub(super) fn take(&self) -> Vec<Command> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.as_mut().map(|queue| std::mem::take(&mut queue.commands)).unwrap_or_default()
    }

    /// The dispatcher is about to sleep; whether it may: nothing has come since it last looked but what alone is no work.
    pub(super) fn sleep(&self) -> bool {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(queue) = queue.as_mut() else { return false };
        queue.asleep = queue.commands.iter().all(|command| matches!(command, Command::Open(_)));
        queue.asleep
    }

    /// The dispatcher is awake.
    pub(super) fn awake(&self) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = queue.as_mut() {
            queue.asleep = false;
        }
    }

    /// Takes back the event that has woken the dispatcher.
    pub(super) fn silence(&self) {
        let _ = self.event.read();
    }

    /// Whether no task can be given any more.
    pub(super) fn finished(&self) -> bool {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.as_ref().is_none_or(|queue| queue.finished)
    }

    /// Says that the dispatcher and all its workers are gone.
    pub(super) fn say_over(&self) {
        *self.over.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.over_changed.notify_all();
    }

    /// Waits until they are gone; whether it is so. `None` is for ever.
    pub(super) fn wait_until_over(&self, patience: Option<Duration>) -> bool {
        let over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
        match patience {
            None => *self.over_changed.wait_while(over, |over| !*over).unwrap_or_else(PoisonError::into_inner),
            Some(patience) => {
                let waited = self.over_changed.wait_timeout_while(over, patience, |over| !*over);
                *waited.unwrap_or_else(PoisonError::into_inner).0
            }
        }
    }

    /// Takes no more commands.
    pub(super) fn close(&self) {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        queue.into_iter().flat_map(|queue| queue.commands).for_each(refuse);
    }
}

/// What a command comes to when there is no dispatcher.
fn refuse(command: Command) {
    if let Command::Submit { inbox, tasks } = command {
        inbox.deliver(tasks.into_iter().map(|(id, _)| (id, Err(crate::TaskError::Closed))));
    }
}

impl AsFd for Commands {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}
