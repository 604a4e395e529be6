//! The call forms: CPython's own cases, in this library's terms.

use crate::calls::*;
use crate::common::*;
use crate::leave::leave;
use multiprocessing::{JobError, RetryPolicy};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;

fn squares(range: std::ops::Range<u64>) -> Vec<u64> {
    range.map(|number| number * number).collect()
}

fn values<V>(results: impl IntoIterator<Item = Result<V, TaskError>>) -> Vec<V> {
    results.into_iter().map(|result| result.expect("a value")).collect()
}

#[test]
fn apply_brings_the_value_or_the_error() {
    let _alone = alone();
    let pool = pool(2);
    assert_eq!(pool.apply(square, &5).expect("a value"), 25);
    assert!(matches!(pool.apply(halve, &5), Err(TaskError::Error(message)) if message == "5 is odd"));
    let four = pool.apply_async(square_after, &(2, 200));
    assert!(!four.is_ready() && four.is_successful().is_none());
    let four = four.get_timeout(Duration::from_millis(1)).expect_err("it takes longer");
    assert!(four.wait_timeout(PATIENCE) && four.is_ready());
    assert_eq!(four.is_successful(), Some(true));
    assert_eq!(four.get().expect("a value"), 4);
    let bad = pool.apply_async(halve, &3);
    bad.wait();
    assert_eq!(bad.is_successful(), Some(false));
}

#[test]
fn map_keeps_the_order() {
    let _alone = alone();
    let pool = pool(2);
    assert_eq!(values(pool.map(square, 0..10)), squares(0..10));
    assert_eq!(values(pool.map(square, 0..3000)), squares(0..3000));
    // Whose number is not known before.
    assert_eq!(values(pool.map(square, (0..100).filter(|number| number % 2 == 0))).len(), 50);
    for chunk_size in [0, 1, 2, 7, 20, 1000] {
        assert_eq!(values(pool.calls(square).chunk_size(chunk_size).map(0..100)), squares(0..100));
    }
    // Those that take longer first.
    let pauses = (0..10).map(|number| (number, 20 - 2 * number));
    assert_eq!(values(pool.calls(square_after).chunk_size(1).map(pauses)), squares(0..10));
}

#[test]
fn starmap_takes_tuples() {
    let _alone = alone();
    let pool = pool(2);
    let arguments: Vec<(u64, u64)> = (1..50).map(|number| (number * number, number)).collect();
    let expected: Vec<u64> = (1..50).collect();
    assert_eq!(values(pool.map(divide, arguments.clone())), expected);
    assert_eq!(values(pool.map_async(divide, arguments).get()), expected);
    assert_eq!(values(pool.map(process_id, [()])).len(), 1);
}

#[test]
fn nothing_to_do_is_done_at_once() {
    let _alone = alone();
    let pool = pool(1);
    assert!(pool.map(square, []).is_empty());
    let none = pool.map_async(square, []);
    assert!(none.is_ready() && none.is_successful() == Some(true));
    assert!(none.get().is_empty());
    assert!(pool.imap(square, []).next().is_none());
    assert!(pool.imap_unordered(square, []).next().is_none());
}

#[test]
fn no_failure_keeps_the_others_from_completing() {
    let _alone = alone();
    let pool = pool(2);
    for chunk_size in [1, 10] {
        let results = pool.calls(divide).chunk_size(chunk_size).map((0..100).map(|number| (100, number % 10)));
        for (number, result) in results.into_iter().enumerate() {
            match (number % 10, result) {
                (0, Err(TaskError::Panic { message, .. })) => assert!(message.contains("divide by zero")),
                (divisor, Ok(quotient)) => assert_eq!(quotient, 100 / divisor as u64),
                (_, other) => panic!("{number}: {other:?}"),
            }
        }
    }
}

#[test]
fn a_panic_brings_the_trace_of_its_worker() {
    let _alone = alone();
    let pool = pool(1);
    match pool.apply(divide, &(1, 0)) {
        Err(TaskError::Panic { message, backtrace }) => {
            assert!(message.contains("calls.rs"), "{message}");
            assert!(backtrace.contains("divide"), "{backtrace}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_argument_that_cannot_be_encoded_is_an_error_and_no_hang() {
    let _alone = alone();
    let pool = pool(2);
    let unsent = |result: &Result<Fickle, TaskError>| matches!(result, Err(TaskError::Send(reason)) if reason.contains("fickle"));
    let mixed = [Fickle::Sound, Fickle::FailsToEncode, Fickle::Sound];
    for round in 0..2 {
        assert!(unsent(&pool.apply(fickle, &Fickle::FailsToEncode)), "{round}");
        let begun = pool.map_async(fickle, mixed);
        assert!(begun.wait_timeout(PATIENCE));
        assert_eq!(begun.is_successful(), Some(false));
        for results in [
            pool.map(fickle, mixed),
            begun.get(),
            pool.imap(fickle, mixed).collect(),
            pool.calls(fickle).chunk_size(3).map(mixed),
        ] {
            assert!(matches!(results[..], [Ok(Fickle::Sound), _, Ok(Fickle::Sound)]), "{results:?}");
            assert!(unsent(&results[1]));
        }
        let unordered: Vec<_> = pool.imap_unordered(fickle, mixed).collect();
        assert_eq!(unordered.iter().filter(|result| unsent(result)).count(), 1);
        assert_eq!(unordered.len(), 3);
    }
    assert_eq!(pool.deaths(), 0);
}

#[test]
fn what_cannot_be_decoded_is_an_error_of_that_task_only() {
    let _alone = alone();
    let pool = pool(2);
    let arguments = [Fickle::Sound, Fickle::FailsToDecode, Fickle::FailsToDecodeLater, Fickle::FailsToEncodeLater];
    for chunk_size in [1, 4] {
        let results = pool.calls(fickle).chunk_size(chunk_size).map(arguments);
        assert!(matches!(results[0], Ok(Fickle::Sound)));
        for (result, what) in results[1..].iter().zip(["the argument of", "the value of", "the value of"]) {
            assert!(matches!(result, Err(TaskError::Decode(reason)) if reason.contains(what)), "{result:?}");
        }
    }
    assert_eq!(values(pool.map(square, 0..10)), squares(0..10));
    assert_eq!(pool.deaths(), 0);
}

#[test]
fn a_panic_that_nobody_reads_is_told_as_one() {
    let _alone = alone();
    let pool = pool(1);
    match pool.apply(panics_unheard, &()) {
        Err(TaskError::Panic { message, .. }) => assert!(message.starts_with("unheard"), "{message}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(pool.apply(square, &3).expect("a value"), 9);
}

#[test]
fn another_schema_is_named() {
    let _alone = alone();
    let pool = pool(1);
    match pool.apply(other::square, &3) {
        Err(TaskError::Error(reason)) => {
            assert!(reason.contains("'square'") && reason.contains("other types"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(pool.apply(square, &3).expect("a value"), 9);
}

/// Some numbers, and then a panic.
fn panics_at(at: u64) -> impl Iterator<Item = u64> {
    (0..).inspect(move |number| assert_ne!(*number, at, "the source is broken"))
}

#[test]
fn a_broken_source_shows_at_its_place() {
    let _alone = alone();
    let pool = pool(2);
    for at in [0, 5, 300] {
        let source = || panics_at(at).take(1000);
        assert!(catch_unwind(AssertUnwindSafe(|| pool.map(square, source()))).is_err());
        assert!(catch_unwind(AssertUnwindSafe(|| pool.map_async(square, source()))).is_err());
        for chunk_size in [1, 7] {
            let mut results = pool.calls(square).chunk_size(chunk_size).imap(source());
            for number in 0..at {
                assert_eq!(results.next().expect("those before it come").expect("a value"), number * number);
            }
            assert!(catch_unwind(AssertUnwindSafe(|| results.next())).is_err());
            assert!(results.next().is_none());
            let mut results = pool.calls(square).chunk_size(chunk_size).imap_unordered(source());
            (0..at).for_each(|_| assert!(results.next().expect("those before it come").is_ok()));
            assert!(catch_unwind(AssertUnwindSafe(|| results.next())).is_err());
        }
    }
    assert_eq!(values(pool.map(square, 0..10)), squares(0..10));
}

#[test]
fn imap_keeps_the_order_and_imap_unordered_the_values() {
    let _alone = alone();
    let pool = pool(2);
    for chunk_size in [1, 3, 100] {
        let calls = || pool.calls(square).chunk_size(chunk_size);
        assert_eq!(values(calls().imap(0..1000)), squares(0..1000));
        let mut unordered = values(calls().imap_unordered(0..1000));
        unordered.sort_unstable();
        assert_eq!(unordered, squares(0..1000));
    }
    // One that takes longer comes later.
    let pauses = [(1, 300), (2, 0), (3, 0)];
    let mut unordered = pool.imap_unordered(square_after, pauses);
    assert_ne!(unordered.next().expect("three").expect("a value"), 1);
    assert_eq!(values(pool.imap(square_after, pauses)), [1, 4, 9]);
}

#[test]
fn imap_draws_no_more_than_it_needs() {
    let _alone = alone();
    let pool = pool(2);
    let drawn = Cell::new(0_u64);
    let source = || (0..).inspect(|_| drawn.set(drawn.get() + 1));
    let mut results = pool.imap(square, source());
    assert_eq!(results.next().expect("there is no end").expect("a value"), 0);
    assert!(drawn.get() <= 256, "{} were drawn", drawn.get());
    for number in 1..500 {
        assert_eq!(results.next().expect("there is no end").expect("a value"), number * number);
    }
    assert!(drawn.get() <= 756, "{} were drawn", drawn.get());
    drop(results);
    // Not even when nothing ends.
    drawn.set(0);
    let mut results =
        pool.imap_unordered(square_after, source().map(|number| (number, if number == 0 { 600_000 } else { 0 })));
    (0..300).for_each(|_| assert!(results.next().expect("there is no end").is_ok()));
    assert!(drawn.get() <= 556, "{} were drawn", drawn.get());
    drop(results);
    assert_whole(&pool, 2);
}

#[test]
fn callbacks_come_in_a_thread_of_their_own() {
    let _alone = alone();
    let pool = pool(2);
    let (sender, receiver) = mpsc::channel();
    let tell = |name: &'static str| {
        let sender = sender.clone();
        move |results: Vec<Result<u64, TaskError>>| {
            let thread = std::thread::current().name().unwrap_or_default().to_owned();
            sender.send((name, thread, results)).expect("the test waits");
        }
    };
    pool.map_async(square, 0..10).on_end(tell("map"));
    let late = pool.map_async(halve, [4, 5]);
    assert!(late.wait_timeout(PATIENCE));
    // One that is there already; and one that panics, whom the others do not mind.
    pool.apply_async(square, &3).on_end(|_| panic!("this callback is broken"));
    late.on_end(tell("late"));
    let one = tell("one");
    pool.apply_async(square, &3).on_end(move |result| one(vec![result]));
    let mut came = Vec::new();
    for _ in 0..3 {
        let (name, thread, results) = receiver.recv_timeout(PATIENCE).expect("it comes");
        assert_eq!(thread, "pool callbacks");
        match name {
            "map" => assert_eq!(values(results), squares(0..10)),
            "one" => assert_eq!(values(results), [9]),
            _ => assert!(matches!(&results[..], [Ok(2), Err(TaskError::Error(reason))] if reason == "5 is odd")),
        }
        came.push(name);
    }
    came.sort_unstable();
    assert_eq!(came, ["late", "map", "one"]);
}

#[test]
fn a_callback_that_holds_the_pool_may_be_the_last_to_hold_it() {
    let _alone = alone();
    let pool = std::sync::Arc::new(pool(1));
    let (sender, receiver) = mpsc::channel();
    let held = std::sync::Arc::clone(&pool);
    pool.apply_async(square_after, &(3, 50)).on_end(move |result| {
        assert_eq!(held.apply(square, &result.expect("a value")).expect("a value"), 81);
        drop(held);
        sender.send(()).expect("the test waits");
    });
    drop(pool);
    receiver.recv_timeout(PATIENCE).expect("it comes");
    until("the thread has ended", || !crate::leftovers::has_thread("pool callbacks"));
}

#[test]
fn callbacks_are_called_when_the_pool_ends_too() {
    let _alone = alone();
    let pool = pool(1);
    let (sender, receiver) = mpsc::channel();
    pool.apply_async(square_after, &(3, 600_000)).on_end(move |result| sender.send(result).expect("the test waits"));
    drop(pool);
    assert!(matches!(receiver.recv_timeout(PATIENCE), Ok(Err(TaskError::Closed))));
}

#[test]
fn what_is_dropped_goes_on_if_it_was_begun_and_ends_if_it_was_iterated() {
    let _alone = alone();
    let pool = pool(1);
    drop(pool.map_async(square, 0..50));
    drop(pool.apply_async(square, &7));
    until("all have run", || pool.status().expect("it answers")[0].tasks == 51);
    let mut iterated = pool.imap(square_after, (0..).map(|number| (number, 5)));
    assert!(iterated.next().is_some());
    drop(iterated);
    assert_whole(&pool, 1);
    // A cancelled call, with the flag seen by a function that gets no context.
    let waits = pool.apply_async(until_cancelled, &());
    until("it is busy", || pool.status().expect("it answers")[0].state == WorkerState::Busy);
    waits.cancel();
    assert!(waits.wait_timeout(PATIENCE));
    assert_whole(&pool, 1);
    assert_eq!(pool.deaths(), 0, "it has listened");
}

#[test]
fn results_may_hold_handles() {
    let _alone = alone();
    let pool = pool(2);
    for (number, result) in pool.map(pipe_with, (0..20).map(|number| format!("text {number}"))).into_iter().enumerate()
    {
        let mut text = String::new();
        let file = std::fs::File::from(result.expect("a value").into_inner());
        std::io::Read::read_to_string(&mut &file, &mut text).expect("text");
        assert_eq!(text, format!("text {number}"));
    }
}

#[test]
fn a_task_that_kills_its_worker_has_one_more_try() {
    let _alone = alone();
    let pool = pool(2);
    let tried = |retry: Option<RetryPolicy>, deaths: u64| {
        let memory = multiprocessing::SharedMemory::new(8).expect("memory");
        let handle = std::os::fd::AsFd::as_fd(&memory).try_clone_to_owned().expect("a descriptor");
        let calls = retry.map_or(pool.calls(tries), |retry| pool.calls(tries).retry(retry));
        let result = calls.apply(&(handle.into(), deaths));
        let count = memory.atomic_u64(0).expect("room").load(std::sync::atomic::Ordering::SeqCst);
        (result, count)
    };
    let died = |result| matches!(result, Err(TaskError::Signal { signal: libc::SIGKILL, .. }));
    assert!(matches!(tried(None, 1), (Ok(2), 2)));
    let (result, count) = tried(None, u64::MAX);
    assert!(died(result));
    assert_eq!(count, 2, "it does not run again");
    let (result, count) = tried(Some(RetryPolicy::NEVER), 1);
    assert!(died(result));
    assert_eq!(count, 1);
    assert!(matches!(tried(Some(RetryPolicy::times(3)), 3), (Ok(4), 4)));
    assert_whole(&pool, 2);
}

#[test]
fn a_death_in_a_chunk_costs_one_item() {
    let _alone = alone();
    let pool = pool(2);
    for chunk_size in [1, 10, 40, 100] {
        for signal in [libc::SIGKILL, libc::SIGSEGV] {
            let calls = pool.calls(raise).chunk_size(chunk_size).retry(RetryPolicy::NEVER);
            let results = calls.map((0..40).map(|number| if number == 17 { signal } else { 0 }));
            for (number, result) in results.into_iter().enumerate() {
                match result {
                    Err(TaskError::Signal { signal: found, .. }) => assert_eq!((number, found), (17, signal)),
                    result => assert!(number != 17 && result.is_ok(), "{number}: {result:?}"),
                }
            }
        }
    }
    let results = pool.calls(leave).chunk_size(5).map([0; 5]);
    assert!(results.iter().all(|result| matches!(result, Err(TaskError::Exited { code: 0, .. }))), "{results:?}");
    assert_whole(&pool, 2);
}

#[test]
fn a_chunk_stays_with_its_worker() {
    let _alone = alone();
    let pool = pool(2);
    let processes = values(pool.calls(turn).chunk_size(10).map([1; 100]));
    for chunk in processes.chunks(10) {
        assert!(chunk.iter().all(|(process, _)| *process == chunk[0].0), "{processes:?}");
    }
}

#[test]
fn a_closed_pool_ends_what_it_has() {
    let _alone = alone();
    let pool = pool(2);
    let before = pool.map_async(square_after, (0..20).map(|number| (number, 5)));
    assert!(!pool.join_timeout(Duration::from_millis(1)), "it is open");
    pool.close();
    assert!(matches!(pool.apply(square, &2), Err(TaskError::Closed)));
    assert!(pool.map(square, 0..3).iter().all(|result| matches!(result, Err(TaskError::Closed))));
    assert!(pool.map_async(square, 0..3).get().iter().all(|result| matches!(result, Err(TaskError::Closed))));
    assert_eq!(pool.imap(square, 0..3).filter(|result| matches!(result, Err(TaskError::Closed))).count(), 3);
    assert!(matches!(pool.job("act", Message::default()), Err(JobError::Closed)));
    assert!(pool.join_timeout(PATIENCE));
    assert_eq!(children(), Vec::<u32>::new());
    assert_eq!(values(before.get()), squares(0..20));
    pool.join();
    pool.terminate();
}

#[test]
fn terminate_is_prompt_with_work_pending() {
    let _alone = alone();
    let pool = pool(2);
    let stopped = pool.status().expect("it answers")[0].pid;
    let pending = pool.map_async(square_after, (0..10_000).map(|number| (number, 100)));
    until("both are busy", || {
        pool.status().expect("it answers").iter().all(|worker| worker.state == WorkerState::Busy)
    });
    signal(stopped, libc::SIGSTOP);
    pool.terminate();
    assert_eq!(children(), Vec::<u32>::new());
    let results = pending.get();
    assert_eq!(results.len(), 10_000);
    assert!(results.iter().filter(|result| result.is_err()).all(|result| matches!(result, Err(TaskError::Closed))));
    assert!(pool.join_timeout(Duration::ZERO));
    assert!(matches!(pool.apply(square, &1), Err(TaskError::Closed)));
}
