//! What the tests of live processes and of cores share.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use target::{AddressRange, live};

pub const PAGE: u64 = 4096;

/// A process of ours, which ends with this.
pub struct Debuggee {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    places: HashMap<String, AddressRange>,
}

impl Debuggee {
    pub fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_target-debuggee"));
        // Else the kernel tells each thread in its memory on which processor it runs, even while it only sleeps.
        command.env("GLIBC_TUNABLES", "glibc.pthread.rseq=0");
        let mut child = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut debuggee = Self { child, input, output, places: HashMap::new() };
        debuggee.wait_until_ready();
        debuggee
    }

    pub fn wait_until_ready(&mut self) {
        for line in (&mut self.output).lines() {
            let line = line.unwrap();
            if line == "ready" {
                // It has come to rest once it sleeps, waiting for a word.
                while live::parse_stat(&self.proc("stat")).unwrap().state != b'S' {
                    std::thread::yield_now();
                }
                return;
            }
            let [name, start, end] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
            let number = |text| u64::from_str_radix(text, 16).unwrap();
            self.places.insert(name.into(), AddressRange::new(number(start), number(end)));
        }
        panic!("the debuggee has ended");
    }

    pub fn tell(&mut self, word: &str) {
        writeln!(self.input, "{word}").unwrap();
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn place(&self, name: &str) -> AddressRange {
        self.places[name]
    }

    pub fn wait(&mut self) {
        self.child.wait().unwrap();
    }

    /// Bytes that it has in memory, page tables left out.
    pub fn resident(&self) -> u64 {
        let text = String::from_utf8(self.proc("smaps_rollup")).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("Rss:")).unwrap();
        1024 * line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    }

    pub fn proc(&self, name: &str) -> Vec<u8> {
        std::fs::read(format!("/proc/{}/{name}", self.pid())).unwrap()
    }
}

impl Drop for Debuggee {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the debuggee has filled its memory with: each 8 bytes hold their own address. `address` is a multiple of 8.
pub fn pattern(address: u64, length: u64) -> Vec<u8> {
    (0..length / 8).flat_map(|index| (address + 8 * index).to_ne_bytes()).collect()
}

/// Asserts that both are the same, and shows where they are not: whole blocks are too long to read.
#[track_caller]
pub fn assert_same(found: &[u8], expected: &[u8], what: impl std::fmt::Debug) {
    let first = found.iter().zip(expected).position(|(found, expected)| found != expected);
    assert_eq!(first, None, "{what:?}: byte {first:?} differs");
    assert_eq!(found.len(), expected.len(), "{what:?}");
}
