//! What is kept of a task that a worker has in hand, to judge when to wait no longer.

use crate::process::activity::{Activity, Usage};
use std::time::{Duration, Instant};

/// How long a task may go on after its job was cancelled: until then its owner waits; and so much time of its own the worker
/// has to hear of it.
const CANCEL_GRACE: Duration = Duration::from_millis(50);
/// A worker that has not had as much by then has had its time all the same.
const CANCEL_LIMIT: Duration = Duration::from_secs(1);
/// So long between two looks at what a worker has had.
const CANCEL_PERIOD: Duration = Duration::from_millis(5);
/// So long a worker does not answer until it is asked whether it is stopped; and so long after that once more.
const STOP_PERIOD: Duration = Duration::from_secs(1);

/// Whether a worker that does not answer looks as if a signal had stopped it.
#[derive(Debug, Default)]
pub(super) struct Stop {
    /// When it was last looked at, and whether it was stopped then.
    seen: Option<(Instant, bool)>,
}

impl Stop {
    /// When to look at it, if it is busy with the task since `since`.
    pub(super) fn due(&self, since: Instant) -> Instant {
        self.seen.map_or(since, |(seen, _)| seen) + STOP_PERIOD
    }

    /// Takes what was seen; whether it was stopped at two looks in a row. One alone proves nothing: it may have been stopped for
    /// a moment, together with this process.
    pub(super) fn for_good(&mut self, now: Instant, stopped: bool) -> bool {
        let before = self.seen.replace((now, stopped));
        stopped && before.is_some_and(|(_, stopped)| stopped)
    }
}

/// The time of a worker whose task was cancelled. It is the worker's own time that is counted, not the wall's: on a busy
/// machine a task that listens well may have to wait for a processor before it can hear anything.
#[derive(Debug)]
pub(super) struct Grace {
    since: Instant,
    seen: Instant,
    /// What the worker had had when it was last seen.
    usage: Option<Usage>,
    /// How much of its time it has used.
    used: Duration,
}

impl Grace {
    /// It begins, with what the worker has had before.
    pub(super) fn new(now: Instant, usage: Option<Usage>) -> Grace {
        Grace { since: now, seen: now, usage, used: Duration::ZERO }
    }

    /// When to look what the worker has had.
    pub(super) fn due(&self) -> Instant {
        // What it uses is at most what passes.
        let left = CANCEL_GRACE.saturating_sub(self.used).max(CANCEL_PERIOD);
        (self.seen + left).min(self.since + CANCEL_LIMIT)
    }

    /// Whether the task's owner has waited long enough.
    pub(super) fn passed(&self, now: Instant) -> bool {
        now >= self.since + CANCEL_GRACE
    }

    /// Takes what was seen; whether the worker has had its time, and so is deaf.
    pub(super) fn used_up(&mut self, now: Instant, activity: Activity, usage: Option<Usage>) -> bool {
        let gap = now.saturating_duration_since(self.seen);
        let used = match (self.usage, usage) {
            (Some(before), Some(after)) => match activity {
                // It may have waited ever since, which is counted only when the wait is over; so only what it ran is certain.
                // Nor could it hear anything, or die, in the kernel.
                Activity::Runnable | Activity::Uninterruptible => after.ran.saturating_sub(before.ran),
                Activity::Stopped | Activity::Other => gap.saturating_sub(after.waited.saturating_sub(before.waited)),
            },
            _ => gap,
        };
        self.used += used.min(gap);
        self.seen = now;
        self.usage = usage;
        self.used >= CANCEL_GRACE || now >= self.since + CANCEL_LIMIT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    fn usage(ran: u64, waited: u64) -> Option<Usage> {
        Some(Usage { ran: ms(ran), waited: ms(waited) })
    }

    #[test]
    fn stopped_at_two_looks_in_a_row() {
        let since = Instant::now();
        let mut stop = Stop::default();
        let looks = [(true, false), (false, false), (true, false), (true, true)];
        for (number, (stopped, expected)) in looks.into_iter().enumerate() {
            let due = stop.due(since);
            assert_eq!(due, since + STOP_PERIOD * (number as u32 + 1));
            assert_eq!(stop.for_good(due, stopped), expected);
        }
    }

    #[test]
    fn one_that_sleeps_or_runs_has_its_time_as_it_passes() {
        for (activity, after) in [
            (Activity::Other, usage(7, 3)),
            (Activity::Stopped, usage(7, 3)),
            (Activity::Runnable, usage(57, 3)),
            (Activity::Other, None),
        ] {
            let start = Instant::now();
            let mut grace = Grace::new(start, usage(7, 3));
            assert_eq!(grace.due(), start + CANCEL_GRACE);
            assert!(!grace.passed(start + ms(49)) && grace.passed(start + CANCEL_GRACE));
            assert!(grace.used_up(start + CANCEL_GRACE, activity, after), "{activity:?}");
        }
    }

    #[test]
    fn waiting_for_a_processor_costs_nothing_for_a_while() {
        let start = Instant::now();
        let mut grace = Grace::new(start, usage(7, 3));
        // It has waited 46 of 50 ms; then it waits on; then it has run, at last, for 45 ms more; and one is lacking.
        assert!(!grace.used_up(start + ms(50), Activity::Other, usage(8, 49)));
        assert_eq!(grace.due(), start + ms(50 + 46));
        assert!(!grace.used_up(start + ms(100), Activity::Runnable, usage(8, 49)));
        assert!(!grace.used_up(start + ms(200), Activity::Runnable, usage(53, 100)));
        assert_eq!(grace.due(), start + ms(200) + CANCEL_PERIOD);
        assert!(grace.used_up(start + ms(205), Activity::Other, usage(54, 104)));
        let mut grace = Grace::new(start, usage(7, 3));
        assert!(!grace.used_up(start + ms(990), Activity::Runnable, usage(7, 3)));
        assert_eq!(grace.due(), start + CANCEL_LIMIT);
        assert!(grace.used_up(start + CANCEL_LIMIT, Activity::Runnable, usage(7, 3)));
    }
}
