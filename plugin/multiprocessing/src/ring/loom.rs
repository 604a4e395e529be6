//! The two halves of the protocol under every interleaving: what is published is whole when it is seen, and no sleeper is
//! forgotten, be it at its doorbell or in the futex, whether it is woken by a message or by its alarm.

use super::header::{Header, Raised, Sleep, Standing};
use super::position::Position;
use loom::cell::UnsafeCell;
use loom::sync::{Arc, Condvar, Mutex, Notify};
use loom::thread;

struct Shared {
    header: Header,
    slot: UnsafeCell<u32>,
    /// Where the consumer sleeps: a wake-up that comes before is not lost, and one may come for no reason.
    consumers: Notify,
    producers: Notify,
}

/// A ring of one slot: each message fills it, so both sides sleep whenever they can.
#[test]
fn no_message_is_torn_and_no_wake_up_lost() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(4);
    model.check(|| {
        const MESSAGES: u32 = 2;
        let shared = Arc::new(Shared {
            header: Header::new(),
            slot: UnsafeCell::new(0),
            consumers: Notify::new(),
            producers: Notify::new(),
        });
        let other = Arc::clone(&shared);
        let producer = thread::spawn(move || {
            let header = &other.header;
            let mut tail = Position::default();
            for number in 1..=MESSAGES {
                let full = || tail.units_since(header.head()) == 1;
                while full() {
                    header.producer.0.announce(Sleep::Doorbell, 1);
                    if full() {
                        other.producers.wait();
                    } else if header.producer.0.awake() {
                        // Who was woken all the same has a bell to hear.
                        other.producers.wait();
                    }
                }
                // SAFETY: the consumer does not look at the slot while it is empty.
                other.slot.with_mut(|slot| unsafe { *slot = number });
                tail = tail.after(1, 1);
                header.publish_tail(tail);
                if header.consumer.0.rouse(1) != Sleep::Awake {
                    other.consumers.notify();
                }
            }
        });
        let header = &shared.header;
        let mut head = Position::default();
        for number in 1..=MESSAGES {
            let empty = || header.tail().units_since(head) == 0;
            while empty() {
                header.consumer.0.announce(Sleep::Doorbell, 1);
                if empty() {
                    shared.consumers.wait();
                } else if header.consumer.0.awake() {
                    shared.consumers.wait();
                }
            }
            // SAFETY: the producer does not touch the slot while it is full.
            assert_eq!(shared.slot.with(|slot| unsafe { *slot }), number);
            head = head.after(1, 1);
            header.publish_head(head);
            if header.producer.0.rouse(1) != Sleep::Awake {
                shared.producers.notify();
            }
        }
        producer.join().expect("no panic");
    });
}

/// The kernel's half: it looks at the word and puts the sleeper to bed in one step, as seen by who wakes.
struct Futex {
    kernel: Mutex<()>,
    woken: Condvar,
}

impl Futex {
    fn wait(&self, side: &Standing) {
        let kernel = self.kernel.lock().expect("loom");
        if !side.is_awake() {
            drop(self.woken.wait(kernel).expect("loom"));
        }
    }

    fn wake(&self) {
        drop(self.kernel.lock().expect("loom"));
        self.woken.notify_all();
    }
}

/// A consumer that nobody but its producer and its alarm wakes. One message comes, and before, after or meanwhile the end.
#[test]
fn a_sleeper_in_the_futex_hears_of_a_message_and_of_its_alarm() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let shared =
            Arc::new((Header::new(), Raised::default(), Futex { kernel: Mutex::new(()), woken: Condvar::new() }));
        let other = Arc::clone(&shared);
        let producer = thread::spawn(move || {
            let (header, _, futex) = &*other;
            header.publish_tail(Position::default().after(1, 1));
            if header.consumer.0.rouse(1) != Sleep::Awake {
                futex.wake();
            }
        });
        let other = Arc::clone(&shared);
        let watcher = thread::spawn(move || {
            let (header, raised, futex) = &*other;
            raised.raise(&header.consumer.0);
            futex.wake();
        });
        let (header, raised, futex) = &*shared;
        let consumer = &header.consumer.0;
        let heard = || (header.tail().units() > 0, raised.is_raised());
        // Who has heard of one sleeps until it hears of the other.
        let mut known = heard();
        while known != (true, true) {
            consumer.announce(Sleep::Futex, 1);
            if heard() == known {
                futex.wait(consumer);
            }
            consumer.awake();
            known = heard();
        }
        producer.join().expect("no panic");
        watcher.join().expect("no panic");
    });
}
