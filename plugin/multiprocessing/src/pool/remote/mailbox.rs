//! What a seat's sending thread is to send.

use crate::payload::{Elsewhere, Payload};
use crate::stream::ToAgent;
use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Bytes, or how they come about.
#[derive(Debug)]
pub(super) enum Source {
    Payload(Payload),
    /// What is sent to another machine in its place, and to which.
    Elsewhere(Elsewhere, String),
}

/// What is sent in turn.
#[derive(Debug)]
pub(super) enum Order {
    Open { job: u64, function: String, schema: u64, setup: Source },
    Task { job: u64, sequence: u64, payload: Source },
    Close { job: u64 },
}

/// The next thing to do.
#[derive(Debug)]
pub(super) enum Work {
    Urgent(ToAgent),
    Order(Order),
    /// A task of a job that was cancelled before it was sent.
    Cancelled {
        sequence: u64,
    },
}

#[derive(Debug, Default)]
pub(super) struct Mailbox {
    state: Mutex<State>,
    changed: Condvar,
    /// The last task whose sending has begun.
    begun: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    urgent: VecDeque<ToAgent>,
    orders: VecDeque<Order>,
    cancelled: HashSet<u64>,
    ended: bool,
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn post(&self, order: Order) {
        let mut state = self.lock();
        if let Order::Close { job } = &order {
            state.cancelled.remove(job);
        }
        state.orders.push_back(order);
        drop(state);
        self.changed.notify_one();
    }

    /// Posts what goes out before everything else.
    pub(super) fn urgent(&self, message: ToAgent) {
        let mut state = self.lock();
        if let ToAgent::Cancel { job } = &message {
            state.cancelled.insert(*job);
        }
        state.urgent.push_back(message);
        drop(state);
        self.changed.notify_one();
    }

    /// Nothing more is sent.
    pub(super) fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }

    /// Waits for something to do; `None` at the end.
    pub(super) fn take(&self) -> Option<Work> {
        let mut state = self.lock();
        loop {
            if state.ended {
                return None;
            }
            if let Some(message) = state.urgent.pop_front() {
                return Some(Work::Urgent(message));
            }
            if let Some(order) = state.orders.pop_front() {
                return Some(match order {
                    Order::Task { job, sequence, .. } if state.cancelled.contains(&job) => Work::Cancelled { sequence },
                    Order::Task { sequence, .. } => {
                        self.begun.store(sequence, Ordering::Release);
                        Work::Order(order)
                    }
                    order => Work::Order(order),
                });
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes back the tasks behind this one that it has not begun to send; their sequence numbers.
    pub(super) fn recall(&self, first: u64) -> HashSet<u64> {
        let mut recalled = HashSet::new();
        let mut state = self.lock();
        let State { orders, cancelled, .. } = &mut *state;
        orders.retain(|order| match order {
            Order::Task { job, sequence, .. } if *sequence > first && !cancelled.contains(job) => {
                !recalled.insert(*sequence)
            }
            _ => true,
        });
        recalled
    }

    /// Something urgent, if there is any.
    pub(super) fn take_urgent(&self) -> Option<ToAgent> {
        self.lock().urgent.pop_front()
    }

    /// The last task whose sending has begun; 0 if none.
    pub(super) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(job: u64, sequence: u64) -> Order {
        Order::Task { job, sequence, payload: Source::Payload(Vec::new().into()) }
    }

    #[test]
    fn a_cancellation_overtakes_and_holds_back_what_was_not_sent() {
        let mailbox = Mailbox::default();
        mailbox.post(task(1, 1));
        mailbox.post(task(2, 2));
        mailbox.urgent(ToAgent::Cancel { job: 1 });
        assert!(matches!(mailbox.take(), Some(Work::Urgent(ToAgent::Cancel { job: 1 }))));
        assert!(matches!(mailbox.take(), Some(Work::Cancelled { sequence: 1 })));
        assert_eq!(mailbox.begun(), 0);
        assert!(matches!(mailbox.take(), Some(Work::Order(Order::Task { sequence: 2, .. }))));
        assert_eq!(mailbox.begun(), 2);
        mailbox.post(task(2, 3));
        mailbox.end();
        assert!(mailbox.take().is_none());
        assert_eq!(mailbox.begun(), 2);
    }

    #[test]
    fn what_was_not_begun_is_taken_back() {
        let mailbox = Mailbox::default();
        (1..=4).for_each(|sequence| mailbox.post(task(sequence % 2, sequence)));
        assert!(matches!(mailbox.take(), Some(Work::Order(Order::Task { sequence: 1, .. }))));
        mailbox.post(Order::Close { job: 7 });
        mailbox.urgent(ToAgent::Cancel { job: 1 });
        // The first that waits stays, and what is told that it was cancelled.
        assert_eq!(mailbox.recall(2), [4].into());
        assert!(matches!(mailbox.take(), Some(Work::Urgent(_))));
        assert!(matches!(mailbox.take(), Some(Work::Order(Order::Task { sequence: 2, .. }))));
        assert!(matches!(mailbox.take(), Some(Work::Cancelled { sequence: 3 })));
        assert!(matches!(mailbox.take(), Some(Work::Order(Order::Close { job: 7 }))));
    }
}
