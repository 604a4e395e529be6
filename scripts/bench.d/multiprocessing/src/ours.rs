//! The library, as a program that uses it would.

use crate::measure::{LargeHost, Place, WORKERS, micros, millis, repeat, timed};
use anyhow::{Context as _, Result, bail};
use multiprocessing::{Next, Pool, PoolConfig, Program, Registry, TypedJob, function};
use std::time::{Duration, Instant};

const IDENTITY: &str = "bench";
const PATIENCE: Duration = Duration::from_secs(60);

function! { fn increment(number: u64) -> u64 { number + 1 } }

function! {
    fn sleep(seconds: u64) -> u64 {
        std::thread::sleep(Duration::from_secs(seconds));
        seconds
    }
}

/// If this process is a worker of the library's, it works, and this does not return.
pub fn serve_if_worker() {
    Registry::new(IDENTITY).function::<increment>().function::<sleep>().serve_if_worker();
}

pub fn run(row: &str, place: &Place, repeats: usize) -> Result<Option<Vec<f64>>> {
    place.on_parents()?;
    Ok(Some(match row {
        "pool_map" => pool_map(place, repeats)?,
        "pool_start" | "start_small_host" => repeat(repeats, || start(place))?,
        "start_large_host" => {
            let _host = LargeHost::new();
            repeat(repeats, || start(place))?
        }
        "death_to_error" => death(place, repeats)?,
        _ => return Ok(None),
    }))
}

fn pool(place: &Place) -> Result<Pool> {
    place.on_both()?;
    let mut config = PoolConfig::new(Program::current(IDENTITY)?);
    config.workers = WORKERS;
    Ok(Pool::start(config)?)
}

/// Has all of a job's tasks end well.
fn finish(job: &TypedJob<increment>) -> Result<()> {
    loop {
        match job.next(PATIENCE) {
            Next::Ended(_, result) => drop(result?),
            Next::Nothing => bail!("nothing ends"),
            Next::Idle => return Ok(()),
        }
    }
}

fn pool_map(place: &Place, repeats: usize) -> Result<Vec<f64>> {
    let pool = pool(place)?;
    let count = place.count(10_000);
    repeat(repeats, || {
        let time = timed(|| {
            let job = pool.typed_job::<increment>(&())?;
            for number in 0..count as u64 {
                job.submit(number, &number)?;
            }
            finish(&job)
        })?;
        Ok(micros(time, count))
    })
}

fn start(place: &Place) -> Result<f64> {
    let begin = Instant::now();
    let pool = pool(place)?;
    let job = pool.typed_job::<increment>(&())?;
    for number in 0..WORKERS as u64 {
        job.submit(number, &number)?;
    }
    finish(&job)?;
    Ok(millis(begin.elapsed()))
}

/// From the SIGKILL of a worker to its task's error.
fn death(place: &Place, repeats: usize) -> Result<Vec<f64>> {
    let pool = pool(place)?;
    repeat(repeats, || {
        let job = pool.typed_job::<sleep>(&())?;
        job.submit(0, &60)?;
        std::thread::sleep(Duration::from_millis(50));
        let busy = |worker: &multiprocessing::WorkerStatus| worker.state == multiprocessing::WorkerState::Busy;
        let victim = pool.status().into_iter().find(busy).context("nobody works")?.pid;
        let begin = Instant::now();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(victim as i32), nix::sys::signal::Signal::SIGKILL)?;
        match job.next(PATIENCE) {
            Next::Ended(0, Err(_)) => Ok(millis(begin.elapsed())),
            other => bail!("the dead have worked: {other:?}"),
        }
    })
}
