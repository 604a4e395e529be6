//! `mp-scan objects`.

use super::Command;
use crate::cli::ScanOptions;
use crate::heap_scan::{self, HeapPlan, objects};
use crate::session::Session;
use analysis::{ObjectRows, Results, find};
use anyhow::{Result, bail};

/// Find live objects by the name of their type.
///
/// An object is found by its vtable, a value of Rust by the pointer to a trait that holds it, and what a container has allocated by the
/// container's shape. One that is a member of another object is not looked for. What has been freed is never shown. Each is shown with one
/// who points to it.
#[derive(Debug, clap::Parser)]
#[command(
    next_help_heading = "What",
    after_help = "\
Examples:
  mp-scan objects '^Session$'
  mp-scan objects '^Widget$' --subclasses
  mp-scan objects '^std::map/set node$'
  mp-scan objects '^mycrate::Session$'"
)]
pub struct Arguments {
    /// A regex over the names of types, as `mp-scan heap` shows them.
    #[arg(value_name = "TYPE_REGEX", allow_hyphen_values = true)]
    regex: String,

    /// Objects of types that derive from such a type, too.
    #[arg(long)]
    subclasses: bool,

    #[command(flatten)]
    scan: ScanOptions,
}

#[derive(Debug)]
pub struct Objects;

impl Command for Objects {
    const NAME: &'static str = "objects";
    type Arguments = Arguments;

    fn run(session: &mut Session, arguments: Arguments) -> Result<()> {
        let Arguments { regex, subclasses, scan } = arguments;
        if regex.is_empty() {
            bail!("the regex is empty: `.` matches every type");
        }
        let matches = find::matching(&regex)?;
        let inspected = session.inspect()?;
        let limit = session.limit(&scan)?;
        let course = objects::course(matches, subclasses, inspected.registers(), limit);
        let none = Results::Objects(ObjectRows::default());
        heap_scan::run(session, &scan, HeapPlan { command: Self::NAME, inspected, course, none })
    }
}
