//! The keeper: a thread that looks after this process's children while there are any that need it.
//!
//! The kernel ties "die with your parent" to the *thread* that started a process, so what must die with this process is
//! started by a thread that lives as long as it. The same thread takes the records of the processes' logs, and the status of
//! those whose handle was dropped. It runs no code of the user's, so that nothing that the user holds can stop it.

use super::entry::Entry;
use crate::packets::Buffer;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::SigSet;
use std::io;
use std::os::fd::AsFd;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

type Request = Box<dyn FnOnce() + Send>;

struct State {
    /// Rings when anything here has changed; `None` while there is no thread.
    bell: Option<Arc<EventFd>>,
    entries: Vec<Arc<Entry>>,
    requests: Vec<Request>,
    /// How many need the thread to live on.
    holds: usize,
}

static STATE: Mutex<State> = Mutex::new(State { bell: None, entries: Vec::new(), requests: Vec::new(), holds: 0 });

impl State {
    fn lock() -> MutexGuard<'static, State> {
        STATE.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self) {
        if let Some(bell) = &self.bell {
            // It can only fail when it has rung for ages, unheard.
            let _ = bell.write(1);
        }
    }

    /// Makes sure that there is a thread.
    fn run(&mut self) -> io::Result<()> {
        if self.bell.is_none() {
            let bell = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?);
            let own = Arc::clone(&bell);
            thread::Builder::new().name("processes".into()).stack_size(256 * 1024).spawn(move || keep(&own))?;
            self.bell = Some(bell);
        }
        Ok(())
    }
}

/// The keeper lives at least as long as this.
#[derive(Debug)]
pub(super) struct Hold(());

impl Hold {
    pub(super) fn new() -> io::Result<Hold> {
        let mut state = State::lock();
        state.run()?;
        state.holds += 1;
        Ok(Hold(()))
    }

    /// Runs something on the keeper's thread, and waits for it. It must not wait for anything itself.
    pub(super) fn run<T: Send + 'static>(
        &self,
        what: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let (sender, receiver) = sync_channel(1);
        let mut state = State::lock();
        state.requests.push(Box::new(move || {
            let _ = sender.send(what());
        }));
        state.ring();
        drop(state);
        receiver.recv().unwrap_or_else(|_| Err(io::Error::other("the thread that starts processes has ended")))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut state = State::lock();
        state.holds -= 1;
        state.ring();
    }
}

/// Looks after a process until it has ended.
///
/// # Errors
/// There is no thread yet, and none can be started.
pub(super) fn watch(entry: &Arc<Entry>) -> io::Result<()> {
    let mut state = State::lock();
    state.run()?;
    if !state.entries.iter().any(|known| Arc::ptr_eq(known, entry)) {
        state.entries.push(Arc::clone(entry));
        state.ring();
    }
    Ok(())
}

/// The thread.
fn keep(bell: &EventFd) {
    // The host's signals are for the host's threads.
    let _ = SigSet::all().thread_block();
    let mut buffer = Buffer::new();
    loop {
        let mut state = State::lock();
        for request in std::mem::take(&mut state.requests) {
            drop(state);
            request();
            state = State::lock();
        }
        if state.entries.is_empty() && state.requests.is_empty() && state.holds == 0 {
            state.bell = None;
            return;
        }
        let entries = state.entries.clone();
        drop(state);
        wait(bell, &entries);
        for entry in &entries {
            entry.receive(&mut buffer);
        }
        let mut ended = entries;
        ended.retain(|entry| entry.status().is_some());
        // What they said last.
        ended.iter().for_each(|entry| entry.receive_rest(&mut buffer));
        if !ended.is_empty() {
            State::lock().entries.retain(|entry| !ended.iter().any(|other| Arc::ptr_eq(entry, other)));
        }
    }
}

/// Waits until the bell rings, or something happens to one of the processes.
fn wait(bell: &EventFd, entries: &[Arc<Entry>]) {
    let mut polled = vec![PollFd::new(bell.as_fd(), PollFlags::POLLIN)];
    for entry in entries {
        polled.push(PollFd::new(entry.child.as_fd(), PollFlags::POLLIN));
        if let Some(connection) = entry.records() {
            polled.push(PollFd::new(connection, PollFlags::POLLIN));
        }
    }
    match poll(&mut polled, PollTimeout::NONE) {
        Ok(_) | Err(Errno::EINTR) => {
            let _ = bell.read();
        }
        // The system is short of memory: that is no reason to ask again without a pause.
        Err(_) => thread::sleep(Duration::from_millis(1)),
    }
}
