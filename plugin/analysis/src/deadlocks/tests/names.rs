//! What names of functions tell.

use super::*;
use crate::deadlocks::site::{Hint, Want, site};

fn at(calls: Vec<Call>) -> super::super::site::Site {
    let thread = Thread { call: Some(SystemCall { number: 0, arguments: [0; 6] }), ..Thread::default() };
    site(&ThreadCalls { thread, calls, ..ThreadCalls::default() })
}

fn hint(functions: &[&str]) -> Option<Hint> {
    let calls = functions.iter().map(|name| call(LIBC, name)).collect();
    at(calls).hint
}

#[test]
fn functions_of_libraries_tell_what_is_waited_for() {
    let cases = [
        ("pthread_mutex_lock@@GLIBC_2.2.5", Hint::Mutex),
        ("___pthread_mutex_lock", Hint::Mutex),
        ("__pthread_mutex_lock_full", Hint::Mutex),
        ("__pthread_mutex_cond_lock", Hint::Mutex),
        ("mtx_lock", Hint::Mutex),
        ("__pthread_rwlock_rdlock", Hint::Rwlock(Want::Read)),
        ("pthread_rwlock_timedrdlock", Hint::Rwlock(Want::Read)),
        ("___pthread_rwlock_wrlock", Hint::Rwlock(Want::Write)),
        ("pthread_rwlock_clockwrlock", Hint::Rwlock(Want::Write)),
        ("___pthread_cond_clockwait64", Hint::Condition),
        ("__pthread_clockjoin_ex", Hint::Join),
        ("__new_sem_wait_slow64.constprop.0", Hint::Semaphore),
        ("__pthread_once_slow", Hint::Once),
        ("__cxa_guard_acquire", Hint::Static),
        ("__GI___libc_malloc", Hint::Internal("malloc arena")),
        ("std::sys::unix::locks::futex_mutex::Mutex::lock_contended", Hint::RustMutex),
        ("std::sys::sync::mutex::futex::Mutex::lock_contended::h0123456789abcdef", Hint::RustMutex),
        ("std::sys::sync::rwlock::futex::RwLock::write_contended", Hint::RustRwlock(Want::Write)),
        ("std::sys::sync::condvar::futex::Condvar::wait_optional_timeout", Hint::RustEvent("condition variable")),
        ("std::sys::sync::once::futex::Once::call", Hint::Once),
        ("parking_lot::raw_mutex::RawMutex::lock_slow", Hint::Parked("parking_lot mutex")),
    ];
    for (name, expected) in cases {
        assert_eq!(hint(&["__lll_lock_wait", name]), Some(expected), "{name}");
    }
    assert_eq!(hint(&["read"]), None);
    let reentrant = "<std::sync::reentrant_lock::ReentrantLock<T>>::lock";
    assert_eq!(hint(&["std::sys::sync::mutex::futex::Mutex::lock_contended", reentrant]), Some(Hint::RustReentrant));
}

#[test]
fn a_thread_waits_where_the_program_calls_a_library() {
    let place = |calls: Vec<Call>| {
        let site = at(calls);
        (
            site.place.and_then(|place| place.function).map(|name| name.to_string()),
            site.through.map(|name| name.to_string()),
        )
    };
    let some = |name: &str| Some(name.to_owned());
    let program = |name: &str| call(PROGRAM, name);
    // Templates of the C++ library are compiled into the program, and show what they return.
    let calls = vec![
        call(LIBC, "pthread_mutex_lock"),
        program("__gthread_mutex_lock(pthread_mutex_t*)"),
        program("std::mutex::lock()"),
        program("void std::lock<std::mutex, std::mutex>(std::mutex&, std::mutex&)"),
        program("Queue<int>::push(int, std::function<void (int)>)"),
        program("main"),
    ];
    assert_eq!(
        place(calls),
        (
            some("Queue<int>::push(int, std::function<void (int)>)"),
            some("void std::lock<std::mutex, std::mutex>(std::mutex&, std::mutex&)")
        )
    );
    let calls = vec![
        program("<std::sync::poison::mutex::Mutex<T>>::lock"),
        program("<service::Queue as core::ops::Drop>::drop"),
    ];
    assert_eq!(place(calls).0, some("<service::Queue as core::ops::Drop>::drop"));
    // Linked statically, a system call's function is the program's.
    assert_eq!(place(vec![program("__libc_read"), program("pump")]).0, some("pump"));
    assert_eq!(place(vec![program("__read"), program("pump")]).0, some("pump"));
    assert_eq!(place(vec![program("reader"), program("pump")]).0, some("reader"));
    // What a lambda is in may be a function of the library's, with spaces and parentheses.
    let lambda = "main::{lambda()#1}::operator()() const";
    assert_eq!(place(vec![call(LIBC, "futex"), program(lambda)]).0, some(lambda));
    assert_eq!(place(vec![call(LIBC, "read")]), (None, some("read")));
    assert_eq!(place(Vec::new()), (None, None));
}

#[test]
fn inlined_functions_are_looked_at_from_the_innermost_on() {
    let mut inlined = call(PROGRAM, "serve");
    let names =
        ["std::sys::sync::mutex::futex::Mutex::lock", "<std::sync::Mutex<u32>>::lock", "service::take", "serve"];
    let row = |name: &&str| FrameRow { function: Some((*name).into()), ..FrameRow::default() };
    inlined.functions = names.iter().map(row).collect();
    let site = at(vec![call(PROGRAM, "std::sys::sync::mutex::futex::Mutex::lock_contended"), inlined]);
    assert_eq!(site.place.unwrap().function.as_deref(), Some("service::take"));
    assert_eq!((site.hint, site.through.as_deref()), (Some(Hint::RustMutex), Some("<std::sync::Mutex<u32>>::lock")));
}

#[test]
fn code_without_names_is_told_by_its_address() {
    let nameless = |module: Option<&str>| Call {
        pc: 0x4000,
        module: module.map(Into::into),
        symbol: None,
        functions: Vec::new().into(),
    };
    let site = at(vec![nameless(Some(LIBC)), nameless(Some(PROGRAM))]);
    assert_eq!((site.place, site.pc, site.module.as_deref()), (None, 0x4000, Some(PROGRAM)));
    // Only a symbol is known.
    let symbol = Call { symbol: Some(("serve".into(), 8)), ..nameless(Some(PROGRAM)) };
    assert_eq!(at(vec![symbol]).place.unwrap().function.as_deref(), Some("serve"));
}
