//! This machine: how much of it there is, and what keeps a job of the pool on it, whose files it reads: a descriptor in the job's
//! set-up message.

use anyhow::{Context as _, Result};
use multiprocessing::codec::{self, Descriptor, Message};
use std::fs::File;
use std::os::fd::OwnedFd;

/// As many threads work in this process, where it does a scan itself.
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// A descriptor that is of no other use.
///
/// # Errors
/// If descriptors run out.
pub fn descriptor() -> Result<OwnedFd> {
    Ok(File::open("/").context("out of file descriptors")?.into())
}

/// A set-up message with nothing else in it.
///
/// # Errors
/// If descriptors run out.
pub fn message() -> Result<Message> {
    codec::encode(&Descriptor::from(descriptor()?)).context("a job cannot be set up")
}
