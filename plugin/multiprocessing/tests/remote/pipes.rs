//! Workers behind pipes: what a connection to another machine is, without the other machine.

use crate::common::*;
use multiprocessing::{CommandPrefix, JobSpec, Launcher, Local};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
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
    let pool = one_bad_act(config, bad, expected);
    for worker in pool.status().expect("it answers") {
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
    let status = pool.status().expect("it answers");
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

#[test]
fn limits_of_memory_and_time_hold_over_there() {
    let _alone = alone();
    let mut config = elsewhere(1);
    config.memory_limit = Some(64 << 20);
    only_it_pays(config, Act::Allocate(512 << 20), |error| matches!(error, TaskError::OutOfMemory));
    let mut config = elsewhere(1);
    config.task_timeout = Some(Duration::from_millis(300));
    only_it_pays(config, Act::Spin, |error| matches!(error, TaskError::Timeout(_)));
    let pool = Pool::start(elsewhere(1)).expect("a pool");
    pool.set_task_timeout(Some(Duration::from_millis(100)));
    assert!(matches!(run_one(&pool, Act::Spin), Err(TaskError::Timeout(_))));
}

#[test]
fn the_memory_of_a_worker_over_there_is_told() {
    let _alone = alone();
    let mut config = elsewhere(1);
    config.remote_silence = Duration::from_millis(300);
    let pool = Pool::start(config).expect("a pool");
    until("it is ready", || pool.status().expect("it answers")[0].state == WorkerState::Idle);
    let first = pool.status().expect("it answers")[0].memory.expect("it is told with the start");
    assert!((1..16 << 20).contains(&first), "{first}");
    // With a sign of life, for nothing else is said meanwhile.
    let job = acts(&pool);
    job.submit(0, &Act::Stack(4 << 20)).expect("encoded");
    until("it has grown", || {
        pool.status().expect("it answers")[0].memory.is_some_and(|memory| memory > first + (3 << 20))
    });
    job.cancel();
    // And with a task's end: the one that was killed has left nothing.
    until("another one is there", || {
        run_one(&pool, Act::Pid).is_ok()
            && pool.status().expect("it answers")[0].memory.is_some_and(|memory| memory < first + (2 << 20))
    });
    pool.set_remote(vec![behind("exit 7")]);
    until("there is none", || pool.status().expect("it answers")[0].state == WorkerState::Down);
    assert_eq!(pool.status().expect("it answers")[0].memory, None);
}

#[test]
fn a_cancelled_job_ends_at_once_and_the_worker_goes_on() {
    let _alone = alone();
    let pool = Pool::start(elsewhere(2)).expect("a pool");
    for act in [Act::UntilCancelled, Act::Spin] {
        let job = acts(&pool);
        (0..10).for_each(|id| job.submit(id, &act).expect("encoded"));
        until("both are busy", || {
            pool.status().expect("it answers").iter().all(|worker| worker.state == WorkerState::Busy)
        });
        job.cancel();
        assert!(collect(&job).values().all(|result| matches!(result, Err(TaskError::Cancelled))));
        until("both are free", || {
            pool.status().expect("it answers").iter().all(|worker| worker.state == WorkerState::Idle)
        });
    }
    assert!(run(&pool, (0..20).map(Act::Square)).values().all(Result::is_ok));
}

fn echo(pool: &Pool, sizes: &[usize]) {
    let large: Vec<u8> = (0..*sizes.iter().max().expect("sizes")).map(|i| (i >> 8) as u8 ^ i as u8).collect();
    let job = pool.job("echo", Message::plain(large[..large.len().min(100_000)].to_vec())).expect("a job");
    for (id, size) in sizes.iter().enumerate() {
        job.submit(id as u64, Message::plain(large[..*size].to_vec()));
    }
    for _ in sizes {
        match job.next_timeout(4 * PATIENCE) {
            Next::Ended(id, Ok(payload)) => assert!(*payload == large[..sizes[id as usize]]),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn payloads_of_all_sizes_go_both_ways() {
    let _alone = alone();
    let pool = Pool::start(elsewhere(2)).expect("a pool");
    echo(&pool, &[0, 1, (64 << 10) - 1, 64 << 10, (64 << 10) + 1, 5 << 20, 64 << 20]);
    assert_eq!(pool.deaths(), 0);
}

#[test]
#[ignore = "it takes gigabytes of memory; run it alone"]
fn a_payload_of_a_gibibyte_goes_both_ways() {
    let _alone = alone();
    let pool = Pool::start(elsewhere(1)).expect("a pool");
    let start = std::time::Instant::now();
    echo(&pool, &[1 << 30]);
    eprintln!("{:?}", start.elapsed());
}

#[test]
fn a_message_with_a_descriptor_stays_here_or_goes_in_another_form() {
    let _alone = alone();
    let mut config = elsewhere(1);
    let pool = Pool::start(config.clone()).expect("a pool");
    // Only elsewhere, and it cannot go there.
    let pipe = || {
        let (reader, mut writer) = std::io::pipe().expect("a pipe");
        std::io::Write::write_all(&mut writer, b"descriptor").expect("room");
        reader
    };
    let setup = || multiprocessing::codec::encode(&Setup::Text("set-up".into(), vec![pipe().into()])).expect("encoded");
    let act = |act: &Act| multiprocessing::codec::encode(act).expect("encoded");
    let job = pool.job("act", setup()).expect("a job");
    job.submit(0, act(&Act::Setup));
    match job.next_timeout(PATIENCE) {
        Next::Ended(0, Err(TaskError::Send(reason))) => assert!(reason.contains("descriptors"), "{reason}"),
        other => panic!("{other:?}"),
    }
    // With another form of the set-up, and of each task.
    let mut spec = JobSpec::new("act", setup());
    spec.remote_setup = Some(act_setup("elsewhere"));
    let job = pool.open(spec).expect("a job");
    let places = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&places);
    let make = move |place: &str| {
        seen.lock().expect("no panic").push(place.to_owned());
        Ok(postcard::to_stdvec(&Act::Square(9)).expect("encoded"))
    };
    job.submit_either(1, act(&Act::Square(3)), Arc::new(make));
    job.submit_either(2, act(&Act::Square(3)), Arc::new(|_| Err("it cannot be read".into())));
    job.submit_either(3, act(&Act::Square(3)), Arc::new(|_| panic!("on purpose")));
    for _ in 0..3 {
        match job.next_timeout(PATIENCE) {
            Next::Ended(1, Ok(value)) => assert!(matches!(value.decode(), Ok(Brought::Number(81)))),
            Next::Ended(2, Err(TaskError::Send(reason))) => assert_eq!(reason, "it cannot be read"),
            Next::Ended(3, Err(TaskError::Send(reason))) => assert!(reason.contains("panicked"), "{reason}"),
            other => panic!("{other:?}"),
        }
    }
    let places = places.lock().expect("no panic").clone();
    assert!(places.len() == 1 && places[0].starts_with("local ("), "{places:?}");
    drop((job, pool));
    // With a worker here, the same job goes there.
    config.workers = 1;
    let pool = Pool::start(config).expect("a pool");
    let job = pool.job("act", setup()).expect("a job");
    job.submit(0, act(&Act::Setup));
    assert!(matches!(job.next_timeout(PATIENCE), Next::Ended(0, Ok(_))));
}

fn act_setup(text: &str) -> Vec<u8> {
    multiprocessing::codec::encode(&Setup::text(text)).expect("encoded").bytes
}

/// Workers behind a shell that first does something else.
fn behind(script: &str) -> Arc<dyn Launcher> {
    Arc::new(CommandPrefix::new(["/bin/sh", "-c", script, "far side"], worker()))
}

#[test]
fn noise_before_the_first_frame_is_passed_over() {
    let _alone = alone();
    let mut config = config(0);
    let noise = "echo 'MP: you have mail'; head -c 50000 /dev/zero; echo hello >&2; exec \"$@\"";
    config.remote = vec![behind(noise)];
    let pool = Pool::start(config).expect("a pool");
    assert!(run(&pool, (0..20).map(Act::Square)).values().all(Result::is_ok));
    assert_eq!(pool.status().expect("it answers")[0].host.as_deref(), Some(&*format!("/bin/sh -c {noise} far side")));
}

fn start_error(launcher: Arc<dyn Launcher>) -> String {
    let mut config = config(0);
    config.remote = vec![launcher];
    config.remote_start_timeout = Duration::from_millis(500);
    Pool::start(config).expect_err("it cannot start").to_string()
}

#[test]
fn a_far_side_that_is_no_worker_is_named_with_what_it_said() {
    let _alone = alone();
    for (script, expected) in [
        ("echo 'ssh: no such host' >&2; exit 255", &["': ssh: no such host (exited with code 255)"][..]),
        ("echo 'This account is closed.'; exit 1", &["': it said 'This account is closed.' (exited with code 1)"]),
        ("kill -9 $$", &["': it closed the connection", "SIGKILL"]),
        ("head -c 100000 /dev/zero | tr '\\0' x; sleep 60", &["first 65536 bytes", "xxxx"]),
        ("sleep 60", &["': no worker was ready within 0.5 s"]),
        ("printf '\\0multiprocessingHTTP/1.1 400'; sleep 60", &["not a frame"]),
        ("printf '\\0multiprocessingMP\\1\\0\\1\\0\\0\\0\\377'; sleep 60", &["not a message"]),
        ("exec cat", &[]),
    ] {
        let error = start_error(behind(script));
        for part in expected.iter().chain(&["no worker by '/bin/sh -c"]) {
            assert!(error.contains(part), "{script}: {error}");
        }
    }
    let error = start_error(behind("printf '\\0multiprocessingMP\\143\\0\\0\\0\\0\\0'; sleep 60"));
    assert!(error.contains("protocol version 99"), "{error}");
    let error = start_error(local(&["identity", "other build"]));
    for part in [IDENTITY, "other build", "local ("] {
        assert!(error.contains(part), "{error}");
    }
    let error = start_error(local(&["abort"]));
    assert!(error.contains("SIGABRT"), "{error}");
    let error = start_error(Arc::new(CommandPrefix::new(["no such engine"], worker())));
    assert!(error.contains("no command 'no such engine'"), "{error}");
}

/// Whatever its line has taken in and does not pass on is lost to others only until the connection is given up.
#[test]
fn a_line_that_gets_stuck_keeps_one_task_and_none_behind_it() {
    let _alone = alone();
    let mut config = config(1);
    let stuck = r#"(dd bs=1 count=20000 2>/dev/null; sleep 600) | "$@""#;
    config.remote = vec![behind(stuck)];
    let pool = Pool::start(config).expect("a pool");
    until("both are there", || {
        pool.status().expect("it answers").iter().all(|worker| worker.state == WorkerState::Idle)
    });
    let job = pool.job("echo", Message::default()).expect("a job");
    (0..40).for_each(|id| job.submit(id, Message::plain(vec![7; 1 << 20])));
    let mut ended = std::collections::BTreeSet::new();
    while ended.len() < 39 {
        match job.next_timeout(PATIENCE) {
            Next::Ended(id, Ok(payload)) => assert!(payload.len() == 1 << 20 && ended.insert(id)),
            other => panic!("{other:?} after {}", ended.len()),
        }
    }
    let status = pool.status().expect("it answers");
    assert_eq!((status[1].state, status[1].tasks, pool.deaths()), (WorkerState::Busy, 0, 0), "{status:?}");
}

#[test]
fn one_that_is_down_holds_nobody_up() {
    let _alone = alone();
    let mut config = config(1);
    config.remote = vec![behind("exit 7"), local(&[])];
    let pool = Pool::start(config).expect("a pool");
    until("all are decided", || {
        pool.status().expect("it answers").iter().filter(|worker| worker.state == WorkerState::Idle).count() == 2
            && pool.status().expect("it answers")[1].state == WorkerState::Down
    });
    assert!(run(&pool, (0..100).map(Act::Square)).values().all(Result::is_ok));
    let status = pool.status().expect("it answers");
    let error = status[1].error.as_deref().expect("the reason");
    assert!(error.contains("exited with code 7") && status[1].pid == 0, "{status:?}");
    assert!(status[0].host.is_none() && status[2].error.is_none(), "{status:?}");
    // Without it, and with one more.
    pool.set_remote(vec![local(&[]), local(&[])]);
    until("all are there", || {
        pool.status().expect("it answers").len() == 3
            && pool.status().expect("it answers").iter().all(|worker| worker.state == WorkerState::Idle)
    });
    pool.set_remote(Vec::new());
    assert!(run(&pool, (0..10).map(Act::Square)).values().all(Result::is_ok));
    assert_eq!(pool.status().expect("it answers").len(), 1);
}

#[test]
fn a_lost_connection_costs_the_task_at_its_front_only() {
    let _alone = alone();
    let pool = Pool::start(elsewhere(2)).expect("a pool");
    for signal_number in [libc::SIGKILL, libc::SIGTERM] {
        let job = acts(&pool);
        job.submit(0, &Act::Sleep(Duration::from_secs(60))).expect("encoded");
        until("it is sent", || {
            pool.status().expect("it answers").iter().any(|worker| worker.state == WorkerState::Busy)
        });
        let status = pool.status().expect("it answers");
        let busy = status.iter().find(|worker| worker.state == WorkerState::Busy).expect("one is");
        (1..20).for_each(|id| job.submit(id, &Act::Square(id)).expect("encoded"));
        // Until then it may be about to be sent, and would go to the other one.
        std::thread::sleep(Duration::from_millis(500));
        signal(busy.pid, signal_number);
        for (id, result) in collect(&job) {
            match result {
                Err(TaskError::Connection(reason)) if id == 0 => {
                    assert!(reason.starts_with("local: ") && reason.contains("died of SIG"), "{reason}");
                }
                result => assert_eq!(result.expect("a value"), Brought::Number(id * id)),
            }
        }
        until("it is replaced", || {
            pool.status().expect("it answers").iter().all(|worker| worker.state == WorkerState::Idle)
        });
    }
    assert_eq!(pool.deaths(), 2);
}

#[test]
fn a_far_side_that_falls_silent_is_lost() {
    let _alone = alone();
    let mut config = elsewhere(1);
    config.remote_silence = Duration::from_millis(300);
    let pool = Pool::start(config).expect("a pool");
    // Longer than the silence that is allowed: signs of life go both ways.
    assert!(run_one(&pool, Act::Sleep(Duration::from_secs(1))).is_ok());
    let job = acts(&pool);
    job.submit(0, &Act::Sleep(Duration::from_secs(60))).expect("encoded");
    until("it is sent", || pool.status().expect("it answers")[0].state == WorkerState::Busy);
    signal(pool.status().expect("it answers")[0].pid, libc::SIGSTOP);
    match &collect(&job)[&0] {
        Err(TaskError::Connection(reason)) => assert!(reason.contains("no sign of life for 0.3 s"), "{reason}"),
        other => panic!("{other:?}"),
    }
    assert!(run_one(&pool, Act::Square(3)).is_ok());
}

#[test]
fn garbage_in_the_middle_of_it_ends_that_connection_only() {
    let _alone = alone();
    let mut config = config(1);
    // What the worker says passes through, until the file is there; then it is nonsense.
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("go");
    let script = format!(
        "\"$@\" & {{ while ! [ -e {0} ]; do sleep 0.01; done; rm {0}; printf 'nonsense, nonsense'; }}; wait",
        file.display()
    );
    // A shell gives a command in the background an empty input, unless it is told.
    config.remote = vec![behind(&format!("exec 3<&0; set -- \"$@\"; {}", script.replace("\"$@\" &", "\"$@\" <&3 &")))];
    let pool = Pool::start(config).expect("a pool");
    until("both are there", || {
        pool.status().expect("it answers").iter().all(|worker| worker.state == WorkerState::Idle)
    });
    let job = acts(&pool);
    (0..2).for_each(|id| job.submit(id, &Act::Sleep(Duration::from_secs(2))).expect("encoded"));
    until("both are busy", || {
        pool.status().expect("it answers").iter().all(|worker| worker.state == WorkerState::Busy)
    });
    // Until then one may be about to be sent.
    std::thread::sleep(Duration::from_millis(500));
    std::fs::write(&file, "").expect("a file");
    let ended = collect(&job);
    let errors: Vec<_> = ended.values().filter_map(|result| result.as_ref().err()).collect();
    match errors[..] {
        [TaskError::Connection(reason)] => assert!(reason.contains("not a frame"), "{reason}"),
        _ => panic!("{ended:?}"),
    }
}

#[test]
fn the_call_forms_and_the_rules_of_a_pool_hold_over_there() {
    let _alone = alone();
    let mut config = elsewhere(2);
    config.max_tasks_per_worker = Some(5);
    let pool = Pool::start(config).expect("a pool");
    // A death is retried, once.
    let job = acts(&pool);
    (0..40).for_each(|id| job.submit(id, &Act::Pid).expect("encoded"));
    let pids: std::collections::BTreeSet<u64> = collect(&job)
        .into_values()
        .map(|result| match result {
            Ok(Brought::Number(pid)) => pid,
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(pids.len() >= 8, "{pids:?}");
    pool.restart().expect("they start again");
    assert!(run(&pool, (0..20).map(Act::Square)).values().all(Result::is_ok));
    pool.close();
    assert!(pool.join_timeout(PATIENCE));
}

#[test]
fn an_agent_dies_with_a_host_that_is_killed() {
    let _alone = alone();
    let mut host =
        Command::new(worker()).arg("host").arg(worker()).arg("remote").stdout(Stdio::piped()).spawn().expect("a host");
    let mut line = String::new();
    BufReader::new(host.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    let agents: Vec<u32> =
        line.trim().trim_matches(['[', ']']).split(", ").map(|pid| pid.parse().expect("a number")).collect();
    assert_eq!(agents.len(), 2);
    let mut all = agents.clone();
    all.extend(agents.iter().flat_map(|agent| children_of(*agent)));
    host.kill().expect("it is ours");
    host.wait().expect("it is ours");
    assert_eq!(all.len(), 4);
    until("they are gone", || all.iter().all(|pid| !alive(*pid)));
}

/// It does not look at its standard input, so the end of that is nothing to it.
#[test]
fn a_command_that_is_guarded_ends_with_a_host_that_is_killed() {
    let _alone = alone();
    let mut host =
        Command::new(worker()).arg("host").arg(worker()).arg("hung").stdout(Stdio::piped()).spawn().expect("a host");
    BufReader::new(host.stdout.take().expect("a pipe")).read_line(&mut String::new()).expect("a line");
    let command = |pid: u32| std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut hung = Vec::new();
    until("the command runs", || {
        hung = children_of(host.id()).into_iter().filter(|pid| command(*pid).starts_with(b"sleep")).collect();
        hung.len() == 1
    });
    host.kill().expect("it is ours");
    host.wait().expect("it is ours");
    until("it is gone", || !alive(hung[0]));
}

#[test]
fn a_guarded_command_is_a_connection_as_any_other() {
    let _alone = alone();
    let mut config = config(0);
    let guarded = |words: &[&str]| {
        let prefix = CommandPrefix::new(words.iter().copied(), worker()).guard(Program::new(worker(), IDENTITY));
        Arc::new(prefix) as Arc<dyn Launcher>
    };
    config.remote = vec![guarded(&["env", "SOMEWHERE=else"])];
    let pool = Pool::start(config).expect("a pool");
    assert!(run(&pool, (0..20).map(Act::Square)).values().all(Result::is_ok));
    assert_eq!(pool.status().expect("it answers")[0].host.as_deref(), Some("env SOMEWHERE=else"));
    drop(pool);
    let error = start_error(guarded(&["/nowhere/engine"]));
    assert!(error.contains("': cannot run '/nowhere/engine': No such file"), "{error}");
    let error = start_error(guarded(&["no such engine"]));
    assert!(error.contains("no command 'no such engine' on PATH"), "{error}");
}

pub fn children_of(pid: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten();
    let lists = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect()
}

pub fn alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}
