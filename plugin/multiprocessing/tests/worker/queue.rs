//! What the tests of pipes and queues have run in other processes.

use multiprocessing::{JoinableQueue, Pipe, Queue, Receiver, RecvError, Sender};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What a torturer puts: who, which, and a text that follows from these.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbered {
    pub who: u32,
    pub number: u64,
    pub text: Vec<u8>,
}

impl Numbered {
    pub fn new(who: u32, number: u64) -> Numbered {
        let mix = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(who);
        // Mostly small, sometimes larger than the ring.
        let length = if number.is_multiple_of(97) { 100_000 } else { mix % 500 };
        Numbered { who, number, text: (0..length).map(|i| (mix.wrapping_add(i)) as u8).collect() }
    }
}

multiprocessing::function! {
    /// Sends back what it receives, until the other end is gone.
    pub fn echo_texts(end: Pipe<String, String>) -> u32 {
        let mut end = end;
        let mut count = 0;
        while let Ok(text) = end.recv() {
            count += 1;
            if end.send(&text).is_err() {
                break;
            }
        }
        count
    }
}

multiprocessing::function! {
    /// Receives one end of a pipe, and sends through it.
    pub fn use_sent_end(receiver: Receiver<Sender<String>>) {
        let mut receiver = receiver;
        let mut sender = receiver.recv().expect("an end");
        sender.send(&"through".to_string()).expect("it is held");
    }
}

multiprocessing::function! {
    /// Holds an end until it is killed.
    pub fn hold_end(end: Pipe<String, String>, ready: Queue<u32>) {
        ready.put(&std::process::id()).expect("it is open");
        std::thread::sleep(Duration::from_secs(60));
        drop(end);
    }
}

multiprocessing::function! {
    /// Sends numbers so slowly that each of them is slept for, and then holds its end until it is killed.
    pub fn send_slowly(sender: Sender<u32>, count: u32) {
        let mut sender = sender;
        slowly(count, |number| sender.send(&number).expect("it is received"));
        std::thread::sleep(Duration::from_secs(60));
    }
}

/// Does something so often that whoever waits for it each time comes to sleep in the futex, if it comes one by one.
#[allow(dead_code, clippy::allow_attributes, reason = "the tests of queues have this file, too")]
pub fn slowly(count: u32, mut what: impl FnMut(u32)) {
    for number in 0..count {
        std::thread::sleep(Duration::from_millis(1));
        what(number);
    }
}

multiprocessing::function! {
    /// Receives until there is nobody left to send.
    pub fn receive_all(receiver: Receiver<u32>, count: u32) -> Result<(), String> {
        let mut receiver = receiver;
        let mut received = 0;
        while receiver.recv().is_ok_and(|number| number == received) {
            received += 1;
        }
        if received == count { Ok(()) } else { Err(format!("{received} of {count}")) }
    }
}

multiprocessing::function! {
    /// Puts so many.
    pub fn put_numbered(queue: Queue<Numbered>, who: u32, count: u64) {
        for number in 0..count {
            if queue.put(&Numbered::new(who, number)).is_err() {
                break;
            }
        }
    }
}

multiprocessing::function! {
    /// Gets until the queue is closed, and says what is wrong.
    pub fn get_numbered(queue: Queue<Numbered>, got: Queue<(u32, u64)>) {
        loop {
            match queue.get() {
                Ok(item) if item == Numbered::new(item.who, item.number) => got.put(&(item.who, item.number)).expect("it is open"),
                Err(RecvError::Closed) => break,
                other => {
                    eprintln!("{:?}", other.map(|item| (item.who, item.number, item.text.len())));
                    got.put(&(u32::MAX, u64::MAX)).expect("it is open");
                }
            }
        }
    }
}

multiprocessing::function! {
    /// Does all tasks.
    pub fn do_tasks(queue: JoinableQueue<u32>) {
        while queue.get().is_ok() {
            std::thread::sleep(Duration::from_millis(1));
            queue.task_done().expect("one for each");
        }
    }
}
