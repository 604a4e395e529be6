//! How long workers serve, what they do first, and many of their deaths.

use crate::calls::*;
use crate::common::*;
use multiprocessing::{Initializer, StartError};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

fn initialized(value: u64) -> Result<Pool, StartError> {
    let mut config = config(2);
    config.initializer = Some(Initializer::new(prepare, &value).expect("a number"));
    Pool::start(config)
}

#[test]
fn the_initializer_runs_before_the_first_task_of_each_worker() {
    let _alone = alone();
    let pool = initialized(5).expect("a pool");
    let prepared_for =
        |pool: &Pool| pool.map(prepared, [(); 40]).into_iter().all(|result| result.expect("a value") == 5);
    assert!(prepared_for(&pool));
    for worker in pool.status().expect("it answers") {
        signal(worker.pid, libc::SIGKILL);
    }
    assert!(prepared_for(&pool), "their successors too");
}

#[test]
fn a_failing_initializer_is_an_error_of_the_start() {
    let _alone = alone();
    for (value, reason) in [(7, "seven is refused"), (8, "eight is a reason to panic")] {
        match initialized(value) {
            Err(StartError::Initializer { message, .. }) => assert!(message.contains(reason), "{message}"),
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(initialized(9), Err(StartError::Died { .. })));
    let mut config = config(1);
    config.initializer = Some(Initializer::new(other::square, &3).expect("a number"));
    let error = Pool::start(config).expect_err("it has other types");
    assert!(error.to_string().contains("'square'"), "{error}");
}

#[test]
fn a_worker_is_replaced_after_its_tasks() {
    let _alone = alone();
    let mut config = config(2);
    config.max_tasks_per_worker = Some(10);
    let pool = Pool::start(config).expect("a pool");
    let turns: Vec<(u32, u64)> = pool.map(turn, [0; 200]).into_iter().map(|result| result.expect("a value")).collect();
    assert!(turns.iter().all(|(_, before)| *before < 10), "{turns:?}");
    let workers: BTreeSet<u32> = turns.iter().map(|(process, _)| *process).collect();
    assert!(workers.len() >= 20, "{} workers", workers.len());
    assert_eq!(pool.deaths(), 0);
    // And a chunk is no reason to have more.
    let turns = pool.calls(turn).chunk_size(50).map([0; 100]);
    assert!(turns.into_iter().all(|result| result.expect("a value").1 < 10));
}

#[test]
fn a_pool_that_is_closed_early_ends_what_it_has_though_each_task_needs_a_new_worker() {
    let _alone = alone();
    let mut config = config(3);
    config.max_tasks_per_worker = Some(1);
    let pool = Pool::start(config).expect("a pool");
    let results: Vec<_> = (0..6).map(|number| pool.apply_async(square_after, &(number, 50))).collect();
    pool.close();
    assert!(pool.join_timeout(PATIENCE));
    for (number, result) in (0..6).zip(results) {
        assert_eq!(result.get().expect("a value"), number * number);
    }
}

#[test]
fn what_a_task_was_given_is_let_go_when_it_has_ended() {
    let _alone = alone();
    let pool = pool(1);
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let memory = multiprocessing::SharedMemory::new(8).expect("memory");
    let handle = std::os::fd::AsFd::as_fd(&memory).try_clone_to_owned().expect("a descriptor");
    assert!(pool.apply(tries, &(handle.into(), 0)).is_ok());
    let held = |pid: u32| {
        let links = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("its descriptors");
        links.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok()).count()
    };
    let before = held(pool.status().expect("it answers")[0].pid);
    for _ in 0..50 {
        let handle = std::os::fd::AsFd::as_fd(&memory).try_clone_to_owned().expect("a descriptor");
        assert!(pool.apply(tries, &(handle.into(), 0)).is_ok());
    }
    assert_eq!(held(pool.status().expect("it answers")[0].pid), before);
    drop((reader, writer));
}

/// Raises a flag at the end, however it comes.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn ten_thousand_tasks_on_workers_that_are_killed_at_random() {
    let _alone = alone();
    let pool = pool(2);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _over = Over(&over);
        scope.spawn(|| {
            let mut seed = 88_172_645_463_325_252_u64;
            while !over.load(Ordering::Relaxed) {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                let status = pool.status().expect("it answers");
                if let Some(worker) = status.get((seed % 2) as usize) {
                    signal(worker.pid, if seed & 4 == 0 { libc::SIGKILL } else { libc::SIGSEGV });
                }
                std::thread::sleep(Duration::from_micros(2_000 + seed % 8_000));
            }
        });
        for (form, retried) in [("map", true), ("job", false)] {
            let mut died = 0;
            let results: Vec<_> = if retried {
                pool.map(square_after, (0..10_000).map(|number| (number, u64::from(number % 50 == 0))))
                    .into_iter()
                    .enumerate()
                    .collect()
            } else {
                let job = pool.typed_job::<square_after>(&()).expect("a job");
                (0..10_000).for_each(|id| job.submit(id, &(id, u64::from(id % 50 == 0))).expect("encoded"));
                let mut results = std::collections::BTreeMap::new();
                loop {
                    match job.next_timeout(PATIENCE) {
                        Next::Ended(id, result) => assert!(results.insert(id as usize, result).is_none()),
                        Next::Nothing => panic!("nothing ends"),
                        Next::Idle => break,
                    }
                }
                results.into_iter().collect()
            };
            assert_eq!(results.len(), 10_000);
            for (number, result) in results {
                match result {
                    Ok(value) => assert_eq!(value, (number * number) as u64),
                    Err(TaskError::Signal { .. }) => died += 1,
                    Err(error) => panic!("{form} {number}: {error:?}"),
                }
            }
            assert!(died < 1000, "{form}: {died}");
        }
    });
    assert!(pool.deaths() > 0);
    assert_whole(&pool, 2);
}

#[test]
fn an_interrupt_ends_the_job_and_not_the_pool() {
    let _alone = alone();
    // A program in a process group of its own, which is sent what a terminal sends for Ctrl-C: it cancels its job.
    use std::io::{BufRead, BufReader};
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};
    let mut host = Command::new(worker());
    let mut host =
        host.args(["interrupted"]).arg(worker()).process_group(0).stdout(Stdio::piped()).spawn().expect("a host");
    let mut lines = BufReader::new(host.stdout.take().expect("a pipe")).lines().map(|line| line.expect("text"));
    assert_eq!(lines.next().as_deref(), Some("busy"));
    signal(0_u32.wrapping_sub(host.id()), libc::SIGINT);
    assert_eq!(lines.next().as_deref(), Some("all cancelled, none died, and the pool goes on"));
    assert!(host.wait().expect("it is ours").success());
}

#[test]
fn a_large_result_is_not_there_twice() {
    let _alone = alone();
    let pool = pool(1);
    let size = 256 << 20;
    let at_most = size + size / 10;
    // From here on the peak is this test's.
    std::fs::write("/proc/self/clear_refs", "5").expect("it is ours");
    let before = peak_memory();
    let pieces = pool.apply(megabytes, &(size >> 20)).expect("a value");
    assert!(pieces.len() == size >> 20 && pieces.iter().all(|piece| piece.len() == 1 << 20 && piece[77] == 7));
    let here = peak_memory() - before;
    assert!(here < at_most as u64, "{} MiB here", here >> 20);
    let there = pool.apply(peak, &()).expect("a number");
    assert!(there < at_most as u64, "{} MiB there", there >> 20);
}

#[test]
fn what_waits_behind_a_task_that_turns_out_long_goes_to_others() {
    let _alone = alone();
    let pool = pool(2);
    // From these it is known to be a small task, of which a worker is given many at a time.
    assert!(pool.calls(square_after).chunk_size(1).map((0..5000).map(|number| (number, 0))).iter().all(Result::is_ok));
    for long in [0, 5, 40] {
        let job = pool.typed_job::<square_after>(&()).expect("a job");
        (0..200).for_each(|id| job.submit(id, &(id, if id == long { 600_000 } else { 0 })).expect("encoded"));
        for _ in 0..199 {
            match job.next_timeout(PATIENCE) {
                Next::Ended(id, Ok(value)) => assert!(id != long && value == id * id),
                other => panic!("{other:?}"),
            }
        }
        assert!(matches!(job.next_timeout(Duration::ZERO), Next::Nothing));
    }
    assert_whole(&pool, 2);
}
