//! Reading the target through the debugger, for other threads than the command's.

use crate::Process;
use crate::memory_cache::CacheOff;
use crate::process::State;
use std::collections::{BTreeMap, VecDeque};
use std::marker::PhantomData;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};
use target::{Fault, FaultReason, ReadMemory};

/// What is looked at after a fault.
const PAGE: u64 = 4096;

/// The memory of a process as the debugger reads it, at one stop. Once the process has run, every read is a
/// [`FaultReason::Gone`].
///
/// Whoever runs a command may hold LLDB's lock on the target meanwhile (lldb-dap and `SBDebugger::HandleCommand` do), so
/// that a read on any other thread waits for the command to end. So only the thread that made the relay reads for
/// itself. The others ask: a command that waits for what they do, which reads for them while it waits, through a
/// [`Server`]; or else a thread of the relay's own. What that thread hangs in when a server comes, the server reads too.
#[derive(Clone, Debug)]
pub struct Relay {
    handle: Arc<Handle>,
}

/// What all clones of a relay share; the last one ends the relay's thread.
#[derive(Debug)]
struct Handle {
    reader: Arc<Reader>,
    /// The thread that made the relay.
    home: ThreadId,
    /// LLDB would keep every byte that it relays.
    _cache: CacheOff,
}

#[derive(Debug)]
struct Reader {
    process: Process,
    stop_id: u32,
    queue: Mutex<Queue>,
    changed: Condvar,
}

// SAFETY: SBProcess holds a weak pointer to the process, counted atomically, and each of the calls made here (the state,
// the stop id, reading memory) takes the process and LLDB's lock on its target for itself. That is how LLDB's own
// scripts and front ends use it from their threads.
unsafe impl Send for Reader {}
// SAFETY: as for Send.
unsafe impl Sync for Reader {}
// SAFETY: beyond the reader there is SBDebugger, by which the setting is put back when the last relay is dropped: it is
// counted atomically, and its settings are guarded by LLDB.
unsafe impl Send for Handle {}
// SAFETY: as for Send.
unsafe impl Sync for Handle {}

#[derive(Debug, Default)]
struct Queue {
    /// What was asked for and not answered yet, by its number.
    asked: BTreeMap<u64, Request>,
    /// The numbers of those that nobody reads yet.
    untaken: VecDeque<u64>,
    next: u64,
    servers: usize,
    /// Whether the relay has a thread of its own.
    thread: bool,
    /// Whether the relay is gone.
    closed: bool,
}

#[derive(Clone, Debug)]
struct Request {
    address: u64,
    length: usize,
    answer: Sender<Result<Vec<u8>, Fault>>,
}

impl Relay {
    /// The memory of `process`, which is that of its debugger's selected target, at this stop.
    pub fn new(process: &Process) -> Self {
        let reader = Reader {
            process: process.duplicate(),
            stop_id: process.stop_id(),
            queue: Mutex::default(),
            changed: Condvar::new(),
        };
        let home = std::thread::current().id();
        Self { handle: Arc::new(Handle { reader: Arc::new(reader), home, _cache: CacheOff::hold(process) }) }
    }

    /// From now on, and until the server is dropped, reads are made by it, but for those of the thread that made the
    /// relay.
    pub fn serve(&self) -> Server {
        let mut queue = self.handle.reader.queue();
        queue.servers += 1;
        // What the relay's own thread has begun to read may wait for the lock that the caller holds.
        queue.untaken = queue.asked.keys().copied().collect();
        drop(queue);
        Server { relay: self.clone(), stays: PhantomData }
    }
}

impl ReadMemory for Relay {
    /// A debugger's memory may begin within a page: a minidump holds of a stack what lies above its pointer.
    fn after_fault(&self, address: u64) -> u64 {
        let next = (address / PAGE * PAGE).saturating_add(PAGE);
        let readable = |address: u64| self.read(address, &mut [0]).is_ok();
        let (mut unreadable, mut last) = (address, next - 1);
        if last <= unreadable || !readable(last) {
            return next;
        }
        while last - unreadable > 1 {
            let middle = unreadable + (last - unreadable) / 2;
            if readable(middle) { last = middle } else { unreadable = middle }
        }
        last
    }

    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<usize, Fault> {
        let reader = &self.handle.reader;
        if std::thread::current().id() == self.handle.home {
            return reader.read(address, buffer);
        }
        let (answer, answered) = mpsc::channel();
        let mut queue = reader.queue();
        let number = queue.next;
        queue.next += 1;
        queue.asked.insert(number, Request { address, length: buffer.len(), answer });
        queue.untaken.push_back(number);
        let running = reader.ensure_thread(&mut queue);
        drop(queue);
        reader.changed.notify_all();
        if !running {
            // Without a thread for it, there is this one.
            reader.answer(number);
        }
        let bytes = answered.recv().unwrap_or(Err(Fault { address, reason: FaultReason::Relay }))?;
        buffer[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.reader.queue().closed = true;
        self.reader.changed.notify_all();
    }
}

impl Reader {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the relay's own thread if there is something to read and nobody else to read it. Returns false if there is
    /// still nobody.
    fn ensure_thread(self: &Arc<Self>, queue: &mut Queue) -> bool {
        if queue.servers == 0 && !queue.thread && !queue.untaken.is_empty() {
            let reader = Arc::clone(self);
            let thread = std::thread::Builder::new().name("mp-scan relay".to_owned());
            queue.thread = thread.spawn(move || reader.run()).is_ok();
        }
        queue.thread || queue.servers > 0
    }

    /// What the relay's own thread does: it reads while there is no server.
    fn run(&self) {
        loop {
            let idle = |queue: &mut Queue| !queue.closed && (queue.servers > 0 || queue.untaken.is_empty());
            let waited = self.changed.wait_while(self.queue(), idle);
            let mut queue = waited.unwrap_or_else(PoisonError::into_inner);
            if queue.closed {
                return;
            }
            if let Some(number) = queue.untaken.pop_front() {
                drop(queue);
                self.answer(number);
            }
        }
    }

    /// Reads what was asked for, unless that has been answered already.
    fn answer(&self, number: u64) {
        let Some(request) = self.queue().asked.get(&number).cloned() else { return };
        let mut bytes = vec![0; request.length];
        let outcome = self.read(request.address, &mut bytes).map(|read| {
            bytes.truncate(read);
            bytes
        });
        if self.queue().asked.remove(&number).is_some() {
            // Whoever asked may be gone.
            let _ = request.answer.send(outcome);
        }
    }

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

/// Reads for a [`Relay`], on the thread that runs the command. It stays there.
#[derive(Debug)]
pub struct Server {
    relay: Relay,
    /// Pointers cannot be sent to other threads, and neither can what holds one.
    stays: PhantomData<*const ()>,
}

impl Server {
    /// Reads what is asked for, for as long as `patience`.
    pub fn run(&self, patience: Duration) {
        let reader = &self.relay.handle.reader;
        let end = Instant::now() + patience;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let idle = |queue: &mut Queue| queue.untaken.is_empty();
            let waited = reader.changed.wait_timeout_while(reader.queue(), left, idle);
            let (mut queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
            let Some(number) = queue.untaken.pop_front() else { return };
            drop(queue);
            reader.answer(number);
            if left.is_zero() {
                return;
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let reader = &self.relay.handle.reader;
        let mut queue = reader.queue();
        queue.servers -= 1;
        // What was asked of this server and not read goes to the relay's own thread.
        reader.ensure_thread(&mut queue);
        drop(queue);
        reader.changed.notify_all();
    }
}
