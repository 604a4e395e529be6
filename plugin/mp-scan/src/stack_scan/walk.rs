//! The stacks of all threads, with the functions that they are in.

use crate::course::{Failure, Stages};
use crate::file_scan::{self, Surveyor};
use crate::here;
use crate::task_executor::TaskExecutor;
use analysis::files::FileAnalysis;
use analysis::lookup::{Given, Lookup, LookupOptions, Spelling};
use analysis::stacks::{self, End, Frame, Names, Registers, Setup, Stack, Thread, Unwind, View};
use analysis::{Analysis, Executor, InProcess};
use anyhow::{Context as _, Result};
use multiprocessing::codec;
use std::collections::{BTreeSet, HashMap};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use target::Access;
use target::cache::Cache;
use target::modules::{FileSet, Files, Machine, Module, Search};

/// How long a step of the survey waits.
const PATIENCE: Duration = Duration::from_millis(10);

/// Where the debugger did not know more of so many stacks that end at the same place and for the same reason, it is not asked
/// about others.
const VAIN: u32 = 4;

/// Threads, their stacks and the names of their functions.
pub struct Walked {
    pub threads: Vec<Thread>,
    /// In the order of the threads.
    pub stacks: Vec<Stack>,
    /// The indices of those that the debugger has unwound.
    pub by_debugger: BTreeSet<usize>,
    pub names: Names,
    /// What the user should know, a line each.
    pub notes: Vec<String>,
}

/// Unwinds the stacks of `threads`: by call frame information, and by the debugger where that does not reach the end.
///
/// # Errors
/// [`Failure::Stopped`] if it is told to end early, and if it cannot begin.
pub fn walk(
    stages: &mut Stages,
    modules: Vec<Module>,
    search: Search,
    mut threads: Vec<Thread>,
) -> Result<Walked, Failure> {
    let (set, inflated) = survey(stages, modules, search)?;
    let mut notes: Vec<String> = Vec::new();
    file_scan::note_problems(&mut notes, &set);
    let mut stacks = unwound(stages, &set, &threads)?;
    // As a rule it is one register that is missing.
    for asked in [Asked::Missing, Asked::All] {
        let needs = |index: &usize| matches!(stacks[*index].end, End::Needs(_));
        let needy: Vec<usize> = (0..threads.len()).filter(needs).collect();
        if ask_registers(stages, &mut threads, &stacks, &needy, asked)? > 0 {
            unwind(stages, &set, &threads, &needy, &mut stacks)?;
        }
    }
    let by_debugger = ask_calls(stages, &threads, &mut stacks, &mut notes)?;
    let names = name(stages, &set, &inflated, &stacks)?;
    // What was looked at is the stacks; the rest is in files.
    stages.stats.bytes_scanned = threads.iter().zip(&stacks).map(|(thread, stack)| height(thread, stack)).sum();
    stages.stats.bytes_planned = stages.stats.bytes_scanned;
    Ok(Walked { threads, stacks, by_debugger, names, notes })
}

/// Bytes of a stack that are in use.
fn height(thread: &Thread, stack: &Stack) -> u64 {
    let top = stack.frames.iter().map(|frame| frame.cfa).max().unwrap_or(0);
    thread.registers.get(Registers::SP).map_or(0, |bottom| top.saturating_sub(bottom).min(1 << 30))
}

/// Has the files of modules found, and of what tells of functions what is compressed inflated.
///
/// # Errors
/// [`Failure::Stopped`] if it is told to end early, and if it cannot begin.
pub fn survey(stages: &Stages, modules: Vec<Module>, search: Search) -> Result<(FileSet, Vec<Arc<OwnedFd>>), Failure> {
    let pool = stages.force.as_ref().map(|force| &force.pool);
    let mut surveyor = Surveyor::new(modules, search, pool, file_scan::has_places)?;
    let stop = stages.stop_signal();
    loop {
        if let Some(found) = surveyor.step(PATIENCE)? {
            return Ok(found);
        }
        if stop.requested() {
            return Err(stop.failure());
        }
    }
}

/// The stacks of `threads`, by call frame information alone.
///
/// # Errors
/// [`Failure::Stopped`] if it is told to end early, and if it cannot begin.
pub fn unwound(stages: &mut Stages, set: &FileSet, threads: &[Thread]) -> Result<Vec<Stack>, Failure> {
    let mut stacks = vec![Stack { frames: Vec::new(), end: End::Lost }; threads.len()];
    if set.modules.iter().any(|module| module.machine == Machine::X86_64) {
        let all: Vec<usize> = (0..threads.len()).collect();
        unwind(stages, set, threads, &all, &mut stacks)?;
    }
    Ok(stacks)
}

/// Unwinds some of the threads.
fn unwind(
    stages: &mut Stages,
    set: &FileSet,
    threads: &[Thread],
    which: &[usize],
    stacks: &mut [Stack],
) -> Result<(), Failure> {
    let analysis = Unwind::new(set.clone(), which.iter().map(|index| threads[*index].registers).collect());
    let files = Files::new(set.clone(), Vec::new(), Access::Pread, None);
    let view = Arc::new(View { memory: Arc::clone(&stages.reading.memory), files });
    let mut executor: Box<dyn Executor<Unwind>> = match (&stages.force, stages.reading.source.clone()) {
        (Some(force), Some(source)) => {
            let setup = (Setup { analysis: analysis.clone(), source }, stages.copies()?);
            let job = force.pool.job(Unwind::NAME, codec::encode(&setup).context("the plan cannot be sent")?);
            Box::new(TaskExecutor::new(job.context("the pool takes no job")?, force.here, |task| task, Some))
        }
        _ => Box::new(InProcess::new(Arc::new(analysis.clone()), Arc::clone(&view), here::processors())),
    };
    let outcome = stages.drive(&analysis, &mut *executor, &view, stacks::CUT, &mut Vec::new())?;
    for (index, stack) in which.iter().zip(outcome.merge) {
        // A second look at a stack may lose its worker.
        if stack.end != End::Lost || stacks[*index].frames.is_empty() {
            stacks[*index] = stack;
        }
    }
    Ok(())
}

/// Which registers the debugger is asked for.
#[derive(Clone, Copy)]
enum Asked {
    /// The one that unwinding has stopped for.
    Missing,
    All,
}

/// Completes the registers of some threads. Returns of how many the debugger has told something new.
fn ask_registers(
    stages: &Stages,
    threads: &mut [Thread],
    stacks: &[Stack],
    which: &[usize],
    asked: Asked,
) -> Result<usize, Failure> {
    let (Some(debugger), stop) = (&stages.debugger, stages.stop_signal()) else { return Ok(0) };
    let mut told = 0;
    for index in which {
        if stop.requested() {
            return Err(stop.failure());
        }
        let thread = &mut threads[*index];
        let known = match (asked, stacks[*index].end) {
            (Asked::Missing, End::Needs(register)) => debugger.register(thread.number, register),
            _ => debugger.registers(thread.number, &Registers::NAMES),
        };
        let Some(known) = known else { break };
        told += usize::from(thread.registers.complete(&known));
    }
    Ok(told)
}

/// Takes the debugger's word for stacks that end early, where it knows more of them. Returns which those are.
fn ask_calls(
    stages: &Stages,
    threads: &[Thread],
    stacks: &mut [Stack],
    notes: &mut Vec<String>,
) -> Result<BTreeSet<usize>, Failure> {
    let (mut taken, mut unasked) = (BTreeSet::new(), 0);
    let (Some(debugger), stop) = (&stages.debugger, stages.stop_signal()) else { return Ok(taken) };
    let mut vain: HashMap<_, u32> = HashMap::new();
    let is_short = |stack: &Stack| !matches!(stack.end, End::Outermost | End::Deep);
    for (index, stack) in stacks.iter_mut().enumerate().filter(|(_, stack)| is_short(stack)) {
        if stop.requested() {
            return Err(stop.failure());
        }
        let last = (std::mem::discriminant(&stack.end), stack.frames.last().map(|frame| frame.pc));
        let tried = vain.entry(last).or_default();
        if *tried >= VAIN {
            continue;
        }
        let Some(mut told) = debugger.calls(threads[index].number) else {
            unasked += 1;
            continue;
        };
        if told.frames.len() > stack.frames.len() {
            // No call precedes what a handler returns to, and what is behind that was interrupted.
            let returns = |frame: &Frame| stacks::returns_from_signal(&*stages.reading.memory, frame.pc);
            let returns: Vec<bool> = told.frames.iter().map(returns).collect();
            for at in 1..told.frames.len() {
                told.frames[at].interrupted = returns[at - 1] || returns[at];
            }
            *stack = told;
            taken.insert(index);
        } else {
            *tried += 1;
        }
    }
    if !taken.is_empty() {
        let numbers: Vec<u64> = taken.iter().map(|index| threads[*index].number).collect();
        notes.push(format!(
            "unwound by the debugger, where call frame information does not reach: {}",
            render::thread_list(&numbers)
        ));
    }
    if unasked > 0 {
        notes.push(format!("{unasked} stacks end early, and the debugger is not asked about them in the background"));
    }
    Ok(taken)
}

/// Looks up the functions of all calls, each address once.
///
/// # Errors
/// [`Failure::Stopped`] if it is told to end early, and if it cannot begin.
pub fn name(stages: &mut Stages, set: &FileSet, inflated: &[Arc<OwnedFd>], stacks: &[Stack]) -> Result<Names, Failure> {
    let given: Vec<Given> = stacks::addresses(stacks).into_iter().map(Given::Address).collect();
    let options = LookupOptions { spelling: Spelling::Demangled, returns: false, loaded: true, limit: u64::MAX };
    let analysis = Lookup::new(set.clone(), &given, options);
    let files = |cache: Option<_>| {
        let cache = cache.map(|(folder, limit)| Cache::open(folder, limit));
        Files::new(set.clone(), Vec::new(), Access::Pread, cache)
    };
    let cache = file_scan::kept();
    let mut executor: Box<dyn Executor<Lookup>> = match &stages.force {
        Some(force) => file_scan::on_workers(force, &analysis, inflated, cache)?,
        None => Box::new(InProcess::new(Arc::new(analysis.clone()), Arc::new(files(cache)), here::processors())),
    };
    let mut found = Vec::new();
    let mut outcome = stages.drive(&analysis, &mut *executor, &files(None), file_scan::CUT, &mut found)?;
    analysis.finish(&mut outcome.merge, &mut found);
    stages.skipped.extend(analysis::files::in_files(set, outcome.skipped));
    Ok(Names::new(found))
}
