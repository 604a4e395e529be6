//! The tasks that the pool has in hand. Another machine may be slow, or at the end of a slow line: a task that has been there for
//! long is handed out once more, and whoever ends it first has done it.

use analysis::Task;
use std::collections::HashMap;
use std::time::{Duration, Instant};
use target::relayed::Filled;

/// After this time, a task of another machine is handed to a worker that has nothing else to do.
const SOON: Duration = Duration::from_millis(50);

/// After this one, to whoever is free next: all that comes after it waits to be shown.
const LATE: Duration = Duration::from_secs(1);

/// So often is a task handed out at most.
const MOST: usize = 3;

/// See above. Each time that a task is handed out has a number of its own.
#[derive(Debug, Default)]
pub struct InHand {
    tasks: HashMap<u64, Held>,
    /// The task of each number; what is not here any more has been done otherwise.
    numbers: HashMap<u64, u64>,
    last: u64,
}

#[derive(Debug)]
struct Held {
    task: Task,
    filled: Option<Filled>,
    numbers: Vec<u64>,
}

impl InHand {
    /// A number for a task, whose memory may have been read beforehand.
    pub fn hand_out(&mut self, task: Task, filled: Option<Filled>) -> u64 {
        self.last += 1;
        self.numbers.insert(self.last, task.id);
        let held = self.tasks.entry(task.id).or_insert_with(|| Held { task, filled, numbers: Vec::new() });
        held.numbers.push(self.last);
        self.last
    }

    /// A number has ended without a result. Returns its task if it was the last that had it in hand.
    pub fn lost(&mut self, number: u64) -> Option<Task> {
        let id = self.numbers.remove(&number)?;
        let held = self.tasks.get_mut(&id)?;
        held.numbers.retain(|other| *other != number);
        if held.numbers.is_empty() { self.tasks.remove(&id).map(|held| held.task) } else { None }
    }

    /// A number has ended, and with it its task, whoever else has that in hand.
    pub fn done(&mut self, number: u64) -> Option<Task> {
        let held = self.tasks.remove(self.numbers.get(&number)?)?;
        self.numbers.retain(|_, id| *id != held.task.id);
        Some(held.task)
    }

    /// A task that is to be handed out once more, of those that only other machines have in hand: `gone` says since when they have
    /// a number. `width` is how many workers there are.
    pub fn overdue(
        &self,
        now: Instant,
        width: usize,
        gone: impl Fn(u64) -> Option<Instant>,
    ) -> Option<(Task, Option<Filled>)> {
        let patience = if self.numbers.len() < width { SOON } else { LATE };
        let longest = |held: &&Held| {
            // The last of them is the one that may still be soon.
            let since =
                held.numbers.iter().map(|number| gone(*number)).collect::<Option<Vec<_>>>()?.into_iter().max()?;
            let waited = now.saturating_duration_since(since);
            (held.numbers.len() < MOST && waited >= patience).then_some(waited)
        };
        let held = self.tasks.values().filter(|held| longest(held).is_some()).max_by_key(longest)?;
        Some((held.task, held.filled.clone()))
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.tasks.clear();
        self.numbers.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use target::AddressRange;

    fn task(id: u64) -> Task {
        Task { id, index: 0, range: AddressRange::new(id * 4096, id * 4096 + 4096) }
    }

    #[test]
    fn the_first_that_ends_a_task_has_done_it() {
        let mut in_hand = InHand::default();
        let numbers =
            [in_hand.hand_out(task(7), None), in_hand.hand_out(task(8), None), in_hand.hand_out(task(7), None)];
        assert_eq!(in_hand.lost(numbers[0]), None, "another has it");
        assert_eq!(in_hand.done(numbers[2]), Some(task(7)));
        assert_eq!([in_hand.done(numbers[0]), in_hand.lost(numbers[2])], [None, None]);
        assert_eq!(in_hand.lost(numbers[1]), Some(task(8)));
    }

    #[test]
    fn only_what_is_elsewhere_for_long_is_handed_out_again() {
        let mut in_hand = InHand::default();
        let start = Instant::now();
        let [first, second, here] = [1, 2, 3].map(|id| in_hand.hand_out(task(id), None));
        let gone = |number| match number {
            _ if number == here => None,
            _ if number == first => Some(start + Duration::from_millis(10)),
            _ => Some(start),
        };
        let overdue =
            |in_hand: &InHand, after, width| in_hand.overdue(start + after, width, gone).map(|(task, _)| task.id);
        assert_eq!(overdue(&in_hand, SOON / 2, 4), None);
        // The one that went first; and with all workers at work, later.
        assert_eq!(overdue(&in_hand, SOON, 4), Some(2));
        assert_eq!(overdue(&in_hand, SOON, 3), None);
        assert_eq!(overdue(&in_hand, LATE, 3), Some(2));
        // Its copy is with somebody here, who will be done before long.
        let copy = in_hand.hand_out(task(2), None);
        let gone_too = |number| if number == copy { None } else { gone(number) };
        let now = start + SOON + Duration::from_millis(10);
        assert_eq!(in_hand.overdue(now, 9, gone_too).map(|(task, _)| task.id), Some(1));
        in_hand.done(first);
        assert_eq!(in_hand.overdue(now, 9, gone_too).map(|(task, _)| task.id), None);
        in_hand.hand_out(task(2), None);
        assert_eq!(overdue(&in_hand, 2 * LATE, 9), None, "often enough");
        in_hand.done(second);
        assert_eq!(in_hand.done(copy), None);
    }
}
