//! Memory that holds anything.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

const FUNCTIONS: [&str; 16] = [
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
    "syscall",
];

/// Where a futex is said to be: mostly somewhere in memory.
fn address() -> impl Strategy<Value = u64> {
    prop_oneof![8 => START..START + 0x4000, 1 => any::<u64>(), 1 => 0_u64..64, 1 => (u64::MAX - 64)..=u64::MAX]
}

proptest! {
    #[test]
    fn whatever_memory_holds_each_thread_that_waits_is_in_one_row(
        words in prop::collection::vec(prop_oneof![Just(0_u32), Just(2), 101_u32..112, any::<u32>()], 0x1000),
        waits in prop::collection::vec((address(), 0_u64..0x190, any::<u32>(), prop::sample::select(&FUNCTIONS[..])), 10),
        holes in prop::collection::vec(0_usize..PAGES, 0..3),
        stacks in prop::collection::vec(prop::option::weighted(0.3, (address(), address())), 12),
    ) {
        let mut world = World::new(12);
        world.halves(START, &words);
        for hole in holes {
            world.memory.pages[hole] = Page::Hole;
        }
        for (number, (address, operation, expected, function)) in (1..).zip(waits) {
            world.wait(number, (address, operation, expected), &[function], "work");
        }
        for (thread, stack) in world.threads.iter_mut().zip(stacks) {
            if let Some((stack_pointer, cfa)) = stack {
                thread.thread.registers.set(Registers::SP, Some(stack_pointer));
                thread.stack.frames.iter_mut().for_each(|frame| frame.cfa = cfa);
            }
        }
        let waiting = |thread: &&ThreadCalls| {
            thread.thread.call.as_ref().is_some_and(|call| futex::futex(call, Reader(&world.memory)).is_some())
        };
        let expected: BTreeSet<u64> = world.threads.iter().filter(waiting).map(|thread| thread.thread.id).collect();
        let rows = world.rows();
        let stuck: Vec<&StuckRow> = rows.iter().flat_map(|row| row.threads.iter().chain(&row.behind)).collect();
        prop_assert_eq!(stuck.len(), expected.len());
        prop_assert_eq!(stuck.iter().map(|stuck| stuck.thread.id).collect::<BTreeSet<_>>(), expected);
        for row in &rows {
            let known = row.threads.iter().chain(&row.behind).all(|stuck| stuck.lock.is_some_and(|lock| lock < row.locks.len()));
            prop_assert!(known);
            prop_assert!(row.kind != DeadlockKind::Cycle || row.locks.iter().take(row.threads.len()).any(|lock| !lock.owners.is_empty()));
        }
    }
}
