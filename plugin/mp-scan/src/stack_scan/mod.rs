//! What threads do: where they are, and what they wait for.
//!
//! A command of threads is a course as those of the heap are: it has the modules' files surveyed, the stacks unwound and their
//! functions named by workers, one after the other, and asks the debugger for what only it can tell.

pub mod deadlocks;
pub mod frames;
pub mod stacks;
mod threads;
mod unlisted;
mod walk;

use crate::cli::ScanOptions;
use crate::course::{self, Answer, Failure, Ground, Plan, Relayed, Stages};
use crate::modules::Modules;
use crate::session::Session;
use analysis::Results;
use anyhow::{Result, bail};
pub use walk::Walked;

/// What is made of the threads once they are known.
pub type Telling = Box<dyn FnOnce(&mut Stages, &Ground, Walked) -> Result<Answer, Failure> + Send>;

/// Looks at the threads of the debugger's process, and shows what `telling` makes of them, or where it will be.
///
/// # Errors
/// If there is no process that is stopped, the workers cannot be started, or the report not be written; the report is then kept
/// as a job.
pub fn run(
    session: &mut Session,
    options: &ScanOptions,
    command: &'static str,
    none: Results,
    telling: Telling,
) -> Result<()> {
    let mut modules = Modules::known(session)?;
    let mut inspected = match modules.process.take() {
        Some(inspected) => inspected,
        None => session.inspect()?,
    };
    if inspected.info.ran {
        bail!("the process is running: stop it with `process interrupt`");
    }
    inspected.warnings = modules.warnings;
    let mut threads = threads::of(&inspected);
    if options.background {
        threads::complete(&mut threads, &inspected);
    }
    let (mut modules, search) = (modules.modules, modules.search);
    unlisted::add(&mut modules, &inspected.space, &*inspected.memory);
    let course = Box::new(move |stages: &mut Stages, ground: &Ground| {
        let mut walked = walk::walk(stages, modules, search, threads)?;
        walked.names.complete(|address| unlisted::file_at(&ground.space, address));
        telling(stages, ground, walked)
    });
    course::run(session, options, Plan { command, inspected, course, none, relayed: Relayed::Asked })
}
