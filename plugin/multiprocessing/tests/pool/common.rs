//! What the tests of the pool share.

pub use crate::acts::{Act, Actor, Brought, Setup};
pub use crate::basics::{IDENTITY, PATIENCE, program, signal, until, worker};
pub use crate::leftovers::{alone, children};
pub use multiprocessing::codec::Message;
pub use multiprocessing::{Next, Pool, PoolConfig, Program, TaskError, TypedJob, WorkerState};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
pub use std::time::Duration;

pub fn config(workers: usize) -> PoolConfig {
    let mut config = PoolConfig::new(program());
    config.workers = workers;
    config
}

pub fn pool(workers: usize) -> Pool {
    Pool::start(config(workers)).expect("a pool")
}

pub fn acts(pool: &Pool) -> TypedJob<Actor> {
    pool.typed_job(&Setup::text("set-up")).expect("a job")
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
        match job.next_timeout(PATIENCE) {
            Next::Ended(id, result) => assert!(ended.insert(id, result).is_none(), "task {id} has ended twice"),
            Next::Nothing => panic!("nothing ends; so far {ended:?}"),
            Next::Idle => return ended,
        }
    }
}

/// Runs one bad act among good ones on a new pool: it fails as expected, and the others do not.
pub fn one_bad_act(config: PoolConfig, bad: Act, expected: impl Fn(&TaskError) -> bool) -> Pool {
    let pool = Pool::start(config).expect("a pool");
    let acts = (0..40).map(|id| if id == 17 { bad.clone() } else { Act::Square(id) });
    for (id, result) in run(&pool, acts) {
        match result {
            Ok(brought) => assert_eq!(brought, Brought::Number(id * id)),
            Err(error) => assert!(id == 17 && expected(&error), "task {id}: {error:?}"),
        }
    }
    pool
}

/// A fixed sequence that looks random.
pub fn random() -> impl FnMut() -> u64 {
    let mut seed = 88_172_645_463_325_252_u64;
    move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    }
}

/// A thousand acts: about one in twenty is bad, in one of four ways, of which the last is `another`.
pub fn some_bad_acts(random: &mut impl FnMut() -> u64, another: &Act) -> Vec<Act> {
    (0..1000)
        .map(|id| match random() % 80 {
            0 => Act::Signal(libc::SIGKILL),
            1 => Act::Abort,
            2 => Act::Exit(1),
            3 => another.clone(),
            _ => Act::Square(id),
        })
        .collect()
}

/// Runs one act.
pub fn run_one(pool: &Pool, act: Act) -> Result<Brought, TaskError> {
    run(pool, [act]).remove(&0).expect("one result")
}

/// The pool has all its workers, and they do their work.
pub fn assert_whole(pool: &Pool, workers: usize) {
    assert!(run(pool, (0..20).map(Act::Square)).values().all(Result::is_ok));
    until("all workers are ready", || {
        let status = pool.status().expect("it answers");
        status.len() == workers && status.iter().all(|worker| worker.state == WorkerState::Idle)
    });
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
