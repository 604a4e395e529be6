//! Analyses of the heap as stages of a course.

use crate::course::{Failure, Stages};
use crate::here;
use crate::task_executor::TaskExecutor;
use analysis::heap::{Index, Segments, Setup, Table, View};
use analysis::{Analysis, Cut, Executor, InProcess, Outcome};
use anyhow::{Context as _, Result};
use multiprocessing::SharedMemory;
use multiprocessing::codec;
use std::sync::Arc;

/// An index, and the memory that it is in.
#[derive(Clone, Debug)]
pub struct Indexed {
    pub index: Index,
    words: Arc<SharedMemory>,
}

impl Indexed {
    /// One without a chunk, yet.
    ///
    /// # Errors
    /// If there is no memory left.
    pub fn new(segments: Segments) -> Result<Self> {
        let segments = Arc::new(segments);
        let words = shared(Index::words(&segments))?;
        Ok(Self { index: Index::new(segments, Arc::clone(&words) as Table), words })
    }
}

/// So many words, all zero, that workers share.
///
/// # Errors
/// If there is no memory left.
fn shared(words: u64) -> Result<Arc<SharedMemory>> {
    let size = words.checked_mul(8).and_then(|size| usize::try_from(size).ok()).context("more memory than there is")?;
    // Nothing cannot be mapped.
    let memory = SharedMemory::new(size.max(8)).context("no memory that workers can share")?;
    Ok(Arc::new(memory))
}

/// One for each number, of so many words.
///
/// # Errors
/// If there is no memory left.
pub fn tables(words: &[u64]) -> Result<Vec<Arc<SharedMemory>>> {
    words.iter().map(|words| shared(*words)).collect()
}

impl Stages {
    /// As [`tables`], counted among what the command takes.
    ///
    /// # Errors
    /// If there is no memory left.
    pub fn tables(&mut self, words: &[u64]) -> Result<Vec<Arc<SharedMemory>>> {
        let tables = tables(words)?;
        self.takes(8 * words.iter().sum::<u64>());
        Ok(tables)
    }

    /// Runs an analysis of the heap to its end. `tables` are what it shares among its tasks.
    ///
    /// # Errors
    /// [`Failure::Stopped`] if it was told to end early, and if it cannot begin.
    pub fn run<A>(
        &mut self,
        analysis: &A,
        indexed: &Indexed,
        tables: &[Arc<SharedMemory>],
    ) -> Result<Outcome<A::Merge>, Failure>
    where
        A: Analysis<Input = View> + Clone,
    {
        let view = self.view(indexed, tables);
        let mut executor = self.executor(analysis, &view, indexed, tables)?;
        let outcome = self.drive(analysis, &mut *executor, &view, Cut::default(), &mut Vec::new())?;
        self.skipped.extend(outcome.skipped.iter().cloned());
        Ok(outcome)
    }

    /// What the analyses look at, from this process.
    pub fn view(&self, indexed: &Indexed, tables: &[Arc<SharedMemory>]) -> View {
        let tables = tables.iter().map(|table| Arc::clone(table) as Table).collect();
        View { memory: Arc::clone(&self.reading.memory), index: indexed.index.clone(), tables }
    }

    fn executor<A>(
        &self,
        analysis: &A,
        view: &View,
        indexed: &Indexed,
        tables: &[Arc<SharedMemory>],
    ) -> Result<Box<dyn Executor<A>>>
    where
        A: Analysis<Input = View> + Clone,
    {
        let Some(force) = &self.force else {
            let threads = here::processors();
            return Ok(Box::new(InProcess::new(Arc::new(analysis.clone()), Arc::new(view.clone()), threads)));
        };
        let copies = self.copies()?;
        let segments = Arc::clone(indexed.index.segments());
        let source = self.reading.source.clone().context("workers cannot read the target")?;
        let setup = Setup { analysis: analysis.clone(), source, segments };
        let setup = codec::encode(&(setup, &indexed.words, tables, copies)).context("the plan cannot be sent")?;
        let job = force.pool.job(A::NAME, setup)?;
        Ok(Box::new(TaskExecutor::new(job, force.here, |task| task, Some)))
    }
}
