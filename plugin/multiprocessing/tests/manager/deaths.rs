//! Somebody dies: a client, a manager, or whoever has started one.

use crate::worker::{AccountProxy, add_many, count_under, hold_account, lock_and_wait, own_a_manager, wait_for_item};
use crate::{IDENTITY, PATIENCE, alone, manager, manager_here, program, signal, start, until, worker};
use multiprocessing::{ExitStatus, ManagedDict, ManagedLock, ManagedQueue, Manager, ManagerError, Program};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn a_client_that_is_killed_holds_nothing_any_more() {
    let _alone = alone();
    let manager = manager();
    let ready = ManagedQueue::new(&manager, None).expect("a queue");
    let account = AccountProxy::new(&manager, 0).expect("an account");
    let process = start(hold_account, &(account.clone(), ready.clone()));
    assert!(ready.get_timeout(PATIENCE).expect("a call").is_some());
    drop(account);
    assert_eq!(manager.objects().expect("a call"), 2, "the process holds it");
    process.kill().expect("a child");
    assert_eq!(process.join_timeout(PATIENCE).expect("a child"), Some(ExitStatus::Signal(libc::SIGKILL)));
    until("the process holds nothing", || manager.objects().expect("a call") == 1);
}

#[test]
fn a_client_that_was_killed_while_it_waited_takes_no_item() {
    let _alone = alone();
    let manager = manager();
    let ready = ManagedQueue::new(&manager, None).expect("a queue");
    let items = ManagedQueue::<String>::new(&manager, None).expect("a queue");
    let processes = [0; 3].map(|_| start(wait_for_item, &(items.clone(), ready.clone())));
    for process in processes {
        assert!(ready.get_timeout(PATIENCE).expect("a call").is_some());
        thread::sleep(Duration::from_millis(20));
        process.kill().expect("a child");
        process.join_timeout(PATIENCE).expect("a child");
    }
    items.put("item").expect("a call");
    assert_eq!(items.get_timeout(PATIENCE).expect("a call"), Some("item".into()));
}

#[test]
fn the_lock_of_a_killed_client_is_given_to_the_next_who_is_told() {
    let _alone = alone();
    let manager = manager();
    let ready = ManagedQueue::new(&manager, None).expect("a queue");
    let lock = ManagedLock::new(&manager).expect("a lock");
    let process = start(lock_and_wait, &(lock.clone(), ready.clone()));
    assert!(ready.get_timeout(PATIENCE).expect("a call").is_some());
    assert!(lock.lock_timeout(Duration::ZERO).expect("a call").is_none(), "the process has it");
    thread::scope(|scope| {
        let next = scope.spawn(|| lock.lock_timeout(PATIENCE).expect("a call").expect("the lock").owner_died());
        process.kill().expect("a child");
        assert!(next.join().expect("no panic"), "its owner died");
    });
    let guard = lock.lock_timeout(PATIENCE).expect("a call").expect("it was given back");
    assert!(!guard.owner_died(), "that was said once");
    process.join_timeout(PATIENCE).expect("a child");
}

/// Killed at any moment, a client costs at most what it had in its hands.
#[test]
fn clients_that_are_killed_at_random_leave_the_manager_whole() {
    let _alone = alone();
    let seconds = std::env::var("MULTIPROCESSING_TORTURE_SECONDS").ok().and_then(|value| value.parse().ok());
    let end = Instant::now() + Duration::from_secs(seconds.unwrap_or(3));
    let manager = manager();
    let lock = ManagedLock::new(&manager).expect("a lock");
    let counts = ManagedDict::<String, u64>::new(&manager).expect("a dictionary");
    let account = AccountProxy::new(&manager, 0).expect("an account");
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut last = 0;
    while Instant::now() < end {
        let counters = [0; 2].map(|_| start(count_under, &(lock.clone(), counts.clone(), u32::MAX)));
        let adder = start(add_many, &(account.clone(), u32::MAX));
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        thread::sleep(Duration::from_millis(5 + (random >> 58)));
        for process in counters.iter().chain([&adder]) {
            process.kill().expect("a child");
        }
        for process in counters.iter().chain([&adder]) {
            process.join_timeout(PATIENCE).expect("a child");
        }
        let guard = lock.lock_timeout(PATIENCE).expect("a call").expect("nobody has it any more");
        let count = counts.get("count").expect("a call").unwrap_or(0);
        assert!(count >= last, "{count} after {last}");
        last = count;
        drop(guard);
    }
    assert!(account.balance().expect("it goes on") > 0);
    until("only what is held here is left", || manager.objects().expect("a call") == 3);
}

#[test]
fn when_the_manager_is_killed_each_call_ends_at_once() {
    let _alone = alone();
    let manager = manager();
    let queue = ManagedQueue::<u32>::new(&manager, None).expect("a queue");
    let account = AccountProxy::new(&manager, 0).expect("an account");
    thread::scope(|scope| {
        let waiting = [0; 3].map(|_| scope.spawn(|| queue.get()));
        assert_eq!(account.add(1).expect("a call"), 1);
        thread::sleep(Duration::from_millis(50));
        signal(manager.pid().expect("our own"), libc::SIGKILL);
        for waiting in waiting {
            assert!(matches!(waiting.join().expect("no panic"), Err(ManagerError::Ended)));
        }
    });
    assert!(matches!(account.add(1), Err(ManagerError::Ended)));
    assert!(matches!(queue.put(&1), Err(ManagerError::Ended)));
    assert!(matches!(manager.objects(), Err(ManagerError::Ended)));
    assert!(matches!(AccountProxy::new(&manager, 1), Err(ManagerError::Ended)));
}

#[test]
fn a_manager_that_is_dropped_ends_in_time_whatever_goes_on_in_it() {
    let _alone = alone();
    for manager in [manager(), manager_here()] {
        let queue = ManagedQueue::<u32>::new(&manager, None).expect("a queue");
        thread::scope(|scope| {
            let waiting = scope.spawn(|| queue.get());
            thread::sleep(Duration::from_millis(20));
            drop(manager);
            assert!(matches!(waiting.join().expect("no panic"), Err(ManagerError::Ended)));
        });
    }
    let manager = manager();
    let account = AccountProxy::new(&manager, 0).expect("an account");
    thread::scope(|scope| {
        let sleeping = scope.spawn(|| account.sleep(Duration::from_secs(600)));
        thread::sleep(Duration::from_millis(20));
        let begin = Instant::now();
        drop(manager);
        assert!(begin.elapsed() < PATIENCE, "it took {:?}", begin.elapsed());
        assert!(matches!(sleeping.join().expect("no panic"), Err(ManagerError::Ended)));
    });
}

#[test]
fn an_interrupt_from_the_terminal_leaves_the_manager_to_its_owner() {
    let _alone = alone();
    let manager = manager();
    let account = AccountProxy::new(&manager, 0).expect("an account");
    signal(manager.pid().expect("our own"), libc::SIGINT);
    assert_eq!(account.add(1).expect("it goes on"), 1);
}

#[test]
fn a_manager_ends_with_whoever_has_started_it() {
    let _alone = alone();
    let manager = manager_here();
    let pids = ManagedQueue::<u32>::new(&manager, None).expect("a queue");
    let process = start(own_a_manager, &(worker().to_path_buf(), pids.clone()));
    let pid = pids.get_timeout(PATIENCE).expect("a call").expect("its number");
    let path = format!("/proc/{pid}");
    assert!(Path::new(&path).exists());
    process.kill().expect("a child");
    process.join_timeout(PATIENCE).expect("a child");
    until("it has gone too", || !Path::new(&path).exists());
}

#[test]
fn a_program_that_is_no_manager_is_an_error() {
    let _alone = alone();
    for program in [Program::new("/nowhere/at/all", IDENTITY), program().argument("abort"), Program::new(worker(), "x")]
    {
        let error = Manager::start(&program).expect_err("no manager");
        assert!(matches!(error, ManagerError::Start(_) | ManagerError::Died(_)), "{error:?}");
    }
}
