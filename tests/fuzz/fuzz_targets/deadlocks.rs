//! Locks of any bytes, and threads that wait for any of them.
//!
//! The input has a byte of how many threads there are, eight for each, and then a page of memory in which their stacks lie too.

#![no_main]

use analysis::FrameRow;
use analysis::deadlocks::{Call, ThreadCalls, deadlocks};
use analysis::stacks::{End, Frame, Registers, Stack, SystemCall, Thread};
use libfuzzer_sys::fuzz_target;
use target::{AddressRange, AddressSpace, Backing, Fault, FaultReason, Permissions, ReadMemory, Region};

const START: u64 = 0x10_0000;

/// What threads have called. Of names that say nothing there are some too.
const FUNCTIONS: [&str; 20] = [
    "pthread_mutex_lock",
    "pthread_cond_wait",
    "pthread_rwlock_rdlock",
    "pthread_rwlock_wrlock",
    "pthread_join",
    "sem_wait",
    "pthread_barrier_wait",
    "pthread_once",
    "__cxa_guard_acquire",
    "malloc",
    "__lll_lock_wait_private",
    "flockfile",
    "std::sys::sync::mutex::futex::Mutex::lock_contended",
    "std::sys::sync::rwlock::futex::RwLock::write_contended",
    "std::sys::sync::rwlock::futex::RwLock::read_contended",
    "std::sys::sync::thread_parking::futex::Parker::park",
    "syscall",
    "",
    "void std::f<(anonymous namespace)::g(int)>(",
    "<",
];

struct Memory(Vec<u8>);

impl ReadMemory for Memory {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<usize, Fault> {
        let all = AddressRange::sized(START, self.0.len() as u64);
        if !all.contains(address) {
            return Err(Fault { address, reason: FaultReason::Unreadable });
        }
        let bytes = &self.0[(address - START) as usize..];
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        Ok(count)
    }
}

fn call(name: &str) -> Call {
    let row = FrameRow { function: Some(name.into()), ..FrameRow::default() };
    Call { pc: 0x1000, module: None, symbol: None, functions: vec![row].into() }
}

fuzz_target!(|bytes: &[u8]| {
    let [count, rest @ ..] = bytes else { return };
    let mut rest = rest;
    let mut threads = Vec::new();
    for number in 1..=u64::from(*count % 32) {
        let [function, operation, low, high, seen, top, stack, depth, after @ ..] = rest else { return };
        rest = after;
        let offset = u64::from(u16::from_le_bytes([*low, *high]));
        let address = if offset == 0xffff { u64::MAX - 3 } else { START + offset };
        let expected = u64::from(*seen) | u64::from(*top) << 24;
        let number_of_call = if *operation == 0xff { 449 } else { 202 };
        let mut registers = Registers::default();
        let bottom = START + 16 * u64::from(*stack);
        registers.set(Registers::SP, Some(bottom));
        threads.push(ThreadCalls {
            thread: Thread {
                number,
                id: number,
                own_id: number,
                told: true,
                name: None,
                registers,
                call: Some(SystemCall {
                    number: number_of_call,
                    arguments: [address, u64::from(*operation), expected, 0, 0, 0],
                }),
            },
            stack: Stack {
                frames: [bottom + 8, bottom + 8 * u64::from(*depth)]
                    .map(|cfa| Frame { pc: 0x1000, cfa, interrupted: false })
                    .to_vec(),
                end: if *depth % 2 == 0 { End::Outermost } else { End::NoRules },
            },
            calls: vec![call(FUNCTIONS[usize::from(*function) % FUNCTIONS.len()]), call("main")],
        });
    }
    let memory = Memory(rest[..rest.len().min(4096)].to_vec());
    let region = Region {
        range: AddressRange::sized(START, memory.0.len() as u64),
        permissions: Permissions::READ | Permissions::WRITE,
        backing: Backing::Anonymous { name: None },
        shared: false,
        userfault: false,
    };
    let space = AddressSpace { regions: vec![region], ..AddressSpace::default() };
    let rows = deadlocks(&threads, &memory, &space, &|| false, &|index| Some(threads[index].thread.registers));
    let mut stuck: Vec<u64> =
        rows.iter().flat_map(|row| row.threads.iter().chain(&row.behind)).map(|stuck| stuck.thread.id).collect();
    let count = stuck.len();
    stuck.sort_unstable();
    stuck.dedup();
    assert_eq!(stuck.len(), count, "a thread is in several rows");
    for row in &rows {
        assert!(row.threads.iter().chain(&row.behind).all(|stuck| stuck.lock.is_some_and(|lock| lock < row.locks.len())));
    }
});
