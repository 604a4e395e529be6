//! Tasks on a thread pool of this process.

use super::{Executor, Lost, Next};
use crate::plan::{Analysis, Scanned, Task};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

type Ended<P> = (Task, Result<Scanned<P>, Lost>);

/// Runs tasks on threads of its own. They are started with the first task, and have all ended when this is dropped, so
/// that the code they run may be unloaded after.
///
/// A task that panics is lost, and only that task; whether its parts succeed is tried, as with one whose worker died.
pub struct InProcess<A: Analysis> {
    shared: Arc<Shared<A>>,
    threads: usize,
    pool: Option<Threads>,
    ended: Receiver<Ended<A::Partial>>,
    /// Tasks submitted whose end has not been taken from `ended`.
    under_way: usize,
}

struct Shared<A: Analysis> {
    analysis: Arc<A>,
    input: Arc<A::Input>,
    /// Scanners that no task uses just now.
    scanners: Mutex<Vec<A::Scanner>>,
    stop: AtomicBool,
    ended: Sender<Ended<A::Partial>>,
}

/// A thread pool that waits for its threads when it is dropped.
struct Threads {
    pool: Option<rayon::ThreadPool>,
    handles: Vec<JoinHandle<()>>,
}

impl<A: Analysis> InProcess<A> {
    /// An executor of `threads` threads; with 0, of one.
    pub fn new(analysis: Arc<A>, input: Arc<A::Input>, threads: usize) -> Self {
        let (sender, ended) = unbounded();
        let stop = AtomicBool::new(false);
        let shared = Shared { analysis, input, scanners: Mutex::new(Vec::new()), stop, ended: sender };
        Self { shared: Arc::new(shared), threads: threads.max(1), pool: None, ended, under_way: 0 }
    }
}

impl<A: Analysis> fmt::Debug for InProcess<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InProcess").field("threads", &self.threads).field("under_way", &self.under_way).finish()
    }
}

impl<A: Analysis> Executor<A> for InProcess<A> {
    fn width(&self) -> usize {
        self.threads
    }

    fn submit(&mut self, task: Task) {
        if self.pool.is_none() {
            self.pool = Threads::start(self.threads);
        }
        self.under_way += 1;
        let shared = Arc::clone(&self.shared);
        match self.pool.as_ref().and_then(|threads| threads.pool.as_ref()) {
            Some(pool) => pool.spawn_fifo(move || shared.run(task)),
            // No thread can be started: then this one has to do.
            None => shared.run(task),
        }
    }

    fn next(&mut self, patience: Duration) -> Next<A::Partial> {
        if self.under_way == 0 {
            return Next::Idle;
        }
        match self.ended.recv_timeout(patience) {
            Ok((task, result)) => {
                self.under_way -= 1;
                Next::Ended(task, result)
            }
            Err(RecvTimeoutError::Timeout) => Next::Nothing,
            Err(RecvTimeoutError::Disconnected) => Next::Idle,
        }
    }

    fn cancel(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        while self.under_way > 0 && self.ended.recv().is_ok() {
            self.under_way -= 1;
        }
        self.shared.stop.store(false, Ordering::Relaxed);
    }
}

impl<A: Analysis> Drop for InProcess<A> {
    fn drop(&mut self) {
        self.cancel();
    }
}

impl<A: Analysis> Shared<A> {
    fn run(&self, task: Task) {
        let result = catch_unwind(AssertUnwindSafe(|| self.scan(&task)));
        let result = result.unwrap_or_else(|panic| Err(Lost { reason: panic_reason(&*panic), retry: true }));
        // The receiver lives as long as the executor, which waits for its threads.
        let _ = self.ended.send((task, result));
    }

    fn scan(&self, task: &Task) -> Result<Scanned<A::Partial>, Lost> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(Lost { reason: "cancelled".to_owned(), retry: true });
        }
        let scanner = self.scanners.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let scanner = scanner.map_or_else(|| self.analysis.scanner(), Ok);
        let mut scanner = scanner.map_err(|reason| Lost { reason, retry: false })?;
        let stop = || self.stop.load(Ordering::Relaxed);
        let scanned = self.analysis.scan(&mut scanner, task, &*self.input, &stop);
        // After a panic the scanner is gone: what state it was left in is not known.
        self.scanners.lock().unwrap_or_else(PoisonError::into_inner).push(scanner);
        Ok(scanned)
    }
}

fn panic_reason(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the scan failed: {}", text.unwrap_or("it panicked"))
}

impl Threads {
    fn start(threads: usize) -> Option<Self> {
        let mut handles = Vec::new();
        let builder = rayon::ThreadPoolBuilder::new().num_threads(threads).spawn_handler(|worker| {
            let name = format!("mp-scan {}", worker.index());
            handles.push(thread::Builder::new().name(name).spawn(|| worker.run())?);
            Ok(())
        });
        let pool = builder.build().ok();
        pool.map(|pool| Self { pool: Some(pool), handles })
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // Without the pool its threads end.
        self.pool = None;
        for handle in self.handles.drain(..) {
            // Panics are caught within each task.
            let _ = handle.join();
        }
    }
}
