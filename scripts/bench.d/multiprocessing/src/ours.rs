//! The library, as a program that uses it would.

use crate::measure::{
    LARGE, LargeHost, Place, SEGMENT, SMALL, WORKERS, filled, gib, micros, millis, pin, repeat, thousands, timed,
};
use anyhow::{Context as _, Result, bail};
use multiprocessing::{
    Bytes, ExitStatus, Pipe, Pool, PoolConfig, Process, Program, Queue, Registry, RetryPolicy, Segment, Segments,
    WorkerState, WorkerStatus, function, pipe,
};
use std::time::{Duration, Instant};

const IDENTITY: &str = "bench";
const PATIENCE: Duration = Duration::from_secs(60);

/// What is sent in the rows of 64 B.
type Small = [u64; SMALL / 8];
/// The other end of the measuring process's pipe.
type Echoing = Pipe<Small, Small>;
type Orders = Pipe<(), usize>;
type Using = Pipe<u8, Segment>;

function! { fn increment(number: u64) -> u64 { number + 1 } }

function! {
    fn sleep(seconds: u64) -> u64 {
        std::thread::sleep(Duration::from_secs(seconds));
        seconds
    }
}

function! {
    /// Sends back what comes, until the other end is closed.
    fn echo(end: Echoing, processor: usize) -> Result<(), String> {
        let mut end = end;
        pin(&[processor]).map_err(|error| error.to_string())?;
        while let Ok(message) = end.recv() {
            end.send(&message).map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

function! {
    /// Puts as many messages as it is told, as often as it is.
    fn produce_small(orders: Orders, queue: Queue<Small>, processor: usize) -> Result<(), String> {
        let mut orders = orders;
        pin(&[processor]).map_err(|error| error.to_string())?;
        while let Ok(count) = orders.recv() {
            for number in 0..count as u64 {
                queue.put(&[number; SMALL / 8]).map_err(|error| error.to_string())?;
            }
        }
        Ok(())
    }
}

function! {
    fn produce_large(orders: Orders, queue: Queue<Bytes>, processor: usize) -> Result<(), String> {
        let mut orders = orders;
        pin(&[processor]).map_err(|error| error.to_string())?;
        let message = Bytes(filled(LARGE));
        while let Ok(count) = orders.recv() {
            for _ in 0..count {
                queue.put(&message).map_err(|error| error.to_string())?;
            }
        }
        Ok(())
    }
}

function! {
    /// Looks at both ends of each segment.
    fn look(end: Using, processor: usize) -> Result<(), String> {
        let mut end = end;
        pin(&[processor]).map_err(|error| error.to_string())?;
        while let Ok(segment) = end.recv() {
            let (mut first, mut last) = ([0], [0]);
            segment.read(0, &mut first).map_err(|error| error.to_string())?;
            segment.read(segment.len() - 1, &mut last).map_err(|error| error.to_string())?;
            end.send(&(first[0] ^ last[0])).map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

/// If this process is a worker of the library's, it works, and this does not return.
pub fn serve_if_worker() {
    Registry::new(IDENTITY)
        .function::<increment>()
        .function::<sleep>()
        .function::<echo>()
        .function::<produce_small>()
        .function::<produce_large>()
        .function::<look>()
        .serve_if_worker();
}

pub fn run(row: &str, place: &Place, repeats: usize) -> Result<Option<Vec<f64>>> {
    place.on_parents()?;
    Ok(Some(match row {
        "round_trip_same_core" | "round_trip_cross_core" => round_trip(place, repeats)?,
        "queue_64b" | "queue_64b_same_core" => {
            let queue = Queue::new()?;
            let (orders, theirs) = pipe::<usize, ()>()?;
            let argument = (theirs, queue.clone(), place.other);
            let process = Process::builder(&program()?).start(produce_small, &argument)?;
            let count = place.count(200_000);
            consume(process, orders, &queue, repeats, count, thousands)?
        }
        "queue_1mib" => {
            let queue = Queue::new()?;
            let (orders, theirs) = pipe::<usize, ()>()?;
            let argument = (theirs, queue.clone(), place.other);
            let process = Process::builder(&program()?).start(produce_large, &argument)?;
            let count = place.count(1000);
            consume(process, orders, &queue, repeats, count, |time, count| gib(time, count * LARGE))?
        }
        "handover_64mib" | "refill_64mib" | "fill_64mib" => segments(row, place, repeats)?,
        "pool_map" => {
            let pool = pool(place)?;
            let count = place.count(10_000);
            repeat(repeats, || {
                let time = timed(|| {
                    let values = pool.calls(increment).chunk_size(1).map(0..count as u64);
                    Ok(values.into_iter().collect::<Result<Vec<_>, _>>()?)
                })?;
                Ok(micros(time, count))
            })?
        }
        "pool_start" | "start_small_host" => repeat(repeats, || start(place))?,
        "start_large_host" => {
            let _host = LargeHost::new();
            repeat(repeats, || start(place))?
        }
        "death_to_error" => death(place, repeats)?,
        _ => return Ok(None),
    }))
}

fn program() -> Result<Program> {
    Ok(Program::current(IDENTITY)?)
}

/// Waits for a process, which is about to end well.
fn finish(process: &Process) -> Result<()> {
    match process.join_timeout(PATIENCE)? {
        Some(ExitStatus::Exited(0)) => Ok(()),
        other => bail!("the other process: {other:?}"),
    }
}

fn round_trip(place: &Place, repeats: usize) -> Result<Vec<f64>> {
    let (mut end, theirs) = pipe::<Small, Small>()?;
    let process = Process::builder(&program()?).start(echo, &(theirs, place.other))?;
    let count = place.count(20_000);
    let values = repeat(repeats, || {
        let time = timed(|| {
            for number in 0..count as u64 {
                end.send(&[number; SMALL / 8])?;
                end.recv()?;
            }
            Ok(())
        })?;
        Ok(micros(time, count))
    })?;
    drop(end);
    finish(&process)?;
    Ok(values)
}

/// Has a process put messages, and gets them.
fn consume<T: serde::Serialize + serde::de::DeserializeOwned + 'static>(
    process: Process,
    mut orders: Pipe<usize, ()>,
    queue: &Queue<T>,
    repeats: usize,
    count: usize,
    figure: impl Fn(Duration, usize) -> f64,
) -> Result<Vec<f64>> {
    let values = repeat(repeats, || {
        let time = timed(|| {
            orders.send(&count)?;
            for _ in 0..count {
                queue.get()?;
            }
            Ok(())
        })?;
        Ok(figure(time, count))
    })?;
    drop(orders);
    finish(&process)?;
    Ok(values)
}

fn segments(row: &str, place: &Place, repeats: usize) -> Result<Vec<f64>> {
    let (mut end, theirs) = pipe::<Segment, u8>()?;
    let process = Process::builder(&program()?).start(look, &(theirs, place.other))?;
    let source = filled(SEGMENT);
    let supply = Segments::new(4 * SEGMENT);
    let filled = supply.take(SEGMENT)?;
    filled.write(0, &source)?;
    let values = repeat(repeats, || {
        let supply = if row == "fill_64mib" { Segments::new(SEGMENT) } else { supply.clone() };
        let time = timed(|| {
            if row == "handover_64mib" {
                end.send(&filled)?;
            } else {
                let segment = supply.take(SEGMENT)?;
                segment.write(0, &source)?;
                end.send(&segment)?;
            }
            Ok(end.recv()?)
        })?;
        Ok(millis(time))
    })?;
    drop(end);
    finish(&process)?;
    Ok(values)
}

fn pool(place: &Place) -> Result<Pool> {
    place.on_both()?;
    let mut config = PoolConfig::new(program()?);
    config.workers = WORKERS;
    Ok(Pool::start(config)?)
}

fn start(place: &Place) -> Result<f64> {
    let begin = Instant::now();
    let pool = pool(place)?;
    for value in pool.calls(increment).chunk_size(1).map(0..WORKERS as u64) {
        value?;
    }
    Ok(millis(begin.elapsed()))
}

/// From the SIGKILL of a worker to its task's error.
fn death(place: &Place, repeats: usize) -> Result<Vec<f64>> {
    let pool = pool(place)?;
    repeat(repeats, || {
        let task = pool.calls(sleep).retry(RetryPolicy::NEVER).apply_async(&60);
        std::thread::sleep(Duration::from_millis(50));
        let busy = |worker: &WorkerStatus| worker.state == WorkerState::Busy;
        let victim = pool.status()?.into_iter().find(busy).context("nobody works")?.pid;
        let begin = Instant::now();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(victim as i32), nix::sys::signal::Signal::SIGKILL)?;
        match task.get() {
            Err(_) => Ok(millis(begin.elapsed())),
            Ok(_) => bail!("the dead have worked"),
        }
    })
}
