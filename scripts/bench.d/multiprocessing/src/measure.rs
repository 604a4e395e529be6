//! What all measurements share: where they run, and how a figure is made of a time.

use anyhow::Result;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use std::time::{Duration, Instant};

/// What a small message holds.
pub const SMALL: usize = 64;
/// What a large message holds.
pub const LARGE: usize = 1 << 20;
/// What is handed over.
pub const SEGMENT: usize = 64 << 20;
/// How many workers a pool has.
pub const WORKERS: usize = 2;
/// What a large host has resident, and how many threads.
pub const HOST_BYTES: usize = 1 << 30;
pub const HOST_THREADS: usize = 64;

#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub parent: usize,
    pub other: usize,
    pub scale: usize,
}

impl Place {
    /// How often something is done that is done `count` times in a full run.
    pub fn count(&self, count: usize) -> usize {
        (count / self.scale).max(1)
    }

    /// The calling process may run on both processors.
    pub fn on_both(&self) -> Result<()> {
        pin(&[self.parent, self.other])
    }

    pub fn on_parents(&self) -> Result<()> {
        pin(&[self.parent])
    }
}

/// The calling thread, and what it starts from now on, runs on these processors only.
pub fn pin(processors: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    for processor in processors {
        set.set(*processor)?;
    }
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

pub fn timed<T>(what: impl FnOnce() -> Result<T>) -> Result<Duration> {
    let start = Instant::now();
    what()?;
    Ok(start.elapsed())
}

pub fn micros(time: Duration, count: usize) -> f64 {
    time.as_secs_f64() * 1e6 / count as f64
}

pub fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Thousands of messages a second.
pub fn thousands(time: Duration, count: usize) -> f64 {
    count as f64 / time.as_secs_f64() / 1e3
}

/// GiB a second.
pub fn gib(time: Duration, bytes: usize) -> f64 {
    bytes as f64 / time.as_secs_f64() / (1 << 30) as f64
}

/// `values` of as many repeats, after one that does not count.
pub fn repeat(repeats: usize, mut once: impl FnMut() -> Result<f64>) -> Result<Vec<f64>> {
    once()?;
    (0..repeats).map(|_| once()).collect()
}

/// Bytes that are not all the same, all resident.
pub fn filled(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|index| (index / 4096) as u8 | 1).collect()
}

/// A large host: memory that is resident and threads that wait, until this is dropped.
pub struct LargeHost {
    _memory: Vec<u8>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl LargeHost {
    pub fn new() -> LargeHost {
        let wait = || std::thread::spawn(std::thread::park);
        LargeHost { _memory: vec![1; HOST_BYTES], threads: (0..HOST_THREADS).map(|_| wait()).collect() }
    }
}

impl Drop for LargeHost {
    fn drop(&mut self) {
        for thread in self.threads.drain(..) {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}
