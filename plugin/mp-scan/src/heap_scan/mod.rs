//! Commands of the heap: courses, over what is known of it at a stop.

mod allocations;
mod analyses;
pub mod check;
pub mod contents;
mod copied;
mod kept;
mod known;
pub mod leaks;
pub mod objects;
mod places;
pub mod refs;
mod registers;
mod types;
mod vigil;

use crate::cli::ScanOptions;
use crate::course::{self, Course, Plan, Reading, Relayed, Stages};
use crate::engine::Workforce;
use crate::inspect::{Access, Inspected};
use crate::session::Session;
use crate::watch::Watch;
pub use allocations::Allocations;
pub use analyses::{Indexed, tables};
use analysis::Results;
use anyhow::{Context as _, Result, bail};
pub use kept::Kept;
pub use known::Known;
pub use registers::{Registers, ThreadRegisters};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use target::ReadMemory;

/// What a command of the heap wants done.
pub struct HeapPlan {
    pub command: &'static str,
    pub inspected: Inspected,
    pub course: Course,
    /// No results, of the kind that it has.
    pub none: Results,
}

/// Runs it as the options say, and shows its report or where it will be.
///
/// # Errors
/// If the workers cannot be started, or the report not be written; the report is then kept as a job.
pub fn run(session: &mut Session, options: &ScanOptions, plan: HeapPlan) -> Result<()> {
    let size = plan.inspected.space.layout.pointer_size;
    if size != 8 {
        bail!("the heap of a {}-bit process is not understood: heap commands cover 64-bit processes", 8 * size);
    }
    let HeapPlan { command, inspected, course, none } = plan;
    course::run(session, options, Plan { command, inspected, course, none, relayed: Relayed::Copied })
}

/// What analyses of the heap beside another scan need.
pub struct Beside {
    /// The target's, for a look here and there.
    pub memory: Arc<dyn ReadMemory>,
    /// Makes the stages that run them, once they are wanted.
    pub stages: Box<dyn FnOnce() -> Stages + Send>,
}

/// What runs analyses of the heap beside another scan, with that one's workers; `None` for a target that only the debugger can
/// read, or that changes.
///
/// # Errors
/// If descriptors run out.
pub fn beside(inspected: &Inspected, force: Option<&Workforce>) -> Result<Option<Beside>> {
    let Access::Direct { opened, identity, .. } = &inspected.access else { return Ok(None) };
    if inspected.info.ran || inspected.space.layout.pointer_size != 8 {
        return Ok(None);
    }
    let copies = opened.descriptors.iter().map(OwnedFd::try_clone).collect::<Result<_, _>>();
    let descriptors = copies.context("out of file descriptors")?;
    let (memory, source, identity) = (Arc::clone(&inspected.memory), opened.source.clone(), identity.clone());
    let force = force.filter(|force| force.here > 0).cloned();
    let reading = Reading { memory: Arc::clone(&memory), source: Some(source), descriptors, copy: None };
    let stages = Box::new(move || Stages::new(reading, force, Watch::new(identity, false)));
    Ok(Some(Beside { memory, stages }))
}
