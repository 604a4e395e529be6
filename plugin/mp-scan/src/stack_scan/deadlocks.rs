//! What `deadlocks` does.

use super::{Telling, Walked};
use crate::course::{Answer, Failure, Stages};
use analysis::deadlocks::{Call, ThreadCalls, deadlocks, seeming_call};
use analysis::stacks::{End, Frame, Names};
use analysis::{FrameRow, Results};
use std::collections::HashMap;
use std::sync::Arc;

/// So many calls lead from what a program does to the system call that it waits in, at most.
const INNERMOST: usize = 64;

/// Finds out who waits for whom.
pub fn telling(limit: u64) -> Telling {
    Box::new(move |stages, ground, walked| {
        let mut notes = walked.notes.clone();
        notes.extend(unknown_stacks(&walked));
        let mut threads = thread_calls(walked);
        notes.extend(ask_calls(stages, &mut threads)?);
        let stop = stages.stop_signal();
        let mut rows = deadlocks(&threads, &*stages.reading.memory, &ground.space, &|| stop.requested());
        if stop.requested() {
            // What was not looked through leaves owners unknown.
            return Err(stop.failure());
        }
        let total = rows.len() as u64;
        rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        let locks = || rows.iter().flat_map(|row| &row.locks).map(|lock| lock.address);
        let symbols = ground.symbols(stages, locks());
        for lock in rows.iter_mut().flat_map(|row| &mut row.locks) {
            lock.symbol = symbols.get(&lock.address).cloned();
        }
        Ok(Answer::new(Results::Deadlocks(rows), total, notes))
    })
}

/// Of threads that only the debugger knows, the registers tell in which system calls those that wait are.
fn ask_calls(stages: &Stages, threads: &mut [ThreadCalls]) -> Result<Option<String>, Failure> {
    const UNASKED: &str =
        "the debugger is not asked about threads in the background, so which of them wait is not known";
    let untold = threads.iter_mut().filter(|calls| !calls.thread.told);
    let (Some(debugger), stop) = (&stages.debugger, stages.stop_signal()) else { return Ok(None) };
    for calls in untold {
        if stop.requested() {
            return Err(stop.failure());
        }
        let Some(registers) = debugger.registers(calls.thread.number) else { return Ok(Some(UNASKED.to_owned())) };
        calls.thread.call = seeming_call(calls, &registers, &*stages.reading.memory);
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
    let calls = threads.into_iter().zip(stacks).map(|(thread, stack)| ThreadCalls {
        thread,
        calls: telling_frames(&stack.frames).map(|frame| call(&names, &mut known, *frame)).collect(),
    });
    calls.collect()
}

/// The calls that tell what a thread waits for, and how far its stack reaches.
fn telling_frames(frames: &[Frame]) -> impl Iterator<Item = &Frame> {
    let (innermost, others) = frames.split_at(frames.len().min(INNERMOST));
    innermost.iter().chain(others.last())
}

/// A frame with its functions, which thousands of threads may have in common.
fn call(names: &Names, known: &mut HashMap<u64, Arc<[FrameRow]>>, frame: Frame) -> Call {
    let Some(row) = names.at(&frame) else {
        return Call { frame, module: None, symbol: None, functions: Arc::default() };
    };
    let functions = known.entry(row.address).or_insert_with(|| row.frames.clone().into());
    Call {
        frame,
        module: row.module.clone(),
        symbol: row.symbol.clone().zip(row.offset),
        functions: Arc::clone(functions),
    }
}
