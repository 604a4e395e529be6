//! Who this thread is to the kernel, and the list by which the kernel releases the locks of a thread that has died.
//!
//! Each thread has one such list, a "robust list", and the C library has registered one for its own mutexes. The kernel knows
//! of no second one, so the locks of this library go into that same list, in the C library's own form: each node is two
//! words, `previous` and `next`; both point to a `next` word, and the lock word of a node is 32 bytes before its `next`.
//! That form is a part of the C library's binary interface (`pthread_mutex_t` has it, and static initializers are compiled
//! into programs); that the distance is the expected one is checked at run time.

use std::cell::Cell;
use std::io;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering, compiler_fence};

/// How far a node's `next` is behind its lock word.
pub(super) const NODE_AFTER_WORD: usize = 32;

const _: () = assert!(size_of::<usize>() == 8, "the C library's lists have another form where pointers are smaller");

/// The kernel's `struct robust_list_head`. Only its thread writes it; the kernel reads it when the thread has ended.
#[repr(C)]
struct Head {
    /// The `next` of the first node, or this field itself.
    list: AtomicUsize,
    /// How far the lock word is behind the node's `next`; negative.
    futex_offset: isize,
    /// A node whose lock is being taken or released just now.
    pending: AtomicUsize,
}

/// This thread.
#[derive(Clone, Copy)]
pub(super) struct Me {
    tid: u32,
    head: &'static Head,
    epoch: u32,
}

thread_local! {
    static ME: Cell<Option<Me>> = const { Cell::new(None) };
    /// For a thread for which the C library has registered no list: one that a bare `clone` has made.
    static OWN: Head =
        const { Head { list: AtomicUsize::new(0), futex_offset: -(NODE_AFTER_WORD as isize), pending: AtomicUsize::new(0) } };
}

impl Me {
    /// Who runs this. A few nanoseconds, except for the first time in a thread or after a fork.
    ///
    /// # Errors
    /// The C library's list is of an unknown form.
    pub(super) fn current() -> io::Result<Me> {
        let epoch = epoch();
        match ME.get() {
            Some(me) if me.epoch == epoch => Ok(me),
            _ => {
                let me = Me { tid: tid(), head: head()?, epoch };
                ME.set(Some(me));
                Ok(me)
            }
        }
    }

    /// Its number, which the kernel compares with the one in a lock word.
    pub(super) fn tid(self) -> u32 {
        self.tid
    }

    /// Until the returned value is dropped, the death of this thread counts as one at the lock word that belongs to this
    /// `next` word: if the thread holds it, it is released; if nobody does, a waiter is woken, for this thread may have
    /// been the one whose turn it was. The kernel only calculates with the address.
    pub(super) fn pending(self, next: usize) -> Pending {
        self.head.pending.store(next, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
        Pending(self)
    }

    /// Puts a node into the list: from here on this thread's death releases its lock.
    ///
    /// # Safety
    /// `next` is the address of a node's `next`, whose two words are private to this process, in no list, and stay mapped
    /// until it is taken out or this thread has ended.
    pub(super) unsafe fn link(self, next: usize) {
        let head = ptr::from_ref(self.head).addr();
        let first = self.head.list.load(Ordering::Relaxed);
        // SAFETY: the node is as the caller promises; the words of the one that is the first so far are valid for the same
        // reason, or because the C library has put it there. Its lowest bit is a mark and not a part of the address. The
        // words before the head itself are the C library's own, and are left alone.
        unsafe {
            word(next - 8).store(head, Ordering::Relaxed);
            word(next).store(first, Ordering::Relaxed);
            if first & !1 != head {
                word((first & !1) - 8).store(next, Ordering::Relaxed);
            }
        }
        // The kernel may look at any moment; this thread's own order of writing is all that it depends on.
        compiler_fence(Ordering::SeqCst);
        self.head.list.store(next, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
    }

    /// Takes a node out of the list.
    ///
    /// # Safety
    /// This thread has put it in, and it has not been taken out since.
    pub(super) unsafe fn unlink(self, next: usize) {
        let head = ptr::from_ref(self.head).addr();
        compiler_fence(Ordering::SeqCst);
        // SAFETY: the node's words were written by `link`, or by the C library for a neighbour that it put in or took out
        // since; so they lead to nodes that are in the list, or to the head, whose first field is its `next`.
        unsafe {
            let (before, after) = (word(next - 8).load(Ordering::Relaxed), word(next).load(Ordering::Relaxed));
            word(before & !1).store(after, Ordering::Relaxed);
            if after & !1 != head {
                word((after & !1) - 8).store(before, Ordering::Relaxed);
            }
            word(next).store(0, Ordering::Relaxed);
            word(next - 8).store(0, Ordering::Relaxed);
        }
        compiler_fence(Ordering::SeqCst);
    }
}

/// See [`Me::pending`].
pub(super) struct Pending(Me);

impl Drop for Pending {
    fn drop(&mut self) {
        compiler_fence(Ordering::SeqCst);
        self.0.head.pending.store(0, Ordering::Relaxed);
    }
}

/// Whether the process has such a thread. One that has ended, and that nobody has asked about, still counts.
pub(super) fn is_thread(pid: u32, tid: u32) -> bool {
    // SAFETY: the system call takes three numbers; signal 0 is none.
    let failed = unsafe { libc::syscall(libc::SYS_tgkill, pid, tid, 0) } != 0;
    !failed || io::Error::last_os_error().raw_os_error() == Some(libc::EPERM)
}

/// # Safety
/// The address is that of a word that lives for as long as the reference is used, which is no longer than one statement.
unsafe fn word<'a>(address: usize) -> &'a AtomicUsize {
    // SAFETY: as the caller promises. The address comes out of the list, which the kernel and the C library share with us.
    unsafe { AtomicUsize::from_ptr(ptr::with_exposed_provenance_mut(address)) }
}

fn tid() -> u32 {
    // SAFETY: it takes nothing and always succeeds.
    unsafe { libc::syscall(libc::SYS_gettid) as u32 }
}

/// The list that is registered for this thread; one is, if there was none.
fn head() -> io::Result<&'static Head> {
    let (mut head, mut size) = (ptr::null::<Head>(), 0_usize);
    // SAFETY: both are writable and live; 0 means this thread.
    let failed = unsafe { libc::syscall(libc::SYS_get_robust_list, 0, &raw mut head, &raw mut size) } != 0;
    if failed {
        return Err(io::Error::last_os_error());
    }
    if head.is_null() {
        OWN.with(|own| {
            head = ptr::from_ref(own);
            // A fork may have copied what its parent had in it.
            own.list.store(head.expose_provenance(), Ordering::Relaxed);
            own.pending.store(0, Ordering::Relaxed);
        });
        // SAFETY: a thread's own storage lives until the kernel is done with its list: the C library gives it back only once
        // the kernel has told that the thread has ended.
        if unsafe { libc::syscall(libc::SYS_set_robust_list, head, size_of::<Head>()) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    // SAFETY: it is ours, or the C library's, which keeps it as long as the thread; `Me` never leaves its thread.
    let head = unsafe { &*head };
    if head.futex_offset != -(NODE_AFTER_WORD as isize) {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "the C library keeps its robust locks in a form that is not known here: glibc is needed",
        ));
    }
    Ok(head)
}

/// A number that is another one after each fork: what was known of a thread does not hold in a child process.
fn epoch() -> u32 {
    static PAGE: OnceLock<&'static AtomicU32> = OnceLock::new();
    static LAST: AtomicU32 = AtomicU32::new(0);
    let page = PAGE.get_or_init(|| wiped_on_fork().unwrap_or_else(|_| Box::leak(Box::new(AtomicU32::new(0)))));
    match page.load(Ordering::Relaxed) {
        0 => {
            let epoch = LAST.fetch_add(1, Ordering::Relaxed) + 1;
            page.store(epoch, Ordering::Relaxed);
            epoch
        }
        epoch => epoch,
    }
}

/// A word that is 0 in a child process.
fn wiped_on_fork() -> io::Result<&'static AtomicU32> {
    let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping, wherever the kernel likes; of one page, as the size is rounded up.
    let page = unsafe { libc::mmap(ptr::null_mut(), size_of::<AtomicU32>(), access, kind, -1, 0) };
    if page == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the page was made above; only its behaviour at a fork is changed.
    if unsafe { libc::madvise(page, size_of::<AtomicU32>(), libc::MADV_WIPEONFORK) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is aligned, zero, and never unmapped.
    Ok(unsafe { AtomicU32::from_ptr(page.cast()) })
}
