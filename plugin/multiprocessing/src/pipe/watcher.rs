//! The watcher: a thread that hears of the end of the other sides, while there are ends that sleep in a futex.
//!
//! The kernel wakes who sleeps in a futex, or who sleeps at a descriptor, but lets nobody sleep at both. So this thread sleeps
//! at the sockets of all of them, for no event but the end of the other side, and raises their alarms. It is started with the
//! first of them in each process, and ends with the last.

use crate::ring::Alarm;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::SigSet;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// How many events are taken at once.
const EVENTS: usize = 32;

/// The number of the bell among those of the ends.
const BELL: u64 = 0;

struct State {
    /// `None` while there is no thread.
    watch: Option<Arc<Watch>>,
    alarms: BTreeMap<u64, Arc<Alarm>>,
    /// The last number that was given.
    last: u64,
}

/// What the thread sleeps at.
struct Watch {
    epoll: Epoll,
    /// Rings when the last of the ends is gone.
    bell: EventFd,
}

static STATE: Mutex<State> = Mutex::new(State { watch: None, alarms: BTreeMap::new(), last: BELL });

/// Whether this process may have no such thread.
static FORBIDDEN: AtomicBool = AtomicBool::new(false);

/// An end that is watched.
#[derive(Debug)]
pub(super) struct Watched {
    number: u64,
    alarm: Arc<Alarm>,
}

impl State {
    fn lock() -> MutexGuard<'static, State> {
        STATE.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes sure that there is a thread.
    fn run(&mut self) -> io::Result<Arc<Watch>> {
        if let Some(watch) = &self.watch {
            return Ok(Arc::clone(watch));
        }
        let bell = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        // Each ring is told once, so that nobody has to take it back.
        epoll.add(&bell, EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, BELL))?;
        let watch = Arc::new(Watch { epoll, bell });
        let own = Arc::clone(&watch);
        thread::Builder::new().name("pipes".into()).stack_size(256 * 1024).spawn(move || run(&own))?;
        self.watch = Some(Arc::clone(&watch));
        Ok(watch)
    }
}

impl Watched {
    /// Raises the alarm when the other side of this socket ends, until [`Watched::end`].
    ///
    /// # Errors
    /// The process may have no thread or no descriptor more.
    pub(super) fn new(socket: BorrowedFd<'_>, alarm: Alarm) -> io::Result<Watched> {
        if FORBIDDEN.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let alarm = Arc::new(alarm);
        let mut state = State::lock();
        let watch = state.run()?;
        state.last += 1;
        let number = state.last;
        // The end of the other side is told without being asked for, and once.
        let added = watch.epoll.add(socket, EpollEvent::new(EpollFlags::EPOLLONESHOT, number));
        if let Err(error) = added {
            state.leave(&watch);
            return Err(error.into());
        }
        state.alarms.insert(number, Arc::clone(&alarm));
        Ok(Watched { number, alarm })
    }

    pub(super) fn alarm(&self) -> &Alarm {
        &self.alarm
    }

    /// Ends the watch over this socket.
    pub(super) fn end(self, socket: BorrowedFd<'_>) {
        let mut state = State::lock();
        state.alarms.remove(&self.number);
        if let Some(watch) = state.watch.clone() {
            let _ = watch.epoll.delete(socket);
            state.leave(&watch);
        }
    }
}

impl State {
    /// Lets the thread end if nobody needs it.
    fn leave(&self, watch: &Watch) {
        if self.alarms.is_empty() {
            // It can only fail when it has rung for ages, unheard.
            let _ = watch.bell.write(1);
        }
    }
}

/// Whether this process is one that may have no thread beside its main one; ends that sleep do so at their sockets then.
pub(crate) fn forbid(forbidden: bool) {
    FORBIDDEN.store(forbidden, Ordering::Relaxed);
}

/// The thread.
fn run(watch: &Watch) {
    // The host's signals are for the host's threads.
    let _ = SigSet::all().thread_block();
    let mut events = [EpollEvent::empty(); EVENTS];
    loop {
        let found = match watch.epoll.wait(&mut events, EpollTimeout::NONE) {
            Ok(count) => &events[..count],
            Err(error) => {
                if error != Errno::EINTR {
                    // The system is short of memory: that is no reason to ask again without a pause.
                    thread::sleep(Duration::from_millis(1));
                }
                &[]
            }
        };
        let mut state = State::lock();
        found.iter().filter_map(|event| state.alarms.get(&event.data())).for_each(|alarm| alarm.raise());
        if state.alarms.is_empty() {
            state.watch = None;
            return;
        }
    }
}
