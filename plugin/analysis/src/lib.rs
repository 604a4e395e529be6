//! Analyses of a target's memory: pure, safe code from plan to report.
//!
//! ```text
//! plan ──▶ tasks ──▶ partials ──▶ merge ──▶ report
//! ```
//!
//! An [`Analysis`] is a plan: what to look for, and where. The driver cuts it into [`Task`]s, has an [`Executor`] run
//! them, on a thread pool or in worker processes, and puts their partials together in address order, so that the
//! report is the same, byte for byte, however many ran them and whichever ended first.
//!
//! This crate sees memory as [`target::ReadMemory`] and nothing else: no LLDB, no descriptor, no terminal, no process.
#![forbid(unsafe_code)]

pub mod deadlocks;
pub mod describe;
mod driver;
pub mod dwarf;
pub mod entropy;
mod executor;
pub mod files;
pub mod find;
pub mod heap;
pub mod lines;
pub mod lookup;
pub mod map;
mod memory;
mod parallel;
pub mod place;
mod plan;
pub mod remote;
mod report;
pub mod stacks;
pub mod strings;
pub mod symbols;
#[cfg(test)]
mod testing;
pub mod types;
pub mod xrefs;

pub use driver::{Cut, Driver, Outcome, Sink, run};
pub use executor::{Executor, InProcess, Lost, Next, Serial};
pub use plan::{Analysis, ScanRange, Scanned, Task};
pub use report::*;
