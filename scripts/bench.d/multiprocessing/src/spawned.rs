//! procspawn: functions that run in other processes of this program.

use crate::measure::{LargeHost, Place, WORKERS, micros, millis, repeat, timed};
use anyhow::{Result, bail};
use procspawn::Pool;
use std::time::{Duration, Instant};

fn increment(number: u64) -> u64 {
    number + 1
}

fn sleep(seconds: u64) -> u64 {
    std::thread::sleep(Duration::from_secs(seconds));
    seconds
}

pub fn run(row: &str, place: &Place, repeats: usize) -> Result<Option<Vec<f64>>> {
    place.on_both()?;
    Ok(Some(match row {
        "pool_map" => {
            let pool = Pool::new(WORKERS)?;
            let count = place.count(10_000);
            repeat(repeats, || {
                let time = timed(|| {
                    let tasks: Vec<_> = (0..count as u64).map(|number| pool.spawn(number, increment)).collect();
                    for task in tasks {
                        task.join()?;
                    }
                    Ok(())
                })?;
                Ok(micros(time, count))
            })?
        }
        "pool_start" | "start_small_host" => repeat(repeats, start)?,
        "start_large_host" => {
            let _host = LargeHost::new();
            repeat(repeats, start)?
        }
        "death_to_error" => repeat(repeats, || {
            let task = procspawn::spawn(60, sleep);
            let pid = loop {
                if let Some(pid) = task.pid() {
                    break pid;
                }
            };
            std::thread::sleep(Duration::from_millis(20));
            let start = Instant::now();
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid as i32), nix::sys::signal::Signal::SIGKILL)?;
            if task.join().is_ok() {
                bail!("the dead have worked");
            }
            Ok(millis(start.elapsed()))
        })?,
        _ => return Ok(None),
    }))
}

/// Starts a pool and gives each worker a task.
fn start() -> Result<f64> {
    let begin = Instant::now();
    let pool = Pool::new(WORKERS)?;
    let tasks: Vec<_> = (0..WORKERS as u64).map(|number| pool.spawn(number, increment)).collect();
    for task in tasks {
        task.join()?;
    }
    let time = begin.elapsed();
    pool.kill();
    Ok(millis(time))
}
