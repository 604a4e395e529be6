//! Where a thread waits, by the names of what it has called: what kind of thing it waits for, and which code of the program's own
//! has it wait.

use super::ThreadCalls;
use crate::report::FrameRow;
use std::sync::Arc;

/// What the functions that a thread has called wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Hint {
    Mutex,
    /// A lock of libc's own.
    Internal(&'static str),
    Rwlock(Want),
    Condition,
    Join,
    Semaphore,
    Barrier,
    Once,
    /// A static of a function's that another thread initializes.
    Static,
    Stream,
    /// A word that C++ waits for to change.
    Atomic(&'static str),
    RustMutex,
    RustRwlock(Want),
    RustReentrant,
    /// What has no owner in Rust.
    RustEvent(&'static str),
    /// A lock that the word does not lead to: its threads wait for words of their own.
    Parked(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Want {
    Read,
    Write,
}

impl Want {
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// What is known by names of where a thread waits.
#[derive(Clone, Debug, Default)]
pub(super) struct Site {
    pub hint: Option<Hint>,
    /// The outermost function of the system's libraries, which the program's own code has called.
    pub through: Option<Arc<str>>,
    pub place: Option<FrameRow>,
    pub pc: u64,
    pub module: Option<Arc<str>>,
}

/// So many calls lead from what a program does to the system call that it waits in, at most.
pub const INNERMOST: usize = 64;

pub(super) fn site(thread: &ThreadCalls) -> Site {
    let call = thread.thread.call.as_ref().and_then(|call| call.name());
    let mut site = Site::default();
    for frame in thread.calls.iter().take(INNERMOST) {
        let is_system = frame.module.as_deref().is_some_and(is_system_library);
        let symbol = || frame.symbol.as_ref().map(|(name, _)| Arc::clone(name));
        let named = frame.functions.iter().map(|row| (row.function.clone().or_else(symbol), Some(row)));
        let unnamed = frame.functions.is_empty().then(|| (symbol(), None));
        for (name, row) in named.chain(unnamed) {
            let plain = name.as_deref().map(qualified);
            let of_library = |plain: &str| is_library_function(plain) || call.is_some_and(|call| is_call(plain, call));
            if !is_system && !plain.is_some_and(of_library) {
                let unnamed = || FrameRow { function: name.clone(), ..FrameRow::default() };
                site.place = (row.is_some() || name.is_some()).then(|| row.cloned().unwrap_or_else(unnamed));
                if let Some(place) = &mut site.place {
                    place.function = place.function.take().or(name);
                }
                (site.pc, site.module) = (frame.pc, frame.module.clone());
                return site;
            }
            let found = plain.and_then(hint);
            site.hint = match (site.hint, found) {
                (None | Some(Hint::Internal("lock inside libc")), Some(found)) => Some(found),
                // What is locked again and again is a mutex with its owner beside it.
                (Some(Hint::RustMutex), Some(Hint::RustReentrant)) => found,
                (known, _) => known,
            };
            site.through = name.or(site.through);
        }
    }
    site
}

/// A function's qualified name: without what it returns, and its parameters.
fn qualified(name: &str) -> &str {
    let (mut depth, mut start, mut end) = (0_u32, 0, name.len());
    for (at, letter) in name.bytes().enumerate() {
        match letter {
            b'<' => depth += 1,
            // The arrow of a Rust function type closes nothing.
            b'>' if at > 0 && name.as_bytes()[at - 1] != b'-' => depth = depth.saturating_sub(1),
            b' ' if depth == 0 => start = at + 1,
            b'(' if depth == 0 && !name[at..].starts_with("(anonymous namespace)") => {
                end = at;
                break;
            }
            b'@' if depth == 0 && at > 0 => {
                end = at;
                break;
            }
            _ => {}
        }
    }
    // A space within the parentheses of a local class ends no type.
    name.get(start.min(end)..end).unwrap_or(name)
}

/// Whether a module is one of the system's that programs wait in, by the name of its file.
fn is_system_library(path: &str) -> bool {
    const NAMES: [&str; 13] = [
        "libc.so",
        "libc-2",
        "libpthread",
        "ld-linux",
        "ld-2",
        "ld-musl",
        "libstdc++",
        "libc++",
        "libgcc_s",
        "librt",
        "libtsan",
        "libasan",
        "libstd-",
    ];
    let file = path.rsplit('/').next().unwrap_or(path);
    NAMES.iter().any(|name| file.starts_with(name)) || file.contains("vdso")
}

/// Whether a function is one of the system's that is in the program itself, since it is inlined or linked statically.
fn is_library_function(name: &str) -> bool {
    const SCOPES: [&str; 10] = [
        "std::",
        "core::",
        "alloc::",
        "__gnu_cxx::",
        "__cxxabiv1::",
        "parking_lot::",
        "parking_lot_core::",
        "lock_api::",
        "boost::mutex",
        "boost::condition_variable",
    ];
    const PREFIXES: [&str; 18] = [
        "__gthread",
        "pthread_",
        "__pthread",
        "___pthread",
        "__lll_",
        "lll_",
        "futex_",
        "__futex",
        "__new_sem",
        "sem_",
        "do_futex_wait",
        "__do_futex",
        "__cxa_guard",
        "__libc_",
        "__GI_",
        "mtx_",
        "cnd_",
        "thrd_join",
    ];
    // A Rust method of a type's own: `<std::sync::Mutex<T>>::lock`, `<T as core::…>::call`.
    let bare = name.trim_start_matches(['<', '&']);
    SCOPES.iter().any(|scope| bare.starts_with(scope))
        || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || ["syscall", "call_once", "flockfile"].contains(&name)
}

/// Whether a function is libc's for a system call, under whichever of its names.
fn is_call(name: &str, call: &str) -> bool {
    name.trim_start_matches('_').trim_start_matches("GI_").trim_start_matches('_') == call
}

/// What a function of a library waits for.
fn hint(name: &str) -> Option<Hint> {
    let bare = name.trim_start_matches('_').trim_start_matches("GI_").trim_start_matches('_');
    let c = match bare {
        _ if bare.starts_with("pthread_mutex_") || bare.starts_with("mtx_") => Some(Hint::Mutex),
        _ if bare.starts_with("pthread_rwlock_") => {
            Some(Hint::Rwlock(if bare.contains("wrlock") { Want::Write } else { Want::Read }))
        }
        _ if bare.starts_with("pthread_cond_") || bare.starts_with("cnd_") => Some(Hint::Condition),
        _ if bare.starts_with("pthread_barrier_") => Some(Hint::Barrier),
        _ if bare.starts_with("pthread_once") || bare == "call_once" => Some(Hint::Once),
        _ if ["pthread_join", "pthread_clockjoin", "pthread_timedjoin", "thrd_join"]
            .iter()
            .any(|of| bare.starts_with(of)) =>
        {
            Some(Hint::Join)
        }
        _ if ["new_sem_", "sem_wait", "sem_timedwait", "sem_clockwait"].iter().any(|of| bare.starts_with(of)) => {
            Some(Hint::Semaphore)
        }
        _ if bare.starts_with("cxa_guard_acquire") => Some(Hint::Static),
        _ if bare.starts_with("lll_") => Some(Hint::Internal("lock inside libc")),
        "malloc" | "free" | "calloc" | "realloc" | "memalign" | "libc_malloc" | "libc_free" | "libc_calloc"
        | "libc_realloc" | "libc_memalign" | "posix_memalign" | "aligned_alloc" | "int_malloc" | "int_free"
        | "mallinfo" | "mallinfo2" | "malloc_trim" => Some(Hint::Internal("malloc arena")),
        "flockfile" | "IO_flockfile" => Some(Hint::Stream),
        _ => None,
    };
    c.or_else(|| cpp(name)).or_else(|| rust(name))
}

fn cpp(name: &str) -> Option<Hint> {
    let (scope, rest) = name.split_once("::")?;
    if scope != "std" {
        return None;
    }
    Some(match rest {
        _ if rest.starts_with("__atomic_futex") => Hint::Atomic("future"),
        _ if rest.starts_with("latch::") => Hint::Atomic("latch"),
        _ if rest.contains("barrier") && rest.contains("wait") => Hint::Atomic("barrier"),
        _ if rest.contains("counting_semaphore") || rest.starts_with("__atomic_semaphore") => Hint::Atomic("semaphore"),
        _ => return None,
    })
}

/// Paths of Rust's standard library, those of versions before 1.78 among them.
fn rust(name: &str) -> Option<Hint> {
    let is = |parts: &[&str]| parts.iter().all(|part| name.contains(part));
    let of = |modules: [&str; 2], parts: &[&str]| modules.iter().any(|module| name.contains(module)) && is(parts);
    Some(match () {
        () if of(["mutex::futex", "futex_mutex"], &["lock"]) => Hint::RustMutex,
        () if of(["rwlock::futex", "futex_rwlock"], &["read"]) => Hint::RustRwlock(Want::Read),
        () if of(["rwlock::futex", "futex_rwlock"], &["write"]) => Hint::RustRwlock(Want::Write),
        () if of(["reentrant_lock::ReentrantLock", "remutex::ReentrantMutex"], &["lock"]) => Hint::RustReentrant,
        () if of(["condvar::futex", "futex_condvar"], &[]) => Hint::RustEvent("condition variable"),
        () if of(["thread_parking::futex", "thread_parker::futex"], &["park"]) => Hint::RustEvent("unpark"),
        () if of(["once::futex", "futex_once"], &[]) => Hint::Once,
        () if is(&["parking_lot::raw_mutex"]) => Hint::Parked("parking_lot mutex"),
        () if is(&["parking_lot::raw_rwlock"]) => Hint::Parked("parking_lot rwlock"),
        () if is(&["parking_lot::condvar"]) => Hint::Parked("parking_lot condition variable"),
        () => return None,
    })
}
