//! What the tests of processes have run in them. Both the worker and the tests have this file.

use crate::IDENTITY;
use multiprocessing::codec::Descriptor;
use multiprocessing::sync::Lock;
use multiprocessing::{
    Process, Program, Receiver, Registry, StartError, StartMethod, Zygote, active_children, channel, current, parent,
};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

/// Counts the runs of what a zygote preloads.
pub static PRELOADED: AtomicU32 = AtomicU32::new(0);

/// What a process has found.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    pub name: String,
    pub pid: u32,
    pub parent: u32,
    pub parent_name: String,
    pub system_parent: u32,
    pub daemon: bool,
    pub folder: String,
    pub variable: Option<String>,
    pub descriptors: Vec<String>,
    pub ignored_signals: String,
    pub blocked_signals: String,
    pub preloaded: u32,
    /// What the C library and the kernel say of the main thread's number.
    pub thread: (u32, u32),
    pub threads: usize,
}

/// Writes a text and closes its end.
pub fn answer(to: Descriptor, text: &str) {
    File::from(to.into_inner()).write_all(text.as_bytes()).expect("somebody reads it");
}

fn status(key: &str) -> String {
    let status = std::fs::read_to_string("/proc/self/status").expect("its own");
    status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default().trim_matches([':', '\t']).to_owned()
}

pub fn descriptors() -> Vec<String> {
    let entries = std::fs::read_dir("/proc/self/fd").expect("its own");
    let link = |entry: std::io::Result<std::fs::DirEntry>| std::fs::read_link(entry.ok()?.path()).ok();
    entries.filter_map(link).map(|link| link.to_string_lossy().into_owned()).collect()
}

multiprocessing::function! {
    pub fn facts(to: Descriptor) -> () {
        let (this, parent) = (current(), parent().expect("it was started as a process"));
        let found = Facts {
            name: this.name().into(),
            pid: this.pid(),
            parent: parent.pid(),
            parent_name: parent.name().into(),
            system_parent: std::os::unix::process::parent_id(),
            daemon: this.daemon(),
            folder: std::env::current_dir().expect("a folder").to_string_lossy().into_owned(),
            variable: std::env::var("MULTIPROCESSING_TEST").ok(),
            descriptors: descriptors(),
            ignored_signals: status("SigIgn"),
            blocked_signals: status("SigBlk"),
            preloaded: PRELOADED.load(Ordering::Relaxed),
            thread: threads_number(),
            threads: std::fs::read_dir("/proc/self/task").expect("its own").count(),
        };
        answer(to, &write_facts(&found));
    }
}

/// In hexadecimal, so that it is text.
fn write_facts(found: &Facts) -> String {
    let message = multiprocessing::codec::encode(found).expect("plain values");
    message.bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn read_facts(text: &str) -> Facts {
    let byte = |i: usize| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).expect("a byte");
    let bytes: Vec<u8> = (0..text.len() / 2).map(byte).collect();
    multiprocessing::codec::decode(&bytes, Vec::new()).expect("facts")
}

/// A lock that checks its owner takes the number that the C library has of the thread.
fn threads_number() -> (u32, u32) {
    // SAFETY: the lock is initialized before it is used, and is not used after this; its owner's number is the third word of it,
    // and all of it is plain numbers.
    unsafe {
        let mut attributes = std::mem::zeroed::<libc::pthread_mutexattr_t>();
        libc::pthread_mutexattr_init(&raw mut attributes);
        libc::pthread_mutexattr_settype(&raw mut attributes, libc::PTHREAD_MUTEX_RECURSIVE);
        let mut lock = std::mem::zeroed::<libc::pthread_mutex_t>();
        libc::pthread_mutex_init(&raw mut lock, &raw const attributes);
        libc::pthread_mutex_lock(&raw mut lock);
        let owner = (&raw const lock).cast::<u32>().add(2).read();
        libc::pthread_mutex_unlock(&raw mut lock);
        (owner, libc::syscall(libc::SYS_gettid) as u32)
    }
}

multiprocessing::function! {
    pub fn nothing() {}
}

multiprocessing::function! {
    pub fn sleep(time: Duration) -> () { thread::sleep(time) }
}

multiprocessing::function! {
    pub fn refuse(text: String) -> Result<(), String> { Err(text) }
}

/// What a program of another source takes `refuse` for.
pub mod other {
    multiprocessing::function! {
        pub fn refuse(number: u64) -> () { assert_eq!(number, 0) }
    }
}

multiprocessing::function! {
    pub fn panics(text: String) -> () { panic!("{text}") }
}

multiprocessing::function! {
    pub fn dies(signal: i32) -> () {
        // SAFETY: `raise` takes a number.
        unsafe { libc::raise(signal) };
        thread::sleep(Duration::from_secs(60));
    }
}

multiprocessing::function! {
    pub fn sums(numbers: Vec<u64>, from: Descriptor, to: Descriptor) -> Result<(), std::io::Error> {
        let text = std::io::read_to_string(File::from(from.into_inner()))?;
        answer(to, &format!("{text} {}", numbers.iter().sum::<u64>()));
        Ok(())
    }
}

multiprocessing::function! {
    /// The main thread is done long before its threads are, which it waits for.
    pub fn scoped(to: Descriptor) -> () {
        thread::scope(|scope| {
            scope.spawn(move || {
                thread::sleep(Duration::from_millis(50));
                answer(to, "the thread's end");
            });
        });
    }
}

multiprocessing::function! {
    /// Reads until there is no more, and ends.
    pub fn until_closed(from: Descriptor) -> Result<(), std::io::Error> {
        std::io::read_to_string(File::from(from.into_inner())).map(|_| ())
    }
}

multiprocessing::function! {
    /// Starts two of itself, one of which does the same, and tells who it is.
    pub fn recurse(depth: u32, path: Vec<u32>, to: Descriptor) -> Result<(), String> {
        if path.len() < depth as usize {
            for number in 0..2 {
                let to = Descriptor::from(to.as_fd().try_clone_to_owned().expect("a descriptor"));
                let path = [&path[..], &[number]].concat();
                let child = Process::builder(&own_program()).start(recurse, &(depth, path, to));
                let status = child.expect("a process").join().expect("its status");
                assert!(status.success());
            }
        }
        answer(to, &format!("{path:?}\n"));
        Ok(())
    }
}

pub fn own_program() -> Program {
    Program::new(std::env::current_exe().expect("a file"), IDENTITY)
}

multiprocessing::function! {
    /// Starts a daemon and one that is none, tells their numbers, and waits to be killed, or ends after a time.
    pub fn host(by_zygote: bool, from: Descriptor, to: Descriptor) -> () {
        let program = own_program();
        let zygote = Zygote::new(&program);
        let method = || if by_zygote { StartMethod::Zygote(zygote.clone()) } else { StartMethod::Spawn };
        let start = |daemon| {
            // From a thread that ends at once.
            let method = method();
            let program = program.clone();
            let start = move || {
                Process::builder(&program).daemon(daemon).start_method(method).start(sleep, &Duration::from_secs(60))
            };
            thread::spawn(start).join().expect("it does not panic").expect("a process")
        };
        let (daemon, other) = (start(true), start(false));
        thread::sleep(Duration::from_millis(20));
        assert!(daemon.is_alive() && other.is_alive());
        assert_eq!(active_children().len(), 2);
        let to: OwnedFd = to.into_inner();
        let text = format!("{} {} {}\n", daemon.pid(), other.pid(), zygote.pid().unwrap_or(0));
        File::from(to).write_all(text.as_bytes()).expect("somebody reads it");
        let _ = std::io::read_to_string(File::from(from.into_inner()));
        std::mem::forget(daemon);
    }
}

multiprocessing::function! {
    /// Waits until its parent has ended, and tells of it.
    pub fn outlive(to: Descriptor) -> () {
        let parent = parent().expect("it was started as a process");
        let alive = parent.is_alive();
        let joined = parent.join_timeout(Duration::from_secs(30));
        answer(to, &format!("{alive} {} {}", joined.is_ok_and(|ended| ended), parent.is_alive()));
    }
}

multiprocessing::function! {
    /// Starts `outlive`, and leaves it.
    pub fn leave_behind(to: Descriptor) -> () {
        Process::builder(&own_program()).start(outlive, &to).expect("a process");
        drop(to);
        thread::sleep(Duration::from_millis(20));
    }
}

multiprocessing::function! {
    /// Writes so many records to the log, and leaves in an orderly way that is not `main`'s end.
    pub fn logs(count: u64, to: Option<Descriptor>) -> () {
        for number in 0..count {
            log::info!(target: "the test's target", "record {number}");
        }
        log::debug!("it is not wanted");
        log::error!("the last");
        if let Some(to) = to {
            answer(to, "written");
        }
        std::process::exit(0)
    }
}

multiprocessing::function! {
    /// Starts another that logs, and passes its records on.
    pub fn logs_below() -> () {
        let child = Process::builder(&own_program()).name("below").start(logs, &(1, None)).expect("a process");
        child.join().expect("its status");
    }
}

multiprocessing::function! {
    pub fn interrupt(pid: u32, signal: i32, times: u32) -> () {
        for _ in 0..times {
            // SAFETY: `kill` takes two numbers.
            unsafe { libc::kill(pid as i32, signal) };
            thread::sleep(Duration::from_millis(2));
        }
    }
}

multiprocessing::function! {
    pub fn says(text: String) -> () { log::info!("{text}") }
}

multiprocessing::function! {
    /// Says many things, and panics if it is to.
    pub fn says_much(times: u32, fails: bool) -> () {
        (0..times).for_each(|time| log::info!("{time} of {times}"));
        assert!(!fails, "as it was told");
    }
}

multiprocessing::function! {
    /// Logs to standard error, and has another process do so.
    pub fn logs_to_stderr() -> Result<(), String> {
        multiprocessing::log_to_stderr(log::LevelFilter::Info).map_err(|error| error.to_string())?;
        log::info!(target: "above", "the first");
        log::debug!("it is not wanted");
        let child = Process::builder(&own_program()).name("below").start(says, &"the second".into());
        child.and_then(|child| child.join().map_err(|error| StartError::Resources(error.into()))).map_err(|error| error.to_string())?;
        Ok(())
    }
}

multiprocessing::function! {
    pub fn holds(handles: Vec<Descriptor>) -> () { assert!(handles.iter().all(|handle| handle.as_fd().try_clone_to_owned().is_ok())) }
}

multiprocessing::function! {
    pub fn says_once(to: Descriptor) -> () { answer(to, "x") }
}

multiprocessing::function! {
    /// Takes the lock, and never gives it back.
    pub fn holds_lock(lock: Lock, to: Descriptor) -> Result<(), String> {
        let _guard = lock.lock().map_err(|error| error.to_string())?;
        answer(to, "held");
        thread::sleep(Duration::from_secs(60));
        Ok(())
    }
}

/// All of these functions, and what a zygote preloads.
pub fn register(registry: Registry) -> Registry {
    registry
        .preload(preload)
        .function::<facts>()
        .function::<nothing>()
        .function::<sleep>()
        .function::<refuse>()
        .function::<panics>()
        .function::<dies>()
        .function::<sums>()
        .function::<scoped>()
        .function::<until_closed>()
        .function::<recurse>()
        .function::<host>()
        .function::<outlive>()
        .function::<leave_behind>()
        .function::<logs>()
        .function::<logs_below>()
        .function::<interrupt>()
        .function::<says>()
        .function::<says_much>()
        .function::<logs_to_stderr>()
        .function::<holds_lock>()
        .function::<says_once>()
        .function::<holds>()
}

fn preload() {
    PRELOADED.fetch_add(1, Ordering::Relaxed);
    // So that whatever a thread remembers of itself is of this process.
    drop(Lock::new().expect("memory").lock().expect("nobody else has it"));
    match std::env::args().nth(1).as_deref() {
        Some("preload-threads") => drop(thread::spawn(|| thread::sleep(Duration::from_secs(60)))),
        Some("preload-pipe") => preload_pipe(),
        _ => {}
    }
}

/// Sleeps for many messages, one after the other, and keeps the end.
fn preload_pipe() {
    static KEPT: Mutex<Option<Receiver<u32>>> = Mutex::new(None);
    let (mut sender, mut receiver) = channel().expect("a channel");
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..50 {
                thread::sleep(Duration::from_millis(1));
                sender.send(&number).expect("it is received");
            }
        });
        (0..50).for_each(|number| assert_eq!(receiver.recv().expect("a message"), number));
    });
    *KEPT.lock().expect("no panic") = Some(receiver);
}

/// A main that forgets to begin with its registry: starts this program once more, as if it were another.
pub fn bomb() -> std::process::ExitCode {
    let program = match Program::current(IDENTITY) {
        Ok(program) => program,
        Err(error) => {
            eprintln!("{error}");
            return std::process::ExitCode::FAILURE;
        }
    };
    let ended = Process::builder(&program).start(nothing, &()).map(|process| process.join());
    assert!(ended.is_ok());
    std::process::ExitCode::SUCCESS
}
