//! The worker program of the tests; and, when it is told to, several that are none, and a host with a pool of its own.

mod acts;
mod calls;
mod connection;
mod identity;
mod large;
mod leave;
mod manager;
#[expect(dead_code, reason = "some of it is for the tests only")]
mod process;
mod promises;
mod queue;
mod sync;

use acts::{Act, Actor, Brought, Setup};
use identity::IDENTITY;
use multiprocessing::codec::Message;
use multiprocessing::{
    CommandPrefix, Context, Launcher, Local, Next, Pool, PoolConfig, Program, Refusal, Registry, Serve, TaskError,
    WorkerState, WorkerStatus, worker_main,
};
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Gives back what it is given.
struct Echo;

impl Serve for Echo {
    fn call(&mut self, payload: &[u8], _: Vec<OwnedFd>, _: &Context<'_>) -> Result<Message, Refusal> {
        Ok(Message::plain(payload.to_vec()))
    }
}

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    // What makes it a worker of a pool on another machine is for the library.
    arguments.pop_if(|last| last == "--stdio");
    if let [.., connect, _] = &arguments[..]
        && connect == "--connect"
    {
        arguments.truncate(arguments.len() - 2);
    }
    let identity = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] | ["--multiprocessing-guard", ..] => IDENTITY,
        ["identity", other] => other,
        ["preload-threads" | "preload-pipe"] => IDENTITY,
        ["abort"] => std::process::abort(),
        ["silent"] => loop {
            thread::sleep(Duration::from_secs(60));
        },
        ["protocol"] => return answer(b"MP\x63\x00\x00\x00\x00\x00"),
        ["nonsense"] => return answer(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        ["bomb"] | ["--multiprocessing-worker"] => return process::bomb(),
        ["host", worker] => return host(worker, ""),
        ["host", worker, elsewhere] => return host(worker, elsewhere),
        ["interrupted", worker] => return interrupted(worker),
        _ => return ExitCode::FAILURE,
    };
    let registry = Registry::new(identity)
        .function::<Actor>()
        .function::<connection::connect_and_say>()
        .function::<connection::send_back>()
        .function::<queue::echo_texts>()
        .function::<queue::use_sent_end>()
        .function::<large::send_large>()
        .function::<queue::hold_end>()
        .function::<queue::send_slowly>()
        .function::<queue::receive_all>()
        .function::<queue::put_numbered>()
        .function::<queue::get_numbered>()
        .function::<queue::do_tasks>()
        .serve("echo", |_, _| Ok(Box::new(Echo)));
    worker_main(sync::register(manager::register(process::register(calls(registry)))))
}

fn calls(registry: Registry) -> Registry {
    registry
        .function::<promises::visit>()
        .function::<promises::keep>()
        .function::<promises::deaf>()
        .function::<calls::square>()
        .function::<calls::square_after>()
        .function::<calls::divide>()
        .function::<calls::halve>()
        .function::<calls::process_id>()
        .function::<calls::turn>()
        .function::<calls::raise>()
        .function::<calls::tries>()
        .function::<leave::leave>()
        .function::<calls::panics_unheard>()
        .function::<calls::pipe_with>()
        .function::<calls::until_cancelled>()
        .function::<calls::prepare>()
        .function::<calls::prepared>()
        .function::<calls::fickle>()
        .function::<calls::megabytes>()
        .function::<calls::peak>()
}

/// Answers the greeting with these bytes.
fn answer(bytes: &[u8]) -> ExitCode {
    // SAFETY: the pointer and the length are those of a slice that lives.
    unsafe { libc::send(0, bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL) };
    thread::sleep(Duration::from_secs(60));
    ExitCode::SUCCESS
}

/// A program that has a pool whose workers are busy: prints their numbers, and waits to be killed.
fn host(worker: &str, elsewhere: &str) -> ExitCode {
    let mut config = PoolConfig::new(Program::new(worker, IDENTITY));
    config.workers = 2;
    match elsewhere {
        "remote" => {
            let local: Arc<dyn Launcher> = Arc::new(Local::new(config.program.clone()));
            (config.workers, config.remote) = (0, vec![Arc::clone(&local), local]);
        }
        "hung" => {
            let hung = CommandPrefix::new(["sh", "-c", "exec sleep 600"], "worker").guard(config.program.clone());
            config.remote.push(Arc::new(hung));
        }
        _ => {}
    }
    let Ok(pool) = Pool::start(config) else { return ExitCode::FAILURE };
    let Ok(job) = pool.typed_job::<Actor>(&Setup::text("")) else { return ExitCode::FAILURE };
    for id in 0..2 {
        let _ = job.submit(id, &Act::Sleep(Duration::from_secs(60)));
    }
    until_two_are_busy(&pool);
    println!("{:?}", pool.status().expect("it answers").iter().map(|worker| worker.pid).collect::<Vec<_>>());
    match job.next_timeout(Duration::from_secs(60)) {
        Next::Ended(_, Ok(Brought::Number(_))) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// Waits until two workers of the pool have work.
fn until_two_are_busy(pool: &Pool) {
    let busy = |worker: &&WorkerStatus| worker.state == WorkerState::Busy;
    while pool.status().expect("it answers").iter().filter(busy).count() < 2 {
        thread::sleep(Duration::from_millis(1));
    }
}

/// A program whose job is cancelled by SIGINT.
fn interrupted(worker: &str) -> ExitCode {
    static INTERRUPTED: AtomicBool = AtomicBool::new(false);
    extern "C" fn note(_: i32) {
        INTERRUPTED.store(true, Ordering::Relaxed);
    }
    let note: extern "C" fn(i32) = note;
    // SAFETY: the handler only stores a flag.
    unsafe { libc::signal(libc::SIGINT, note as usize) };
    let mut config = PoolConfig::new(Program::new(worker, IDENTITY));
    config.workers = 2;
    let Ok(pool) = Pool::start(config) else { return ExitCode::FAILURE };
    let results = pool.map_async(calls::square_after, (0..100).map(|number| (number, 600_000)));
    until_two_are_busy(&pool);
    println!("busy");
    while !INTERRUPTED.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(1));
    }
    let none_died = pool.deaths() == 0;
    results.cancel();
    let cancelled = results.get().iter().all(|result| matches!(result, Err(TaskError::Cancelled)));
    let goes_on = pool.map(calls::square, 0..100).iter().all(Result::is_ok);
    if cancelled && none_died && goes_on {
        println!("all cancelled, none died, and the pool goes on");
        ExitCode::SUCCESS
    } else {
        println!("cancelled {cancelled}, none died {none_died}, goes on {goes_on}");
        ExitCode::FAILURE
    }
}
