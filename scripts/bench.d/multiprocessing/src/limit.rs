//! What the machine can do: the bare calls that each row cannot do without, with nothing checked and nothing promised.

use crate::measure::{
    LARGE, LargeHost, Place, SEGMENT, SMALL, WORKERS, filled, gib, micros, millis, pin, repeat, thousands, timed,
};
use crate::ring::{Awake, Ring};
use anyhow::{Result, bail};
use nix::fcntl::FcntlArg;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, sendmsg, socketpair,
};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork};
use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::num::NonZero;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::ptr::NonNull;
use std::time::Instant;

/// Where a ring's side looks this often before it sleeps, it does not sleep.
const SPIN: Awake = Awake::Look(1 << 30);
/// It sleeps soon.
const LOOK: Awake = Awake::Look(500);

pub fn run(row: &str, place: &Place, repeats: usize) -> Result<Option<Vec<f64>>> {
    place.on_parents()?;
    Ok(Some(match row {
        "round_trip_same_core" => round_trip(place, repeats, Awake::HandOver)?,
        "round_trip_cross_core" => round_trip(place, repeats, SPIN)?,
        "queue_64b" => queue(place, repeats, (SMALL, 1024, LOOK), place.count(2_000_000), thousands)?,
        "queue_64b_same_core" => {
            queue(place, repeats, (SMALL, 1024, Awake::HandOver), place.count(2_000_000), thousands)?
        }
        "queue_1mib" => {
            queue(place, repeats, (LARGE, 4, LOOK), place.count(2000), |time, count| gib(time, count * LARGE))?
        }
        "pool_map" => pool(place, repeats)?,
        "pool_start" | "start_small_host" => repeat(repeats, || start(place))?,
        "start_large_host" => {
            let _host = LargeHost::new();
            repeat(repeats, || start(place))?
        }
        "handover_64mib" => hand_over(place, repeats)?,
        "refill_64mib" => {
            let (source, target) = (filled(SEGMENT), map(None)?);
            let values = repeat(repeats, || fill(&source, target))?;
            unmap(target)?;
            values
        }
        "fill_64mib" => {
            let source = filled(SEGMENT);
            repeat(repeats, || {
                let target = map(None)?;
                let value = fill(&source, target)?;
                unmap(target)?;
                Ok(value)
            })?
        }
        "death_to_error" => death(place, repeats)?,
        _ => return Ok(None),
    }))
}

/// Runs `work` in a process of its own, on these processors, until it is killed.
fn with_child<T>(processors: &[usize], work: impl FnOnce(), parent: impl FnOnce(Pid) -> Result<T>) -> Result<T> {
    // SAFETY: this program has one thread.
    match unsafe { fork()? } {
        ForkResult::Child => {
            if pin(processors).is_ok() {
                work();
            }
            std::process::abort();
        }
        ForkResult::Parent { child } => {
            let result = parent(child);
            let _ = kill(child, Signal::SIGKILL);
            let _ = waitpid(child, None);
            result
        }
    }
}

fn round_trip(place: &Place, repeats: usize, awake: Awake) -> Result<Vec<f64>> {
    let (there, back) = (Ring::new(64, SMALL, awake)?, Ring::new(64, SMALL, awake)?);
    let count = place.count(50_000);
    let answer = || {
        let mut message = [0; SMALL];
        loop {
            there.pop(&mut message);
            back.push(&message);
        }
    };
    with_child(&[place.other], answer, |_| {
        let mut message = [1; SMALL];
        repeat(repeats, || {
            let time = timed(|| {
                for _ in 0..count {
                    there.push(&message);
                    back.pop(&mut message);
                }
                Ok(())
            })?;
            Ok(micros(time, count))
        })
    })
}

fn queue(
    place: &Place,
    repeats: usize,
    (size, slots, awake): (usize, u32, Awake),
    count: usize,
    figure: impl Fn(std::time::Duration, usize) -> f64,
) -> Result<Vec<f64>> {
    let (ring, orders) = (Ring::new(slots, size, awake)?, Ring::new(4, 8, Awake::Nothing)?);
    let produce = || {
        let message = filled(size);
        let mut order = [0; 8];
        loop {
            orders.pop(&mut order);
            for _ in 0..u64::from_ne_bytes(order) {
                ring.push(&message);
            }
        }
    };
    with_child(&[place.other], produce, |_| {
        let mut message = vec![0; size];
        repeat(repeats, || {
            let time = timed(|| {
                orders.push(&(count as u64).to_ne_bytes());
                for _ in 0..count {
                    ring.pop(&mut message);
                }
                Ok(())
            })?;
            Ok(figure(time, count))
        })
    })
}

/// Two processes that each take numbers from a ring and put their successors into another.
fn pool(place: &Place, repeats: usize) -> Result<Vec<f64>> {
    const AHEAD: usize = 64;
    place.on_both()?;
    let count = place.count(100_000);
    let mut rings = Vec::new();
    for _ in 0..WORKERS {
        rings.push((Ring::new(AHEAD as u32, 8, Awake::Nothing)?, Ring::new(AHEAD as u32, 8, Awake::Nothing)?));
    }
    let work = |(tasks, results): (Ring, Ring)| {
        move || {
            let mut task = [0; 8];
            loop {
                tasks.pop(&mut task);
                results.push(&(u64::from_ne_bytes(task) + 1).to_ne_bytes());
            }
        }
    };
    let processors = [place.parent, place.other];
    with_child(&processors, work(rings[0]), |_| {
        with_child(&processors, work(rings[1]), |_| {
            repeat(repeats, || {
                let time = timed(|| {
                    let mut result = [0; 8];
                    for number in 0..count + AHEAD {
                        let (tasks, results) = &rings[number % WORKERS];
                        if number >= AHEAD {
                            results.pop(&mut result);
                        }
                        if number < count {
                            tasks.push(&(number as u64).to_ne_bytes());
                        }
                    }
                    Ok(())
                })?;
                Ok(micros(time, count))
            })
        })
    })
}

/// Two children by `posix_spawn`, each of which answers one byte.
fn start(place: &Place) -> Result<f64> {
    place.on_both()?;
    let begin = Instant::now();
    let spawn = || -> Result<(Child, UnixStream)> {
        let (ours, theirs) = UnixStream::pair()?;
        let mut command = Command::new("/proc/self/exe");
        command.arg("limit-child").stdin(Stdio::from(OwnedFd::from(theirs)));
        Ok((command.spawn()?, ours))
    };
    let mut children = (0..WORKERS).map(|_| spawn()).collect::<Result<Vec<_>>>()?;
    for (_, socket) in &mut children {
        socket.write_all(&[1])?;
    }
    let mut answer = [0];
    for (_, socket) in &mut children {
        socket.read_exact(&mut answer)?;
    }
    let time = begin.elapsed();
    for (mut child, socket) in children {
        drop(socket);
        child.wait()?;
    }
    Ok(millis(time))
}

/// What [`start`] starts.
pub fn child() -> Result<()> {
    let mut socket = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    let mut task = [0];
    while socket.read(&mut task)? == 1 {
        socket.write_all(&[task[0] + 1])?;
    }
    Ok(())
}

const LENGTH: NonZero<usize> = NonZero::new(SEGMENT).expect("not nothing");

/// Maps a segment, or memory of its own.
fn map(segment: Option<&OwnedFd>) -> Result<NonNull<u8>> {
    let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: new memory, wherever the kernel wants it.
    let memory = unsafe {
        match segment {
            Some(segment) => mmap(None, LENGTH, protection, MapFlags::MAP_SHARED, segment, 0)?,
            None => mmap_anonymous(None, LENGTH, protection, MapFlags::MAP_SHARED)?,
        }
    };
    Ok(memory.cast())
}

fn unmap(memory: NonNull<u8>) -> Result<()> {
    // SAFETY: `map` has mapped so much there, and nothing refers to it any more.
    Ok(unsafe { munmap(memory.cast(), SEGMENT)? })
}

fn fill(source: &[u8], target: NonNull<u8>) -> Result<f64> {
    let time = timed(|| {
        // SAFETY: both have this size.
        unsafe { std::ptr::copy_nonoverlapping(source.as_ptr(), target.as_ptr(), SEGMENT) };
        Ok(())
    })?;
    Ok(millis(time))
}

/// A memfd's descriptor over a socket, a mapping of it there, and a byte back.
fn hand_over(place: &Place, repeats: usize) -> Result<Vec<f64>> {
    let segment = memfd_create(c"bench", MFdFlags::MFD_CLOEXEC)?;
    nix::unistd::ftruncate(&segment, SEGMENT as i64)?;
    let memory = map(Some(&segment))?;
    fill(&filled(SEGMENT), memory)?;
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
    let answer = || while take(&theirs).is_ok() {};
    with_child(&[place.other], answer, |_| {
        repeat(repeats, || {
            let time = timed(|| {
                let descriptors = [segment.as_raw_fd()];
                let message = ControlMessage::ScmRights(&descriptors);
                sendmsg::<()>(ours.as_raw_fd(), &[IoSlice::new(&[1])], &[message], MsgFlags::empty(), None)?;
                Ok(nix::unistd::read(&ours, &mut [0])?)
            })?;
            Ok(millis(time))
        })
    })
}

/// The other side of [`hand_over`].
fn take(socket: &OwnedFd) -> Result<()> {
    let (mut byte, mut space) = ([0], nix::cmsg_space!([i32; 1]));
    let mut parts = [IoSliceMut::new(&mut byte)];
    let received = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)?;
    let Some(ControlMessageOwned::ScmRights(descriptors)) = received.cmsgs()?.next() else { bail!("no descriptor") };
    // SAFETY: the kernel has just made it for this process.
    let segment = unsafe { OwnedFd::from_raw_fd(descriptors[0]) };
    let memory = map(Some(&segment))?;
    // SAFETY: both lie in the mapping.
    let sum = unsafe { memory.read_volatile() ^ memory.add(SEGMENT - 1).read_volatile() };
    nix::unistd::write(socket, &[sum])?;
    unmap(memory)
}

/// From a SIGKILL to the pidfd's being readable.
fn death(place: &Place, repeats: usize) -> Result<Vec<f64>> {
    place.on_both()?;
    repeat(repeats, || {
        let wait = || loop {
            nix::unistd::pause();
        };
        with_child(&[place.parent, place.other], wait, |child| {
            // SAFETY: the call takes two numbers and returns a descriptor that is this process's own.
            let pidfd = unsafe {
                let number = nix::libc::syscall(nix::libc::SYS_pidfd_open, child.as_raw(), 0) as i32;
                nix::errno::Errno::result(number)?;
                OwnedFd::from_raw_fd(number)
            };
            nix::fcntl::fcntl(&pidfd, FcntlArg::F_GETFD)?;
            std::thread::sleep(std::time::Duration::from_millis(20));
            let start = Instant::now();
            kill(child, Signal::SIGKILL)?;
            poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE)?;
            Ok(millis(start.elapsed()))
        })
    })
}
