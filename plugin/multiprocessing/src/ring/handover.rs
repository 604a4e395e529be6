//! Waiting for what a thread of the same processor is about to do.

use std::time::{Duration, Instant};

/// A handover that takes longer went to others than the other side, or that had more to do than to answer.
const PATIENCE: Duration = Duration::from_micros(60);

/// In nanoseconds, what a handover saves if it is answered: a sleep and a wake-up. Less than was measured.
const SAVED: i64 = 1000;

/// In nanoseconds, what a wait without a handover is allowed towards the next one.
const ALLOWED: i64 = 20;

/// In nanoseconds, the least and the most that is charged for one that was in vain. The system takes the processor from a side now
/// and then whatever it does, for milliseconds, but not after so few handovers as make up for the most.
const CHARGE: (i64, i64) = (16 * ALLOWED, 200 * SAVED);

/// In nanoseconds, how much is saved up at most. So it is noticed in time that there is somebody else now.
const MOST: i64 = 5 * CHARGE.1;

/// Hands the processor over to whoever else is to run there. If that is the other side, and it answers, then nobody has slept and
/// nobody was woken: that is the way in which two threads of one processor talk in the least time. But if that is somebody who
/// computes, then it is a while until this side runs again, while one that was woken would run at once. So the gains and
/// losses are kept in a balance, and nothing is handed over while that is below zero.
#[derive(Debug, Default)]
pub(super) struct Handover {
    /// In nanoseconds.
    balance: i64,
}

impl Handover {
    /// Hands over once, if that promises anything; whether `ready` says yes after it.
    pub(super) fn until(&mut self, ready: impl Fn() -> bool) -> bool {
        if self.balance < 0 {
            self.balance += ALLOWED;
            return false;
        }
        let start = Instant::now();
        std::thread::yield_now();
        let answered = ready();
        self.note(answered, start.elapsed());
        answered
    }

    fn note(&mut self, answered: bool, time: Duration) {
        let gain = if answered && time <= PATIENCE {
            SAVED
        } else {
            -i64::try_from(time.as_nanos()).unwrap_or(i64::MAX).clamp(CHARGE.0, CHARGE.1)
        };
        self.balance = (self.balance + gain).min(MOST);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cell::Cell;

    proptest! {
        #[test]
        fn what_is_charged_is_what_was_saved_and_one_charge_more(
            handovers in prop::collection::vec((any::<bool>(), 0_u64..20_000), 0..3000), answered in 0_usize..20_000
        ) {
            let mut handover = Handover::default();
            let (mut saved, mut lost) = (0, 0);
            for (ready, micros) in std::iter::repeat_n((true, 2), answered).chain(handovers) {
                if handover.balance < 0 {
                    prop_assert!(!handover.until(|| true));
                    saved += ALLOWED;
                    continue;
                }
                let before = handover.balance;
                handover.note(ready, Duration::from_micros(micros));
                let gain = handover.balance - before;
                prop_assert_eq!(gain >= 0, ready && micros <= 60);
                saved += gain.max(0);
                lost += (-gain).max(0);
                prop_assert!(lost <= saved + CHARGE.1);
            }
        }
    }

    #[test]
    fn one_in_vain_is_made_up_for_by_waits_without() {
        let mut handover = Handover::default();
        handover.note(true, Duration::from_millis(1));
        let tries = Cell::new(0);
        let ready = || tries.replace(tries.get() + 1) < u32::MAX;
        assert!((0..10_000).all(|_| !handover.until(ready)) && tries.get() == 0);
        assert!(handover.until(ready) && tries.get() == 1);
    }
}
