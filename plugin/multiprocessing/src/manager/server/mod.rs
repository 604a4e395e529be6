//! The side that owns the objects: a thread that accepts clients, and one for each connection.

mod client;
mod interrupt;
pub(crate) mod process;
mod store;

use super::managed::ManagedTypes;
use crate::connection::{AcceptError, Address, Connection, Listener, Stream};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::collections::HashMap;
use std::fmt;
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use store::Store;

/// How long an end waits for methods that are under way.
const STOP_PATIENCE: Duration = Duration::from_secs(1);

/// How often those are looked after who have begun a handshake and do not go on.
const ROUNDS: u16 = 1000;

/// Threads that serve. They end with it.
pub(super) struct Server {
    address: Address,
    shared: Arc<Shared>,
    /// Its end is the end of the accepting thread.
    wanted: Option<PipeWriter>,
    accepting: Option<JoinHandle<()>>,
}

/// What the threads share.
struct Shared {
    store: Store,
    open: Mutex<Open>,
    /// A connection has ended.
    ended: Condvar,
}

/// The connections that are being served, so that they can be ended.
#[derive(Default)]
struct Open {
    last: u64,
    streams: HashMap<u64, Stream>,
}

impl Server {
    pub(super) fn start(listener: Listener, types: ManagedTypes) -> io::Result<Server> {
        let (reader, writer) = io::pipe()?;
        let address = listener.address().clone();
        let shared = Arc::new(Shared { store: Store::new(types), open: Mutex::default(), ended: Condvar::new() });
        let accepting = Arc::clone(&shared);
        let accepting =
            thread::Builder::new().name("manager".into()).spawn(move || accept(&listener, &reader, &accepting))?;
        Ok(Server { address, shared, wanted: Some(writer), accepting: Some(accepting) })
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Ends all connections, and waits for their threads, but not for methods that go on for long.
    pub(super) fn stop(&mut self) {
        self.wanted = None;
        if let Some(accepting) = self.accepting.take() {
            // A panic there has been printed.
            let _ = accepting.join();
        }
        self.shared.store.stop();
        let deadline = Instant::now() + STOP_PATIENCE;
        let mut open = self.shared.open.lock().unwrap_or_else(PoisonError::into_inner);
        for stream in open.streams.values() {
            // One that has ended by itself is just going.
            let _ = stream.shutdown();
        }
        while !open.streams.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            open = self.shared.ended.wait_timeout(open, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(open);
        self.shared.store.clear();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Accepts clients until the pipe's other end is closed.
fn accept(listener: &Listener, wanted: &PipeReader, shared: &Arc<Shared>) {
    loop {
        let mut entries =
            [PollFd::new(wanted.as_fd(), PollFlags::empty()), PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        let ready = poll(&mut entries, PollTimeout::from(ROUNDS));
        // The pipe asks for no event; the hang-up is always told.
        if entries[0].any().is_some_and(|ended| ended) {
            return;
        }
        if let Err(error) = ready {
            if error == nix::errno::Errno::EINTR {
                continue;
            }
            log::error!("a manager cannot wait for clients: {error}");
            return;
        }
        match listener.accept_timeout(Duration::ZERO) {
            Ok(connection) => serve(connection, shared),
            Err(AcceptError::TimedOut) => {}
            Err(refused @ AcceptError::Refused { .. }) => log::warn!("a manager has {refused}"),
            Err(AcceptError::Io(error)) => {
                log::warn!("a manager cannot accept a client: {error}");
                // It is out of descriptors, until some client goes.
                thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

/// Serves a connection in a thread of its own. One that cannot be served is closed.
fn serve(connection: Connection, shared: &Arc<Shared>) {
    let number = {
        let mut open = shared.open.lock().unwrap_or_else(PoisonError::into_inner);
        let stream = connection.as_fd().try_clone_to_owned().and_then(Stream::from_descriptor);
        let Ok(stream) = stream else { return };
        open.last += 1;
        let number = open.last;
        open.streams.insert(number, stream);
        number
    };
    let theirs = Arc::clone(shared);
    let work = move || {
        client::serve(&connection, &theirs.store);
        drop(connection);
        theirs.close(number);
    };
    if let Err(error) = thread::Builder::new().name("manager-client".into()).spawn(work) {
        log::warn!("a manager cannot serve a client: {error}");
        shared.close(number);
    }
}

impl Shared {
    fn close(&self, number: u64) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).streams.remove(&number);
        self.ended.notify_all();
    }
}
