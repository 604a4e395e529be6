//! What `deadlocks` does.

use super::{Telling, Walked};
use crate::course::{Answer, Failure, Stages};
use analysis::deadlocks::{ARGUMENTS, Call, INNERMOST, PRESERVED, ThreadCalls, deadlocks, seems_to_wait, waiting_call};
use analysis::stacks::{End, Frame, Names};
use analysis::{FrameRow, Results};
use std::collections::HashMap;
use std::sync::Arc;

/// Finds out who waits for whom.
pub fn telling(limit: u64) -> Telling {
    Box::new(move |stages, ground, walked| {
        let mut notes = walked.notes.clone();
        notes.extend(unknown_stacks(&walked));
        let mut threads = thread_calls(walked);
        notes.extend(ask_calls(stages, &mut threads)?);
        let stop = stages.stop_signal();
        let numbers: Vec<u64> = threads.iter().map(|calls| calls.thread.number).collect();
        let ask = |index: usize| stages.debugger.as_ref()?.registers(numbers[index], &PRESERVED);
        let memory = &*stages.reading.memory;
        let mut rows = deadlocks(&threads, memory, &ground.space, &|| stop.requested(), &ask);
        if stop.requested() {
            // What was not looked through leaves owners unknown.
            return Err(stop.failure());
        }
        let total = rows.len() as u64;
        rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        let locks = || rows.iter().flat_map(|row| &row.locks).map(|lock| lock.address);
        let (symbols, _) = ground.symbols(stages, locks());
        for lock in rows.iter_mut().flat_map(|row| &mut row.locks) {
            lock.symbol = symbols.get(&lock.address).cloned();
        }
        Ok(Answer::new(Results::Deadlocks(rows), total, notes))
    })
}

/// Of threads that only the debugger knows, the registers tell in which system calls those that wait are. It takes milliseconds for
/// each register, so it is asked for what that takes and no more.
fn ask_calls(stages: &Stages, threads: &mut [ThreadCalls]) -> Result<Option<String>, Failure> {
    const UNASKED: &str =
        "the debugger is not asked about threads in the background, so which of them wait is not known";
    let untold = threads.iter_mut().filter(|calls| !calls.thread.told);
    let (Some(debugger), stop) = (&stages.debugger, stages.stop_signal()) else { return Ok(None) };
    for calls in untold {
        if stop.requested() {
            return Err(stop.failure());
        }
        if !seems_to_wait(calls, &*stages.reading.memory) {
            continue;
        }
        let told = debugger.registers(calls.thread.number, &ARGUMENTS);
        let Some(registers) = told else { return Ok(Some(UNASKED.to_owned())) };
        calls.thread.call = waiting_call(&registers);
    }
    Ok(None)
}

/// Without its calls it is not known what a thread waits in.
fn unknown_stacks(walked: &Walked) -> Option<String> {
    let unknown = |index: &usize| {
        let stack = &walked.stacks[*index];
        stack.frames.len() < 2 && stack.end != End::Outermost
    };
    let unknown: Vec<u64> = (0..walked.threads.len()).filter(unknown).map(|at| walked.threads[at].number).collect();
    let list = || render::thread_list(&unknown);
    (!unknown.is_empty()).then(|| format!("it is not known what these threads have called: {}", list()))
}

fn thread_calls(walked: Walked) -> Vec<ThreadCalls> {
    let Walked { threads, stacks, names, .. } = walked;
    let mut known = HashMap::new();
    let calls = threads.into_iter().zip(stacks).map(|(thread, stack)| {
        let calls = stack.frames.iter().take(INNERMOST).map(|frame| call(&names, &mut known, frame)).collect();
        ThreadCalls { thread, stack, calls }
    });
    calls.collect()
}

/// A frame with its functions, which thousands of threads may have in common.
fn call(names: &Names, known: &mut HashMap<u64, Arc<[FrameRow]>>, frame: &Frame) -> Call {
    let pc = frame.pc;
    let Some(row) = names.at(frame) else {
        return Call { pc, module: None, symbol: None, functions: Arc::default() };
    };
    let functions = known.entry(row.address).or_insert_with(|| row.frames.clone().into());
    Call {
        pc,
        module: row.module.clone(),
        symbol: row.symbol.clone().zip(row.offset),
        functions: Arc::clone(functions),
    }
}
