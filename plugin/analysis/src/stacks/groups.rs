//! Threads that have the same stack.

use super::{End, Frame, Stack};
use std::cmp::Reverse;
use std::collections::HashMap;

/// Threads whose calls are at the same addresses, and whose stacks end for the same reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Indices of the stacks, in ascending order.
    pub threads: Vec<usize>,
}

/// Groups stacks: those that most threads have first, then by the first thread.
pub fn groups(stacks: &[Stack]) -> Vec<Group> {
    let mut numbers: HashMap<Key, usize> = HashMap::new();
    let mut groups: Vec<Group> = Vec::new();
    for (index, stack) in stacks.iter().enumerate() {
        let place = |frame: &Frame| (frame.pc, frame.interrupted);
        let key = (stack.frames.iter().map(place).collect(), kind(&stack.end));
        let number = *numbers.entry(key).or_insert_with(|| {
            groups.push(Group { threads: Vec::new() });
            groups.len() - 1
        });
        groups[number].threads.push(index);
    }
    groups.sort_by_key(|group| (Reverse(group.threads.len()), group.threads[0]));
    groups
}

type Kind = std::mem::Discriminant<End>;

/// Where the calls of a stack are, and why it ends early.
type Key = (Vec<(u64, bool)>, Option<Kind>);

/// Where each stack cannot be read is its own.
fn kind(end: &End) -> Option<Kind> {
    (*end != End::Outermost).then(|| std::mem::discriminant(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(pcs: &[u64], end: End) -> Stack {
        let frame = |(index, pc): (usize, &u64)| Frame { pc: *pc, cfa: index as u64 * 7, interrupted: index == 0 };
        Stack { frames: pcs.iter().enumerate().map(frame).collect(), end }
    }

    #[test]
    fn stacks_are_grouped_by_where_their_calls_are_and_not_by_where_they_lie() {
        let mut moved = stack(&[1, 2], End::Outermost);
        moved.frames[1].cfa += 0x1000;
        let stacks = [
            stack(&[1, 2, 3], End::Outermost),
            stack(&[1, 2], End::Outermost),
            moved,
            stack(&[1, 2], End::Unreadable(1)),
            stack(&[1, 2], End::Unreadable(2)),
            stack(&[], End::Malformed),
        ];
        let found: Vec<_> = groups(&stacks).into_iter().map(|group| group.threads).collect();
        assert_eq!(found, [vec![1, 2], vec![3, 4], vec![0], vec![5]]);
        assert_eq!(groups(&[]), []);
    }
}
