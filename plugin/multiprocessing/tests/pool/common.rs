//! What the tests share: one pool at a time, and a look at what is left after it.

pub use crate::acts::{Act, Actor, Brought, IDENTITY, Setup};
pub use multiprocessing::{Next, Pool, PoolConfig, TaskError, TypedJob, WorkerState};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
pub use std::time::Duration;

/// Long enough for whatever is to happen on a busy machine. Nothing waits so long unless it hangs.
pub const PATIENCE: Duration = Duration::from_secs(30);

static ONE: Mutex<()> = Mutex::new(());

/// Held by each test: no other test runs meanwhile, and in the end nothing may be left in this process.
pub struct Alone {
    _lock: MutexGuard<'static, ()>,
    descriptors: Vec<String>,
    threads: usize,
}

pub fn alone() -> Alone {
    let lock = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    Alone { _lock: lock, descriptors: descriptors(), threads: pool_threads() }
}

impl Drop for Alone {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        assert_eq!(descriptors(), self.descriptors, "descriptors are left");
        assert_eq!(children(), Vec::<u32>::new(), "processes are left");
        assert_eq!(pool_threads(), self.threads, "threads are left");
        let maps = std::fs::read_to_string("/proc/self/maps").expect("own maps");
        assert!(!maps.contains("memfd:multiprocessing"), "shared memory is left: {maps}");
    }
}

fn descriptors() -> Vec<String> {
    let link = |entry: std::io::Result<std::fs::DirEntry>| std::fs::read_link(entry.ok()?.path()).ok();
    let mut links: Vec<_> = std::fs::read_dir("/proc/self/fd")
        .expect("own descriptors")
        .filter_map(link)
        .map(|link| link.to_string_lossy().into_owned())
        .collect();
    links.sort();
    links
}

fn pool_threads() -> usize {
    let name =
        |entry: std::io::Result<std::fs::DirEntry>| std::fs::read_to_string(entry.ok()?.path().join("comm")).ok();
    let tasks = std::fs::read_dir("/proc/self/task").expect("own threads");
    tasks.filter_map(name).filter(|name| name.trim() == "pool").count()
}

/// The child processes of this process, zombies too.
pub fn children() -> Vec<u32> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("own threads");
    let children = tasks.filter_map(|entry| std::fs::read_to_string(entry.ok()?.path().join("children")).ok());
    children
        .flat_map(|list| list.split_whitespace().map(|pid| pid.parse().expect("a number")).collect::<Vec<_>>())
        .collect()
}

pub fn worker() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_multiprocessing-test-worker"))
}

pub fn config(workers: usize) -> PoolConfig {
    let mut config = PoolConfig::new(worker(), IDENTITY);
    config.workers = workers;
    config
}

pub fn pool(workers: usize) -> Pool {
    Pool::start(config(workers)).expect("a pool")
}

pub fn acts(pool: &Pool) -> TypedJob<Actor> {
    pool.typed_job(&Setup::Text("set-up".into()), Vec::new()).expect("a job")
}

/// Runs the acts as one job.
pub fn run(pool: &Pool, list: impl IntoIterator<Item = Act>) -> BTreeMap<u64, Result<Brought, TaskError>> {
    let job = acts(pool);
    let mut count = 0;
    for act in list {
        job.submit(count, &act).expect("it can be encoded");
        count += 1;
    }
    let ended = collect(&job);
    assert_eq!(ended.len() as u64, count);
    ended
}

/// All results of a job, until it is idle. Each must come once.
pub fn collect(job: &TypedJob<Actor>) -> BTreeMap<u64, Result<Brought, TaskError>> {
    let mut ended = BTreeMap::new();
    loop {
        match job.next(PATIENCE) {
            Next::Ended(id, result) => assert!(ended.insert(id, result).is_none(), "task {id} has ended twice"),
            Next::Nothing => panic!("nothing ends; so far {ended:?}"),
            Next::Idle => return ended,
        }
    }
}

/// Runs one act.
pub fn run_one(pool: &Pool, act: Act) -> Result<Brought, TaskError> {
    run(pool, [act]).remove(&0).expect("one result")
}

/// Waits for something that is about to be so.
pub fn until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while !so() {
        assert!(std::time::Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The pool has all its workers, and they do their work.
pub fn assert_whole(pool: &Pool, workers: usize) {
    assert!(run(pool, (0..20).map(Act::Square)).values().all(Result::is_ok));
    until("all workers are ready", || {
        let status = pool.status();
        status.len() == workers && status.iter().all(|worker| worker.state == WorkerState::Idle)
    });
}

pub fn signal(pid: u32, signal: i32) {
    // SAFETY: `kill` takes two numbers.
    unsafe { libc::kill(pid as i32, signal) };
}

/// Threads that use whatever processors they get, until this is dropped.
pub struct Load {
    wanted: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    pub fn new(threads: usize) -> Load {
        let wanted = Arc::new(AtomicBool::new(true));
        let start = |_| {
            let wanted = Arc::clone(&wanted);
            std::thread::spawn(move || {
                while wanted.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            })
        };
        let threads = (0..threads).map(start).collect();
        Load { wanted, threads }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.wanted.store(false, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| thread.join().expect("it only spins"));
    }
}
