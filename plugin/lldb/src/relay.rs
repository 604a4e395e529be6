//! Reading the target through the debugger, for other threads than the command's.

use crate::Process;
use crate::memory_cache::CacheOff;
use crate::process::State;
use std::marker::PhantomData;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use target::{Fault, FaultReason, ReadMemory};

/// The memory of a process as the debugger reads it, at one stop. Once the process has run, every read is a
/// [`FaultReason::Gone`].
///
/// Whoever runs a command may hold LLDB's lock on the target meanwhile (lldb-dap and `SBDebugger::HandleCommand` do), so
/// that a read on any other thread would wait for the command to end. So while a command waits for its job, its thread
/// does the reading, through a [`Server`]. Without one, reads are made on the thread that asks.
#[derive(Clone, Debug)]
pub struct Relay {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    process: Process,
    /// LLDB would keep every byte that it relays.
    _cache: CacheOff,
    stop_id: u32,
    /// To the server, while there is one.
    server: Mutex<Option<Sender<Request>>>,
}

// SAFETY: SBProcess holds a weak pointer to the process, counted atomically, and each of the calls made here (the state,
// the stop id, reading memory) takes the process and LLDB's lock on its target for itself. That is how LLDB's own
// scripts and front ends use it from their threads. The same holds for SBDebugger and the setting that is put back when
// the last relay is dropped.
unsafe impl Send for Shared {}
// SAFETY: as for Send.
unsafe impl Sync for Shared {}

#[derive(Debug)]
struct Request {
    address: u64,
    length: usize,
    answer: Sender<Result<Vec<u8>, Fault>>,
}

impl Relay {
    /// The memory of `process`, which is that of its debugger's selected target, at this stop.
    pub fn new(process: &Process) -> Self {
        let shared = Shared {
            process: process.duplicate(),
            _cache: CacheOff::hold(process),
            stop_id: process.stop_id(),
            server: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// From now on, and until the server is dropped, reads are made by it.
    pub fn serve(&self) -> Server {
        let (sender, requests) = mpsc::channel();
        *self.shared.server.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        Server { relay: self.clone(), requests, stays: PhantomData }
    }
}

impl Shared {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<usize, Fault> {
        let gone = Fault { address, reason: FaultReason::Gone };
        let same_stop = || self.process.state() == State::Stopped && self.process.stop_id() == self.stop_id;
        if buffer.is_empty() {
            return Ok(0);
        }
        if !same_stop() {
            return Err(gone);
        }
        let outcome = self.process.read_memory(address, buffer);
        // The process may have been let go meanwhile, and what was read be from after that.
        if !same_stop() {
            return Err(gone);
        }
        outcome.map_err(|_| Fault { address, reason: FaultReason::Relay })
    }
}

impl ReadMemory for Relay {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<usize, Fault> {
        let server = self.shared.server.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(server) = server {
            let (answer, answered) = mpsc::channel();
            let asked = server.send(Request { address, length: buffer.len(), answer });
            // The server is held by this thread no longer: when it is dropped, the answer must not be waited for.
            drop(server);
            if let Some(outcome) = asked.ok().and_then(|()| answered.recv().ok()) {
                let bytes = outcome?;
                buffer[..bytes.len()].copy_from_slice(&bytes);
                return Ok(bytes.len());
            }
        }
        self.shared.read(address, buffer)
    }
}

/// Reads for a [`Relay`], on the thread that runs the command. It stays there.
#[derive(Debug)]
pub struct Server {
    relay: Relay,
    requests: Receiver<Request>,
    /// Pointers cannot be sent to other threads, and neither can what holds one.
    stays: PhantomData<*const ()>,
}

impl Server {
    /// Reads what is asked for, for as long as `patience`.
    pub fn run(&self, patience: Duration) {
        let end = Instant::now() + patience;
        loop {
            match self.requests.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(request) => self.answer(&request),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn answer(&self, request: &Request) {
        let mut bytes = vec![0; request.length];
        let outcome = self.relay.shared.read(request.address, &mut bytes).map(|read| {
            bytes.truncate(read);
            bytes
        });
        // Whoever asked may have given up.
        let _ = request.answer.send(outcome);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Requests that are under way are dropped with the channel, and so made again by those who ask.
        *self.relay.shared.server.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
