//! Threads and locks made up in memory.

mod graph;
mod hostile;
mod names;
mod structures;

use super::*;
use crate::report::{DeadlockKind, LockRow, StuckRow};
use crate::stacks::{End, Frame};
use crate::testing::{Page, TestMemory};
use target::{AddressRange, Backing, Permissions, Region};

const START: u64 = 0x10_0000;
const PAGES: usize = 64;
/// Stacks lie from here on, one for each thread.
const STACKS: u64 = START + 0x1_0000;
const STACK: u64 = 0x200;

/// futex(2): its operations with FUTEX_PRIVATE_FLAG, that with a time with FUTEX_CLOCK_REALTIME too.
const WAIT: u64 = 0x80;
const UNTIL: u64 = 0x189;
const LOCK_PI: u64 = 0x86;

const LIBC: &str = "/lib/x86_64-linux-gnu/libc.so.6";
const PROGRAM: &str = "/opt/service";

struct World {
    memory: TestMemory,
    threads: Vec<ThreadCalls>,
}

impl World {
    /// So many threads, with the numbers 1, 2, … and the ids 101, 102, …, none of which is in a system call.
    fn new(threads: u64) -> Self {
        let thread = |number: u64| {
            let stack = STACKS + number * STACK;
            let mut registers = Registers::default();
            registers.set(Registers::SP, Some(stack));
            let name = Some(format!("worker {number}"));
            let thread =
                Thread { number, id: 100 + number, own_id: 100 + number, name, registers, call: None, told: true };
            ThreadCalls { thread, stack: stack_of([stack + STACK]), calls: vec![call(PROGRAM, "main")] }
        };
        let memory = TestMemory::new(START, Vec::new(), vec![Page::Normal; PAGES]);
        Self { memory, threads: (1..=threads).map(thread).collect() }
    }

    fn halves(&mut self, address: u64, halves: &[u32]) -> &mut Self {
        for (place, half) in (address..).step_by(4).zip(halves) {
            let at = (place - START) as usize;
            self.memory.bytes[at..at + 4].copy_from_slice(&half.to_le_bytes());
        }
        self
    }

    fn word(&mut self, address: u64, word: u64) -> &mut Self {
        self.halves(address, &[word as u32, (word >> 32) as u32])
    }

    /// A normal mutex that others wait for.
    fn mutex(&mut self, address: u64, owner: u64) -> &mut Self {
        self.halves(address, &[2, 0, owner as u32, 1, 0])
    }

    /// Has a thread wait for a word in `functions` of libc, the innermost first, called by `caller`.
    fn wait(
        &mut self,
        number: u64,
        (address, operation, expected): (u64, u64, u32),
        functions: &[&str],
        caller: &str,
    ) -> &mut Self {
        let thread = &mut self.threads[number as usize - 1];
        let stack = STACKS + number * STACK;
        thread.thread.call =
            Some(SystemCall { number: 202, arguments: [address, operation, u64::from(expected), 0, 0, 0] });
        let inner = functions.iter().map(|name| call(LIBC, name));
        thread.calls = inner.chain([call(PROGRAM, caller), call(PROGRAM, "main")]).collect();
        thread.stack = stack_of(functions.iter().map(|_| stack + 8).chain([stack + 16, stack + STACK]));
        self
    }

    fn lock(&mut self, number: u64, mutex: u64) -> &mut Self {
        self.wait(number, (mutex, WAIT, 2), &["__lll_lock_wait", "pthread_mutex_lock"], "lock_it")
    }

    /// Has a thread be in another system call.
    fn sleep(&mut self, number: u64, call: u64) -> &mut Self {
        self.threads[number as usize - 1].thread.call = Some(SystemCall { number: call, arguments: [0; 6] });
        self
    }

    /// Puts a pointer on the stack of a thread.
    fn hold(&mut self, number: u64, pointer: u64) -> &mut Self {
        self.word(STACKS + number * STACK + 0x100, pointer)
    }

    fn rows(&self) -> Vec<DeadlockRow> {
        self.rows_until(&|| false)
    }

    fn rows_until(&self, stop: &dyn Fn() -> bool) -> Vec<DeadlockRow> {
        self.rows_asking(stop, &|_| None)
    }

    fn rows_asking(&self, stop: &dyn Fn() -> bool, ask: &dyn Fn(usize) -> Option<Registers>) -> Vec<DeadlockRow> {
        let region = Region {
            range: AddressRange::sized(START, (PAGES as u64) << 12),
            permissions: Permissions::READ | Permissions::WRITE,
            backing: Backing::Anonymous { name: None },
            shared: false,
            userfault: false,
        };
        let space = AddressSpace { regions: vec![region], ..AddressSpace::default() };
        deadlocks(&self.threads, &self.memory, &space, stop, ask)
    }

    /// The one row that there is.
    #[track_caller]
    fn row(&self) -> DeadlockRow {
        let mut rows = self.rows();
        assert_eq!(rows.len(), 1, "{rows:#?}");
        rows.remove(0)
    }

    /// The one lock that there is.
    #[track_caller]
    fn only_lock(&self) -> LockRow {
        let mut row = self.row();
        assert_eq!(row.locks.len(), 1, "{row:#?}");
        row.locks.remove(0)
    }
}

/// A stack with calls that reach to there each, which is known to its end.
fn stack_of(cfas: impl IntoIterator<Item = u64>) -> Stack {
    let frame = |cfa| Frame { pc: 0x1234, cfa, interrupted: false };
    Stack { frames: cfas.into_iter().map(frame).collect(), end: End::Outermost }
}

fn call(module: &str, function: &str) -> Call {
    let row = FrameRow {
        function: Some(function.into()),
        file: (module == PROGRAM).then(|| "service.cpp".into()),
        line: (module == PROGRAM).then_some(12),
        ..FrameRow::default()
    };
    Call { pc: 0x1234, module: Some(module.into()), symbol: Some((function.into(), 4)), functions: vec![row].into() }
}

fn numbers(rows: &[StuckRow]) -> Vec<u64> {
    rows.iter().filter_map(|row| row.thread.number).collect()
}

fn owners(lock: &LockRow) -> Vec<u64> {
    lock.owners.iter().map(|owner| owner.id).collect()
}
