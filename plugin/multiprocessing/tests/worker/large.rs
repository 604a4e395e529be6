//! A large message, and what memory it takes.

use multiprocessing::{Bytes, Queue, Sender};

multiprocessing::function! {
    /// Sends large bytes, and says how much memory that took, in KiB.
    pub fn send_large(sender: Sender<Bytes>, size: usize, used: Queue<u64>) {
        let mut sender = sender;
        let bytes = Bytes(vec![7; size]);
        let before = peak();
        sender.send(&bytes).expect("it is held");
        used.put(&(peak() - before)).expect("it is open");
    }
}

/// The most memory that this process has had, in KiB.
pub fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("own status");
    let line = status.lines().find(|line| line.starts_with("VmHWM")).expect("a peak");
    line.split_whitespace().nth(1).expect("a number").parse().expect("a number")
}
