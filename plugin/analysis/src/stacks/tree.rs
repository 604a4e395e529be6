//! All stacks as one tree of calls, from the outermost on.

use crate::report::{BranchRow, CallRow, StackRow, ThreadRow};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A function at a place in the tree.
#[derive(Debug, Default)]
struct Branch {
    count: u64,
    /// The place in the source, as long as all threads agree on it.
    place: Option<(Option<Arc<str>>, Option<u64>)>,
    threads: Vec<ThreadRow>,
    /// In the order in which they came.
    calls: Vec<usize>,
    by_function: BTreeMap<Key, usize>,
}

/// What tells functions apart: those that have no name by where they are.
type Key = (Arc<str>, Option<Arc<str>>, Option<u64>);

fn key(call: &CallRow) -> Key {
    (call.name(), call.module.clone(), call.function.is_none().then_some(call.address))
}

/// Folds what stacks have in common from their outermost calls on. A call comes before those that it makes; one that calls itself
/// is one.
pub fn tree(rows: &[StackRow]) -> Vec<BranchRow> {
    let mut branches = vec![Branch::default()];
    let mut functions: Vec<Key> = vec![Key::default()];
    for row in rows {
        let mut at = 0;
        // A thread of which nothing is known is in a function of which nothing is known.
        let unknown = row.frames.is_empty().then(CallRow::default);
        for call in row.frames.iter().rev().chain(&unknown) {
            let key = key(call);
            if at != 0 && functions[at] == key {
                // It calls itself.
                continue;
            }
            let known = branches[at].by_function.get(&key).copied();
            let next = known.unwrap_or_else(|| {
                let next = branches.len();
                branches.push(Branch::default());
                functions.push(key.clone());
                branches[at].by_function.insert(key, next);
                branches[at].calls.push(next);
                next
            });
            let branch = &mut branches[next];
            let place = (call.file.clone(), call.line);
            match &mut branch.place {
                Some(known) if *known != place => {
                    *known = (place.0.filter(|file| known.0.as_ref() == Some(file)), None)
                }
                Some(_) => {}
                unknown @ None => *unknown = Some(place),
            }
            branch.count += row.threads.len() as u64;
            at = next;
        }
        branches[at].threads.extend(row.threads.iter().cloned());
    }
    let mut shown = Vec::new();
    // What is still to be shown, the next one last: the branch, how deep it is, and how many forks lie before it.
    let mut left: Vec<(usize, usize, usize)> = children(&branches, 0, 0, 0);
    while let Some((number, depth, forks)) = left.pop() {
        let (branch, (name, module, _)) = (&branches[number], &functions[number]);
        let (file, line) = branch.place.clone().unwrap_or_default();
        shown.push(BranchRow {
            depth,
            count: branch.count,
            function: Some(name.clone()).filter(|name| !name.is_empty()),
            module: module.clone(),
            file,
            line,
            threads: branch.threads.clone(),
            forks,
        });
        left.extend(children(&branches, number, depth + 1, forks));
    }
    shown
}

/// What a branch calls, the one that most threads are in last.
fn children(branches: &[Branch], number: usize, depth: usize, forks: usize) -> Vec<(usize, usize, usize)> {
    let branch = &branches[number];
    let mut calls = branch.calls.clone();
    calls.sort_by_key(|call| Reverse(branches[*call].count));
    // The roots are no fork: nothing has called them.
    let is_fork = number != 0 && (calls.len() > 1 || !branch.threads.is_empty());
    calls.into_iter().rev().map(|call| (call, depth, forks + usize::from(is_fork))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(threads: &[u64], calls: &[(&str, u64)]) -> StackRow {
        let thread = |number: &u64| ThreadRow { number: *number, ..ThreadRow::default() };
        let call = |(name, line): &(&str, u64)| CallRow {
            function: (!name.is_empty()).then(|| Arc::from(*name)),
            file: Some("a.c".into()),
            line: Some(*line),
            ..CallRow::default()
        };
        StackRow {
            threads: threads.iter().map(thread).collect(),
            frames: calls.iter().map(call).collect(),
            ..StackRow::default()
        }
    }

    #[test]
    fn callers_that_stacks_share_are_one_branch() {
        let rows = [
            row(&[2, 3], &[("wait", 1), ("work", 5), ("start", 9)]),
            row(&[4], &[("read", 2), ("work", 6), ("start", 9)]),
            row(&[1], &[("join", 3), ("main", 4)]),
            row(&[5], &[("work", 6), ("start", 9)]),
        ];
        let shown: Vec<_> = tree(&rows)
            .into_iter()
            .map(|branch| {
                let threads: Vec<u64> = branch.threads.iter().map(|thread| thread.number).collect();
                (branch.depth, branch.forks, branch.count, branch.function.unwrap(), branch.line, threads)
            })
            .map(|(depth, forks, count, name, line, threads)| (depth, forks, count, name.to_string(), line, threads))
            .collect();
        let expected = [
            (0, 0, 4, "start", Some(9), vec![]),
            (1, 0, 4, "work", None, vec![5]),
            (2, 1, 2, "wait", Some(1), vec![2, 3]),
            (2, 1, 1, "read", Some(2), vec![4]),
            (0, 0, 1, "main", Some(4), vec![]),
            (1, 0, 1, "join", Some(3), vec![1]),
        ];
        let expected = expected
            .map(|(depth, forks, count, name, line, threads)| (depth, forks, count, name.to_owned(), line, threads));
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_function_that_calls_itself_is_one_branch() {
        let rows =
            [row(&[1], &[("leaf", 1), ("down", 2), ("down", 2), ("main", 3)]), row(&[2], &[("down", 2), ("main", 3)])];
        let shown: Vec<_> = tree(&rows).into_iter().map(|branch| (branch.depth, branch.count)).collect();
        assert_eq!(shown, [(0, 2), (1, 2), (2, 1)]);
    }

    #[test]
    fn nothing_has_no_tree_and_a_stack_without_calls_a_branch_without_a_name() {
        assert_eq!(tree(&[]), []);
        let shown = tree(&[row(&[1], &[])]);
        assert_eq!((shown.len(), shown[0].count, &shown[0].function), (1, 1, &None));
    }
}
