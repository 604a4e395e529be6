//! `mp-scan stacks`.

use super::Command;
use crate::cli::ScanOptions;
use crate::session::Session;
use crate::stack_scan::{self, stacks};
use analysis::{Results, StackRows, find};
use anyhow::{Context as _, Result, bail};

/// Show what all threads do: their stacks, grouped by what they have in common.
///
/// Threads with the same calls are one result, those that most have first. Functions that are inlined have their own lines. A
/// stack is unwound by call frame information; where there is none, the debugger's unwinder is asked, and that is said.
#[derive(Debug, clap::Parser)]
#[command(
    next_help_heading = "What is shown",
    after_help = "\
Examples:
  mp-scan stacks
  mp-scan stacks --match 'Queue::pop|epoll_wait' --state
  mp-scan stacks --tree"
)]
pub struct Arguments {
    /// Only stacks with a function whose name this regex matches.
    #[arg(long = "match", value_name = "REGEX", allow_hyphen_values = true)]
    matching: Option<String>,

    /// Say in which system calls the threads are, or that they run.
    #[arg(long)]
    state: bool,

    /// Show all calls of long stacks.
    #[arg(long)]
    all_frames: bool,

    /// Show one tree of calls, from the outermost on, that folds what stacks have in common.
    #[arg(long)]
    tree: bool,

    #[command(flatten)]
    scan: ScanOptions,
}

#[derive(Debug)]
pub struct Stacks;

impl Command for Stacks {
    const NAME: &'static str = "stacks";
    type Arguments = Arguments;

    fn run(session: &mut Session, arguments: Arguments) -> Result<()> {
        let Arguments { matching, state, all_frames, tree, scan } = arguments;
        if matching.as_deref() == Some("") {
            bail!("the regex is empty: `.` matches every function that has a name");
        }
        let matching = matching.map(|regex| find::matching(&regex)).transpose().context("--match")?;
        let limit = session.limit(&scan)?;
        let none = if tree { Results::Branches(Vec::new()) } else { Results::Stacks(StackRows::default()) };
        let showing = stacks::Showing { matching, states: state, all_frames, tree, limit };
        stack_scan::run(session, &scan, Self::NAME, none, stacks::telling(showing))
    }
}
