//! Workers behind pipes: what a connection to another machine is, without the other machine.

use crate::common::*;
use multiprocessing::{Launcher, Local};
use std::sync::Arc;

fn local(arguments: &[&str]) -> Arc<dyn Launcher> {
    let program = Program::new(worker(), IDENTITY);
    Arc::new(Local::new(arguments.iter().fold(program, |program, argument| program.argument(argument))))
}

/// A pool without workers on this machine.
fn elsewhere(count: usize) -> PoolConfig {
    let mut config = config(0);
    config.remote = (0..count).map(|_| local(&[])).collect();
    config
}

/// Runs one bad act among good ones: it fails as expected, and the others do not.
fn only_it_pays(config: PoolConfig, bad: Act, expected: impl Fn(&TaskError) -> bool) {
    let pool = Pool::start(config).expect("a pool");
    let acts = (0..40).map(|id| if id == 17 { bad.clone() } else { Act::Square(id) });
    for (id, result) in run(&pool, acts) {
        match result {
            Ok(brought) => assert_eq!(brought, Brought::Number(id * id)),
            Err(error) => assert!(id == 17 && expected(&error), "task {id}: {error:?}"),
        }
    }
    for worker in pool.status() {
        assert!(worker.host.as_deref() == Some("local") && worker.error.is_none(), "{worker:?}");
    }
}

#[test]
fn many_tasks_end_each_with_its_own_value() {
    let _alone = alone();
    let pool = Pool::start(elsewhere(2)).expect("a pool");
    for (id, result) in run(&pool, (0..500).map(Act::Square)) {
        assert_eq!(result.expect("a value"), Brought::Number(id * id));
    }
    assert_eq!(pool.deaths(), 0);
    let status = pool.status();
    assert_eq!(status.iter().map(|worker| worker.tasks).sum::<u64>(), 500);
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("a name");
    assert!(status.iter().all(|worker| worker.machine.as_deref() == Some(machine.trim())), "{status:?}");
}

#[test]
fn a_crash_a_panic_and_a_refusal_are_told_as_from_this_machine() {
    let _alone = alone();
    let signal =
        |number| move |error: &TaskError| matches!(error, TaskError::Signal { signal, .. } if *signal == number);
    only_it_pays(elsewhere(1), Act::Fault, signal(libc::SIGSEGV));
    only_it_pays(elsewhere(1), Act::Signal(libc::SIGKILL), signal(libc::SIGKILL));
    only_it_pays(elsewhere(1), Act::Exit(3), |error| matches!(error, TaskError::Exited { code: 3, .. }));
    only_it_pays(elsewhere(1), Act::HangUp, |error| matches!(error, TaskError::Connection(_)));
    only_it_pays(elsewhere(1), Act::Panic("on purpose".into()), |error| match error {
        TaskError::Panic { message, backtrace } => message.starts_with("on purpose at ") && backtrace.contains("acts"),
        _ => false,
    });
    only_it_pays(
        elsewhere(1),
        Act::Refuse("no".into()),
        |error| matches!(error, TaskError::Error(text) if text == "no"),
    );
}
