//! Locks as glibc and Rust lay them out.

use super::*;
use std::cell::Cell;
use std::collections::BTreeMap;

const LOCK: u64 = START + 0x100;
const MUTEX: [&str; 2] = ["__lll_lock_wait", "pthread_mutex_lock"];
const OWNER: u32 = 102;

/// What one thread waits for, another one being there as well.
#[track_caller]
fn lock(halves: &[u32], wait: (u64, u64, u32), functions: &[&str]) -> LockRow {
    let mut world = World::new(2);
    world.halves(LOCK, halves).wait(1, wait, functions, "work");
    world.only_lock()
}

#[track_caller]
fn is(lock: &LockRow, kind: &str, owner: Option<u32>) {
    assert_eq!((&lock.kind[..], owners(lock)), (kind, owner.map(u64::from).into_iter().collect()), "{lock:?}");
}

#[test]
fn mutexes_of_all_kinds_tell_their_owner() {
    let plain = |kind: u32| lock(&[2, 1, OWNER, 1, kind], (LOCK, WAIT, 2), &MUTEX);
    is(&plain(0), "mutex", Some(OWNER));
    is(&plain(1), "recursive mutex", Some(OWNER));
    is(&plain(2), "error-checking mutex", Some(OWNER));
    is(&plain(3), "adaptive mutex", Some(OWNER));
    is(&plain(0x100), "mutex", Some(OWNER));
    let shared = plain(0x80);
    assert_eq!(shared.state.as_deref(), Some("shared with other processes"));
    let word = 0x8000_0000 | OWNER;
    let of_kernel = |kind: u32, operation| lock(&[word, 1, OWNER, 1, kind], (LOCK, operation, word), &MUTEX);
    is(&of_kernel(16 | 0x80, WAIT), "robust mutex", Some(OWNER));
    assert_eq!(of_kernel(16 | 0x80, WAIT).state, None);
    is(&of_kernel(17, WAIT), "robust recursive mutex", Some(OWNER));
    is(&of_kernel(32, LOCK_PI), "priority-inheriting mutex", Some(OWNER));
    is(&of_kernel(48, LOCK_PI), "robust priority-inheriting mutex", Some(OWNER));
    let ceiling = 10 << 19 | 2;
    is(&lock(&[ceiling, 1, OWNER, 1, 64], (LOCK, WAIT, ceiling), &MUTEX), "priority-protecting mutex", Some(OWNER));
    // pthread_mutex_timedlock and pthread_mutex_clocklock, which std::timed_mutex calls.
    is(&lock(&[2, 1, OWNER, 1, 0], (LOCK, UNTIL, 2), &["pthread_mutex_clocklock"]), "mutex", Some(OWNER));
    // After a condition variable, the mutex is what is waited for.
    is(&lock(&[2, 1, OWNER, 1, 0], (LOCK, WAIT, 2), &["__lll_lock_wait", "pthread_cond_wait"]), "mutex", Some(OWNER));
    let again = |kind, operation| lock(&[word, 1, OWNER, 1, kind], (LOCK, operation, word), &["pthread_cond_wait"]);
    is(&again(16 | 0x80, WAIT), "robust mutex", Some(OWNER));
    is(&again(32, LOCK_PI), "priority-inheriting mutex", Some(OWNER));
    is(
        &lock(&[ceiling, 1, OWNER, 1, 64], (LOCK, WAIT, ceiling), &["pthread_cond_wait"]),
        "priority-protecting mutex",
        Some(OWNER),
    );
    is(&lock(&[2, 1, OWNER, 1, 0], (LOCK, UNTIL, 0), &["pthread_cond_wait"]), "condition variable", None);
}

#[test]
fn a_mutex_that_somebody_is_about_to_have_has_no_owner() {
    let free = lock(&[0, 0, 0, 0, 0], (LOCK, WAIT, 2), &MUTEX);
    is(&free, "mutex", None);
    assert_eq!(free.state.as_deref(), Some("free, about to be taken"));
    let ceiling = lock(&[10 << 19, 0, 0, 0, 64], (LOCK, WAIT, 10 << 19 | 2), &MUTEX);
    is(&ceiling, "priority-protecting mutex", None);
    assert_eq!(ceiling.state.as_deref(), Some("free, about to be taken"), "its ceiling is no owner");
    is(&lock(&[2, 0, 0, 0, 0], (LOCK, WAIT, 2), &MUTEX), "mutex", None);
    let died = lock(&[0xc000_0000, 0, 0, 0, 16], (LOCK, WAIT, 0xc000_0000), &MUTEX);
    is(&died, "robust mutex", None);
    assert_eq!(died.state.as_deref(), Some("its owner has died, and nobody has repaired it"));
}

#[test]
fn what_is_no_mutex_is_unknown_though_it_is_locked_as_one() {
    let unknown = |halves: &[u32], state: &str| {
        let lock = lock(halves, (LOCK, WAIT, 2), &MUTEX);
        is(&lock, "unknown", None);
        assert_eq!(lock.state.as_deref(), Some(state));
    };
    unknown(&[0x4141_4141, 1, OWNER, 1, 0], "its word is 0x41414141");
    unknown(&[0x4141_4141; 5], "it is of no kind that there is, 0x41414141");
    unknown(&[2, 1, OWNER, 1, 0xdead], "it is of no kind that there is, 0xdead");
    unknown(&[2, 1, 0x4141_4141, 1, 0], "its owner would be thread 1094795585");
    unknown(&[0xbfff_ffff, 1, 0, 1, 16], "its word is 0xbfffffff");
    let row = lock(&[2, 1, OWNER, 1, 0], (LOCK, WAIT, 7), &MUTEX);
    assert_eq!((&row.kind[..], row.state.as_deref()), ("unknown", Some("who waits for it has seen 0x7")));
    let nowhere = lock(&[], (0x4141_4141_0000, WAIT, 2), &MUTEX);
    is(&nowhere, "unknown", None);
    assert_eq!(nowhere.state.as_deref(), Some("its memory cannot be read"));
}

#[test]
fn a_mutex_whose_end_cannot_be_read_is_unknown() {
    let mut world = World::new(2);
    world.memory.pages[4] = Page::Hole;
    let address = START + 4 * 4096 - 8;
    world.halves(address, &[2, 1]).wait(1, (address, WAIT, 2), &MUTEX, "work");
    is(&world.only_lock(), "unknown", None);
}

#[test]
fn a_thread_whose_system_call_nobody_tells_seems_to_be_in_one() {
    let mut world = World::new(2);
    world.mutex(LOCK, OWNER.into()).lock(1, LOCK);
    world.threads[0].thread.call = None;
    let mut registers = world.threads[0].thread.registers;
    let code = START + 0x900;
    for (register, value) in [(Registers::PC, code + 2), (5, LOCK), (4, WAIT), (1, 2)] {
        registers.set(register, Some(value));
    }
    let call = waiting_call(&registers);
    assert_eq!(call, Some(SystemCall { number: 202, arguments: [LOCK, WAIT, 2, 0, 0, 0] }));
    world.threads.iter_mut().for_each(|thread| thread.thread.registers = registers);
    assert!(!seems_to_wait(&world.threads[0], &world.memory), "no system call is made there");
    world.halves(code, &[0x050f]);
    assert!(seems_to_wait(&world.threads[0], &world.memory));
    assert!(!seems_to_wait(&world.threads[1], &world.memory), "it has called nothing that waits");
    world.threads[0].thread.registers.set(Registers::PC, None);
    assert!(!seems_to_wait(&world.threads[0], &world.memory));
    registers.set(5, None);
    assert_eq!(waiting_call(&registers), None);
    world.threads[0].thread.call = call;
    is(&world.only_lock(), "mutex", Some(OWNER));
}

#[test]
fn read_write_locks_tell_their_writer_and_count_their_readers() {
    // readers, writers, phase, first, 0, 0, writer, shared, elision, 0, 0, 0, flags
    let image = |readers, writer, flags| [readers, 0, 3, 2, 0, 0, writer, 0, 0, 0, 0, 0, flags];
    let read = ["pthread_rwlock_rdlock"];
    let written = lock(&image(2 | 1, OWNER, 0), (LOCK + 8, UNTIL, 3), &read);
    is(&written, "rwlock", Some(OWNER));
    assert_eq!(written.address, LOCK);
    let mut world = World::new(5);
    world.halves(LOCK, &image(2 << 3 | 2, 0, 2));
    world.wait(1, (LOCK + 12, UNTIL, 3), &["futex_wait", "pthread_rwlock_wrlock"], "work");
    world.wait(2, (LOCK + 8, UNTIL, 2), &["pthread_rwlock_timedrdlock"], "work");
    world.hold(1, LOCK).hold(2, LOCK).hold(3, LOCK).hold(4, LOCK);
    let row = world.row();
    let lock = &row.locks[0];
    assert_eq!((lock.address, &lock.kind[..], owners(lock)), (LOCK, "rwlock", vec![103, 104]));
    assert!(lock.inferred && lock.candidates.is_empty());
    assert_eq!(lock.state.as_deref(), Some("locked to read 2 times"));
    assert_eq!(
        row.threads.iter().map(|stuck| stuck.wants.as_deref()).collect::<Vec<_>>(),
        [Some("write"), Some("read")]
    );
    // One more thread leads to it, so two of three have it.
    world.hold(5, LOCK);
    let lock = &world.row().locks[0];
    assert_eq!((owners(lock), lock.inferred), (vec![], false));
    assert_eq!(lock.candidates.iter().map(|thread| thread.id).collect::<Vec<_>>(), [103, 104, 105]);
    for garbage in [image(2, OWNER, 0x41), image(2, 0x4141_4141, 0), image(0x4141_4141, 0, 0)] {
        is(&super::structures::lock(&garbage, (LOCK + 8, UNTIL, 3), &read), "unknown", None);
    }
}

#[test]
fn condition_variables_begin_where_their_version_has_it() {
    let waits = ["__futex_abstimed_wait_common", "pthread_cond_wait"];
    // Up to 2.41: two sequences of eight bytes, two counts of references, two sizes, a size, waiters, two signals.
    let before = |group: usize| {
        let mut image = [0_u32; 12];
        (image[0], image[2], image[9]) = (6 | group as u32, 2, 8);
        image[4 + group] = 2;
        image
    };
    // From 2.42 on: the references are gone, and two unused words follow.
    let since = [6, 0, 2, 0, 0, 0, 0, 8, 0, 0, 0, 0];
    let nothing = |group: u64| lock(&[], (LOCK + 40 + 4 * group, UNTIL, 0), &waits).address;
    for group in [0, 1] {
        assert_eq!(lock(&before(group as usize), (LOCK + 40 + 4 * group, UNTIL, 0), &waits).address, LOCK);
        assert_eq!(lock(&since, (LOCK + 32 + 4 * group, UNTIL, 0), &waits).address, LOCK);
        assert_eq!(nothing(group), LOCK + 40 + 4 * group, "the word itself, where nothing tells");
    }
    let row = lock(&since, (LOCK + 32, UNTIL, 0), &waits);
    is(&row, "condition variable", None);
    // Threads of both groups wait for the same.
    let mut world = World::new(2);
    world.halves(LOCK, &[6, 0, 2, 0, 2, 2, 1, 1, 1, 16, 0, 0]);
    world.wait(1, (LOCK + 40, UNTIL, 0), &waits, "work").wait(2, (LOCK + 44, UNTIL, 0), &waits, "work");
    assert_eq!(world.only_lock().waiters.len(), 2);
}

/// A `struct pthread` of the thread with the given id.
fn descriptor(world: &mut World, address: u64, id: u32) {
    world.word(address, address).word(address + 0x10, address).halves(address + 0x2d0, &[id]);
}

#[test]
fn joins_and_streams_are_known_by_their_structure_alone() {
    let mut world = World::new(3);
    descriptor(&mut world, START + 0x1000, 102);
    descriptor(&mut world, START + 0x2000, 103);
    world.wait(1, (START + 0x12d0, 0x109, 102), &["??"], "work");
    world.halves(LOCK, &[2, 1]).word(LOCK + 8, START + 0x2000).wait(
        2,
        (LOCK, WAIT, 2),
        &["__lll_lock_wait_private", "puts"],
        "work",
    );
    let row = world.row();
    assert_eq!(numbers(&row.threads), [2, 1]);
    is(&row.locks[0], "stream", Some(103));
    is(&row.locks[1], "end of a thread", Some(102));
    assert_eq!(row.locks[1].address, START + 0x1000, "what pthread_join is given");
    assert_eq!(row.owner.as_ref().and_then(|owner| owner.thread.number), Some(3));
    // A join of a thread that works is no lock.
    let mut world = World::new(2);
    descriptor(&mut world, START + 0x1000, 102);
    world.wait(1, (START + 0x12d0, 0x109, 102), &["pthread_join"], "work");
    assert_eq!(world.row().kind, DeadlockKind::Wait);
    // What is joined is no thread.
    world.word(START + 0x1000, 0);
    is(&world.only_lock(), "unknown", None);
}

#[test]
fn what_has_no_owner_is_a_wait() {
    let kind = |functions: &[&str]| lock(&[0, 1, 2], (LOCK, UNTIL, 0), functions).kind;
    assert_eq!(kind(&["do_futex_wait.constprop.0", "__new_sem_wait_slow64.constprop.0", "sem_wait"]), "semaphore");
    assert_eq!(kind(&["pthread_barrier_wait"]), "barrier");
    assert_eq!(kind(&["std::latch::wait() const"]), "latch");
    let future = "std::__atomic_futex_unsigned_base::_M_futex_wait_until(unsigned int*, unsigned int, bool)";
    assert_eq!(kind(&[future]), "future");
    assert_eq!(kind(&["syscall"]), "futex");
    assert_eq!(lock(&[6, 5, 8], (LOCK + 4, WAIT, 5), &["pthread_barrier_wait"]).address, LOCK);
}

#[test]
fn locks_inside_libc_have_no_owner_that_they_tell() {
    let functions = ["__lll_lock_wait_private", "malloc"];
    is(&lock(&[2, 0, 0, 0, 0], (LOCK, WAIT, 2), &functions), "malloc arena", None);
    is(&lock(&[77], (LOCK, WAIT, 2), &functions), "unknown", None);
    let mut world = World::new(3);
    world.halves(LOCK, &[2]).wait(1, (LOCK, WAIT, 2), &functions, "work").hold(3, LOCK);
    let lock = world.only_lock();
    is(&lock, "malloc arena", Some(103));
    assert!(lock.inferred);
}

#[test]
fn whose_stack_leads_to_a_lock_of_rust_has_it() {
    let functions = ["std::sys::pal::unix::futex::futex_wait", "std::sys::sync::mutex::futex::Mutex::lock_contended"];
    let mut world = World::new(4);
    world.halves(LOCK, &[2]).wait(1, (LOCK, WAIT, 2), &functions, "service::work").hold(1, LOCK);
    is(&world.only_lock(), "Rust mutex", None);
    world.hold(3, LOCK);
    is(&world.only_lock(), "Rust mutex", Some(103));
    assert!(world.only_lock().inferred);
    // The stack of another thread is not known whole.
    world.threads[3].thread.registers = Registers::default();
    let lock = world.only_lock();
    assert_eq!((owners(&lock), lock.candidates.len()), (vec![], 1));
    world.halves(LOCK, &[0]);
    assert_eq!(world.only_lock().state.as_deref(), Some("free, about to be taken"));
    world.halves(LOCK, &[3]);
    is(&world.only_lock(), "unknown", None);
}

/// A mutex of Rust's that thread 1 waits for and thread 3 leads to, after `change`.
fn held_by_the_third(change: impl FnOnce(&mut World)) -> LockRow {
    let mut world = World::new(4);
    let functions = ["std::sys::sync::mutex::futex::Mutex::lock_contended"];
    world.halves(LOCK, &[2]).wait(1, (LOCK, WAIT, 2), &functions, "service::work").hold(3, LOCK);
    change(&mut world);
    world.only_lock()
}

#[test]
fn stacks_that_are_cut_short_or_go_over_to_others_are_looked_through() {
    let last = |world: &mut World, number: usize, cfa| world.threads[number - 1].stack.frames[0].cfa = cfa;
    let found = |lock: LockRow| (owners(&lock), lock.inferred);
    // That of somebody who has nothing to do with it: where it ends is not known.
    assert_eq!(found(held_by_the_third(|world| last(world, 4, 0))), (vec![103], true));
    assert_eq!(found(held_by_the_third(|world| last(world, 4, 0x7fff_0000))), (vec![103], true));
    assert_eq!(found(held_by_the_third(|world| world.threads[3].stack.frames.clear())), (vec![103], true));
    // That of the owner, whose handler of a signal runs on another one.
    let handler = |world: &mut World| {
        let (interrupted, thread) = (STACKS + 3 * STACK, &mut world.threads[2]);
        thread.thread.registers.set(Registers::SP, Some(START + 0x3_8000));
        let inner = stack_of([START + 0x3_8020, interrupted]).frames;
        thread.stack.frames.splice(0..0, inner);
    };
    assert_eq!(found(held_by_the_third(handler)), (vec![103], true));
    // However deep that handler is.
    let deep = |world: &mut World| {
        handler(world);
        let inner = stack_of((1..200).map(|depth| START + 0x3_8000 + depth / 8)).frames;
        world.threads[2].stack.frames.splice(0..0, inner);
    };
    assert_eq!(found(held_by_the_third(deep)), (vec![103], true));
    // That of the owner: the pointer lies in a call that is not known any more.
    let cut = |end| {
        move |world: &mut World| {
            last(world, 3, STACKS + 3 * STACK + 0x40);
            world.threads[2].stack.end = end;
        }
    };
    assert_eq!(found(held_by_the_third(cut(End::NoRules))), (vec![103], true));
    assert_eq!(found(held_by_the_third(cut(End::Outermost))), (vec![], false), "it is no part of the stack");
}

#[test]
fn what_lies_in_the_descriptor_of_a_thread_is_no_call() {
    let descriptor = STACKS + 3 * STACK + 0xc0;
    let put = |world: &mut World| {
        world.word(descriptor, descriptor).word(descriptor + 0x10, descriptor);
        world.threads[2].stack.end = End::NoRules;
    };
    let lock = held_by_the_third(put);
    assert_eq!((owners(&lock), lock.candidates.len()), (vec![], 0));
}

#[test]
fn a_register_leads_to_a_lock_as_a_stack_does() {
    let functions = ["std::sys::sync::mutex::futex::Mutex::lock_contended"];
    let world = |registers: &[(usize, &str)]| {
        let mut world = World::new(4);
        world.halves(LOCK, &[2]).wait(1, (LOCK, WAIT, 2), &functions, "service::work");
        for (number, name) in registers {
            let known = &mut world.threads[number - 1].thread.registers;
            known.complete(&[(*name, LOCK)].into_iter().collect());
        }
        world
    };
    is(&world(&[]).only_lock(), "Rust mutex", None);
    is(&world(&[(3, "rbx")]).only_lock(), "Rust mutex", Some(103));
    is(&world(&[(1, "r12"), (3, "r13")]).only_lock(), "Rust mutex", Some(103));
    let two = world(&[(3, "rbx"), (4, "rbx")]).only_lock();
    assert_eq!((owners(&two), two.candidates.len()), (vec![], 2), "one has it, and two lead to it");
    // Who is not known to lead to it is asked, the thread that waits for it the last; nobody is where it is known already.
    let asked = std::cell::RefCell::new(Vec::new());
    let ask = |world: &World, registers: &dyn Fn(usize) -> Option<Registers>| {
        asked.borrow_mut().clear();
        let ask = |index| {
            asked.borrow_mut().push(index);
            registers(index)
        };
        let rows = world.rows_asking(&|| false, &ask);
        owners(&rows[0].locks[0])
    };
    let third = |index| Some((index == 2).then_some(("r14", LOCK)).into_iter().collect::<Registers>());
    assert_eq!((ask(&world(&[]), &third), asked.take()), (vec![103], vec![1, 2, 3, 0]));
    assert_eq!((ask(&world(&[(3, "rbx")]), &third), asked.take()), (vec![103], vec![]));
    assert_eq!((ask(&world(&[]), &|_| None), asked.take()), (vec![], vec![1]), "nobody answers");
    let mut known = world(&[]);
    known.threads[1].thread.registers.complete(&PRESERVED.map(|name| (name, 1)).into_iter().collect());
    assert_eq!((ask(&known, &third), asked.take()), (vec![103], vec![2, 3, 0]));
    let many = World { threads: World::new(500).threads, ..world(&[]) };
    assert_eq!(many.rows_asking(&|| false, &|_| panic!("nobody waits for anything")), []);
}

#[test]
fn who_may_have_a_lock_as_well_is_no_reason_to_forget_who_leads_to_it() {
    let candidates = |lock: &LockRow| lock.candidates.iter().map(|thread| thread.id).collect::<Vec<_>>();
    let lock = held_by_the_third(|world| world.threads[3].thread.registers = Registers::default());
    assert_eq!((owners(&lock), candidates(&lock)), (vec![], vec![103]));
    let lock = held_by_the_third(|world| world.threads[3].thread.registers.set(Registers::SP, Some(u64::MAX - 3)));
    assert_eq!((owners(&lock), candidates(&lock)), (vec![], vec![103]));
    // Who waits for it is not the one who has it.
    let lock = held_by_the_third(|world| world.threads[0].thread.registers = Registers::default());
    assert_eq!((owners(&lock), candidates(&lock)), (vec![103], vec![]));
}

#[test]
fn stacks_that_it_is_told_to_leave_alone_tell_nothing() {
    let mut world = World::new(4);
    world.halves(LOCK, &[2]).wait(1, (LOCK, WAIT, 2), &["std::sys::sync::mutex::futex::Mutex::lock"], "work");
    world.hold(2, LOCK).mutex(LOCK + 0x40, 104).lock(3, LOCK + 0x40);
    for (asked, candidates) in [(0_u32, vec![]), (1, vec![]), (2, vec![102]), (3, vec![102]), (4, vec![])] {
        let left = Cell::new(asked);
        let stop = || left.replace(left.get().saturating_sub(1)) == 0;
        let rows = world.rows_until(&stop);
        let locks: BTreeMap<u64, &LockRow> =
            rows.iter().flat_map(|row| &row.locks).map(|row| (row.address, row)).collect();
        assert_eq!(owners(locks[&(LOCK + 0x40)]), [104], "it says so itself");
        let ids: Vec<u64> = locks[&LOCK].candidates.iter().map(|thread| thread.id).collect();
        assert_eq!((ids, locks[&LOCK].inferred), (candidates, asked == 4), "after {asked} stacks");
    }
}

#[test]
fn a_read_write_lock_of_rust_is_one_for_readers_and_writers() {
    let write = ["std::sys::sync::rwlock::futex::RwLock::write_contended"];
    let read = ["std::sys::sync::rwlock::futex::RwLock::read_contended"];
    let mut world = World::new(4);
    let writing = (1 << 30) - 1;
    world.halves(LOCK, &[writing | 3 << 30, 0]);
    world.wait(1, (LOCK + 4, WAIT, 0), &write, "work").wait(2, (LOCK, WAIT, writing | 3 << 30), &read, "work");
    world.hold(3, LOCK);
    let lock = world.only_lock();
    assert_eq!((lock.address, lock.waiters.len(), owners(&lock)), (LOCK, 2, vec![103]));
    assert_eq!(lock.state.as_deref(), Some("locked to write"));
    world.halves(LOCK, &[2 | 3 << 30, 0]).hold(4, LOCK);
    let lock = world.only_lock();
    assert_eq!((owners(&lock), lock.inferred), (vec![103, 104], true));
    world.halves(LOCK, &[0x1234_5678, 0]);
    is(&world.only_lock(), "unknown", None);
}
