//! What tasks take with them to other machines: nothing where the worker sees the core file itself, else their memory.

use analysis::remote::{CARRIED, Carried, Request, Setup, seen};
use analysis::{Analysis, Task};
use anyhow::{Context as _, Result};
use multiprocessing::codec;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use target::core::SharedCore;
use target::relayed::{Filled, Relay};
use target::{ReadMemory, Source};

/// Makes the messages of one job for other machines. The pool's own threads ask it for them, so it reads nothing through the
/// debugger.
pub struct Carrier<A> {
    analysis: A,
    memory: Memory,
    /// The core file, which the other machines may have as well.
    core: Option<SharedCore>,
    state: Mutex<State>,
}

/// What memory is taken from.
pub enum Memory {
    Direct(Arc<dyn ReadMemory>),
    /// What the debugger has read for the task.
    Relayed(Relay),
}

#[derive(Default)]
struct State {
    /// The hosts that do not see the core file, and why.
    unseen: BTreeMap<String, String>,
    /// What has gone elsewhere and is not back, by its number.
    gone: HashMap<u64, Gone>,
}

struct Gone {
    since: Instant,
    /// Where to, if it took no memory with it.
    without: Option<String>,
}

impl<A: Analysis> Carrier<A> {
    pub fn new(analysis: A, memory: Memory, core: Option<SharedCore>) -> Self {
        Self { analysis, memory, core, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is sent to each worker elsewhere before its first task.
    ///
    /// # Errors
    /// If it cannot be encoded.
    pub fn setup(&self) -> Result<Vec<u8>>
    where
        A: Clone,
    {
        let source = Source::Streamed(self.core.clone().map(SharedCore::alone));
        let setup = Setup { analysis: self.analysis.clone(), source };
        let none: Vec<codec::Descriptor> = Vec::new();
        Ok(codec::encode(&(setup, none)).context("the plan cannot be sent")?.bytes)
    }

    /// The message of a task for a host, which is handed out under a number. If the debugger relays its memory, that has been read
    /// already.
    pub fn message(&self, number: u64, task: &Task, filled: Option<&Filled>, host: &str) -> Result<Vec<u8>, String> {
        let seen = self.is_seen(task, host);
        let gone = Gone { since: Instant::now(), without: seen.then(|| host.to_owned()) };
        self.lock().gone.insert(number, gone);
        let carried = if seen { None } else { Some(self.carried(task, filled)?) };
        let request = Request { task: *task, filled: None, carried };
        codec::encode(&request).map(|message| message.bytes).map_err(|error| error.to_string())
    }

    /// Whether the host may have the task's memory itself.
    fn is_seen(&self, task: &Task, host: &str) -> bool {
        let holds = self.core.as_ref().is_some_and(|core| core.holds(seen(&self.analysis, task)));
        holds && !self.lock().unseen.contains_key(host)
    }

    fn carried(&self, task: &Task, filled: Option<&Filled>) -> Result<Carried, String> {
        match (&self.memory, filled) {
            (Memory::Direct(memory), _) => Ok(Carried::read(&self.analysis, task, &**memory, CARRIED)),
            (Memory::Relayed(relay), Some(filled)) => {
                let memory = relay.memory(filled).map_err(|error| error.to_string())?;
                Ok(Carried::read(&self.analysis, task, &memory, CARRIED))
            }
            (Memory::Relayed(_), None) => Err("a task without the memory that was read for it".into()),
        }
    }

    /// Since when another machine has what was handed out under this number.
    pub fn gone_since(&self, number: u64) -> Option<Instant> {
        self.lock().gone.get(&number).map(|gone| gone.since)
    }

    /// Takes note that what was handed out under this number has come back; `unseen` is why its worker does not see the core file.
    pub fn ended(&self, number: u64, unseen: Option<&str>) {
        let mut state = self.lock();
        if let (Some(Gone { without: Some(host), .. }), Some(why)) = (state.gone.remove(&number), unseen) {
            state.unseen.entry(host).or_insert_with(|| why.to_owned());
        }
    }

    /// Which hosts are sent the core file's memory, a line each.
    pub fn notes(&self) -> Vec<String> {
        let note = |(host, why): (&String, &String)| format!("{host} is sent the core file's memory: {why}");
        self.lock().unseen.iter().map(note).collect()
    }
}

impl<A> std::fmt::Debug for Carrier<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Carrier").field("core", &self.core.is_some()).finish_non_exhaustive()
    }
}
