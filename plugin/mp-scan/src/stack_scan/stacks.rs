//! What `stacks` does.

use super::{Telling, Walked};
use crate::course::Answer;
use analysis::find::Matches;
use analysis::stacks::{Group, Thread, groups, tree};
use analysis::{Results, StackRow, StackRows, ThreadRow};

/// How stacks are shown.
pub struct Showing {
    /// Only those with a function that it matches.
    pub matching: Option<Matches>,
    pub states: bool,
    pub all_frames: bool,
    pub tree: bool,
    pub limit: u64,
}

/// Groups the threads by their stacks.
pub fn telling(showing: Showing) -> Telling {
    Box::new(move |_, _, walked| {
        let groups = groups(&walked.stacks);
        let limit = usize::try_from(showing.limit).unwrap_or(usize::MAX);
        // Rows of thousands of deep stacks take memory, so those that nobody asks for are not made.
        let is_plain = showing.matching.is_none() && !showing.tree;
        let made = groups.iter().take(if is_plain { limit } else { usize::MAX }).map(|group| row(&walked, group));
        let mut rows: Vec<StackRow> = made.filter(|row| matches(&showing, row)).collect();
        let mut notes = walked.notes;
        let threads = match is_plain {
            true => walked.threads.len(),
            false => rows.iter().map(|row| row.threads.len()).sum(),
        };
        if showing.matching.is_some() && threads < walked.threads.len() {
            let others = walked.threads.len() - threads;
            notes.push(format!(
                "{others} other threads pass through no such function, as far as their stacks are known"
            ));
        }
        if showing.tree {
            let short: Vec<u64> = rows.iter().filter(|row| row.end.is_some()).flat_map(numbers).collect();
            if !short.is_empty() {
                notes.push(format!("not known to their outermost calls: {}", render::thread_list(&short)));
            }
            let mut branches = tree(&rows);
            let total = branches.len() as u64;
            branches.truncate(limit);
            return Ok(Answer::new(Results::Branches(branches), total, notes));
        }
        let total = if is_plain { groups.len() } else { rows.len() } as u64;
        rows.truncate(limit);
        let Showing { states, all_frames, .. } = showing;
        let rows = StackRows { rows, threads: threads as u64, states, all_frames };
        Ok(Answer::new(Results::Stacks(rows), total, notes))
    })
}

fn numbers(row: &StackRow) -> impl Iterator<Item = u64> {
    row.threads.iter().map(|thread| thread.number)
}

fn matches(showing: &Showing, row: &StackRow) -> bool {
    let Some(matches) = &showing.matching else { return true };
    row.frames.iter().any(|call| matches(&call.name()))
}

fn row(walked: &Walked, group: &Group) -> StackRow {
    let first = group.threads[0];
    let stack = &walked.stacks[first];
    StackRow {
        threads: group.threads.iter().map(|index| thread(&walked.threads[*index])).collect(),
        frames: walked.names.calls(stack),
        end: stack.end.reason(),
        by_debugger: group.threads.iter().any(|index| walked.by_debugger.contains(index)),
    }
}

fn thread(thread: &Thread) -> ThreadRow {
    ThreadRow {
        number: thread.number,
        id: thread.id,
        name: thread.name.as_deref().map(Into::into),
        state: thread.state().map(Into::into),
    }
}
