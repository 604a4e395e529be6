//! The two halves of the protocol under every interleaving: what is published is whole when it is seen, and no sleeper is
//! forgotten.

use super::header::{Header, Sleep};
use super::position::Position;
use loom::cell::UnsafeCell;
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

/// What the kernel does: a sleeper that is woken, or not yet asleep, does not sleep.
#[derive(Debug)]
struct Bed {
    woken: Mutex<bool>,
    bell: Condvar,
}

impl Bed {
    fn new() -> Bed {
        Bed { woken: Mutex::new(false), bell: Condvar::new() }
    }

    fn sleep(&self) {
        let mut woken = self.woken.lock().expect("no panic");
        while !*woken {
            woken = self.bell.wait(woken).expect("no panic");
        }
        *woken = false;
    }

    fn wake(&self) {
        *self.woken.lock().expect("no panic") = true;
        self.bell.notify_one();
    }
}

struct Shared {
    header: Header,
    slot: UnsafeCell<u32>,
    consumers: Bed,
    producers: Bed,
}

/// A ring of one slot: each message fills it, so both sides sleep whenever they can.
#[test]
fn no_message_is_torn_and_no_wake_up_lost() {
    loom::model(|| {
        const MESSAGES: u32 = 2;
        let shared = Arc::new(Shared {
            header: Header::new(),
            slot: UnsafeCell::new(0),
            consumers: Bed::new(),
            producers: Bed::new(),
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
                        other.producers.sleep();
                    } else if header.producer.0.awake() {
                        // Who was woken all the same has a bell to hear.
                        other.producers.sleep();
                    }
                }
                // SAFETY: the consumer does not look at the slot while it is empty.
                other.slot.with_mut(|slot| unsafe { *slot = number });
                tail = tail.after(1, 1);
                header.publish_tail(tail);
                if header.consumer.0.rouse(1) != Sleep::Awake {
                    other.consumers.wake();
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
                    shared.consumers.sleep();
                } else if header.consumer.0.awake() {
                    shared.consumers.sleep();
                }
            }
            // SAFETY: the producer does not touch the slot while it is full.
            assert_eq!(shared.slot.with(|slot| unsafe { *slot }), number);
            head = head.after(1, 1);
            header.publish_head(head);
            if header.producer.0.rouse(1) != Sleep::Awake {
                shared.producers.wake();
            }
        }
        producer.join().expect("no panic");
    });
}
