//! What tasks take with them to other machines: nothing where the worker sees the core file itself, else their memory.

use analysis::remote::{CARRIED, Carried, Request, Setup, seen};
use analysis::{Analysis, Task};
use anyhow::{Context as _, Result};
use multiprocessing::codec;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
    /// Where tasks have gone that took no memory with them.
    gone_to: HashMap<u64, String>,
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

    /// The message of a task for a host. If the debugger relays its memory, that has been read already.
    pub fn message(&self, task: &Task, filled: Option<&Filled>, host: &str) -> Result<Vec<u8>, String> {
        let carried = if self.is_seen(task, host) { None } else { Some(self.carried(task, filled)?) };
        let request = Request { task: *task, filled: None, carried };
        codec::encode(&request).map(|message| message.bytes).map_err(|error| error.to_string())
    }

    /// Whether the host may have the task's memory itself.
    fn is_seen(&self, task: &Task, host: &str) -> bool {
        let holds = self.core.as_ref().is_some_and(|core| core.holds(seen(&self.analysis, task)));
        let mut state = self.lock();
        if !holds || state.unseen.contains_key(host) {
            return false;
        }
        state.gone_to.insert(task.id, host.to_owned());
        true
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

    /// Takes note that the worker that was given a task does not see the core file.
    pub fn is_unseen(&self, task: &Task, why: &str) {
        let mut state = self.lock();
        if let Some(host) = state.gone_to.remove(&task.id) {
            state.unseen.entry(host).or_insert_with(|| why.to_owned());
        }
    }

    /// Takes note that a task has ended.
    pub fn ended(&self, task: &Task) {
        self.lock().gone_to.remove(&task.id);
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
