//! A process of its own: runs one function, and ends.

use super::{FAILED, PROTOCOL, log, restore_fatal_signals, say, zygote};
use crate::function::{Context, Registry};
use crate::packets::{Buffer, Packets};
use crate::payload::Payload;
use crate::process::spawn::CONTROL;
use crate::process::{self, parent};
use crate::wire::{self, ToWorker};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::sys::socket::{getsockopt, sockopt};
use std::error::Error;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

/// The connection to the process that has started this one, if it is one of these.
pub(super) fn control() -> Option<Packets> {
    // SAFETY: it is only asked what this is, which any number may be.
    let found = unsafe { BorrowedFd::borrow_raw(CONTROL) };
    let socket_type = getsockopt(&found, sockopt::SockType).ok()?;
    // A socket that this program itself has made before it came here is its own affair.
    let made_by = getsockopt(&found, sockopt::PeerCredentials).ok()?.pid();
    if socket_type != nix::sys::socket::SockType::SeqPacket || made_by == nix::unistd::getpid().as_raw() {
        return None;
    }
    fcntl(found, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).ok()?;
    // SAFETY: it was put there for this process before it began, and nobody else here knows of it.
    Packets::from_descriptor(unsafe { OwnedFd::from_raw_fd(CONTROL) }).ok()
}

/// Does what it is told there; the exit code.
pub(super) fn serve(registry: &Registry, connection: Packets) -> u8 {
    restore_fatal_signals();
    let done = (|| {
        let mut buffer = Buffer::new();
        match zygote::serve(registry, connection, &mut buffer)? {
            Some(connection) => run(registry, &connection, &mut buffer),
            None => Ok(0),
        }
    })();
    match done {
        Ok(code) => code,
        Err(error) => {
            say(format_args!("{}: {error}", process::current().name()));
            PROTOCOL
        }
    }
}

/// A message, its tail, and the descriptors that came with it.
pub(super) type Told<'a> = (ToWorker<'a>, &'a [u8], Vec<OwnedFd>);

/// Receives one message and what came with it; `None` if the parent has ended.
pub(super) fn receive<'a>(connection: &Packets, buffer: &'a mut Buffer) -> Result<Option<Told<'a>>, Box<dyn Error>> {
    match connection.receive(buffer, true)? {
        Some(received) => {
            let (message, tail) = wire::decode(&buffer.bytes[..received.length])?;
            Ok(Some((message, tail, received.descriptors)))
        }
        None => Ok(None),
    }
}

/// Both builds must be one.
pub(super) fn compare(registry: &Registry, theirs: &str) -> Result<(), String> {
    let ours = registry.identity();
    if ours == theirs {
        return Ok(());
    }
    Err(format!("this program is of build '{ours}', where build '{theirs}' is needed: install both from one build"))
}

fn run(registry: &Registry, connection: &Packets, buffer: &mut Buffer) -> Result<u8, Box<dyn Error>> {
    match receive(connection, buffer)? {
        Some((message, _, descriptors)) => introduce(registry, connection, message, descriptors)?,
        None => return Ok(0),
    }
    let Some((ToWorker::Run { function, schema, shared }, tail, descriptors)) = receive(connection, buffer)? else {
        return Err("a process that is told nothing to do".into());
    };
    let mut payload = Payload::received(tail, shared, descriptors)?;
    // Nobody cancels a process: it is asked to end by a signal.
    let result = catch_unwind(AssertUnwindSafe(|| {
        let mut serve = registry.open(function, schema, &[], Vec::new())?;
        let descriptors = payload.take_descriptors();
        serve.run(&payload, descriptors, &Context::alone())
    }));
    Ok(match result {
        Ok(Ok(_)) => 0,
        Ok(Err(refusal)) => {
            say(format_args!("{}: {refusal}", process::current().name()));
            FAILED
        }
        // The panic hook has printed it.
        Err(_) => FAILED,
    })
}

/// Takes notice of who this process is, and sees to it that it ends when it must.
fn introduce(
    registry: &Registry,
    connection: &Packets,
    message: ToWorker<'_>,
    descriptors: Vec<OwnedFd>,
) -> Result<(), Box<dyn Error>> {
    let ToWorker::Process { parent: pid, identity, name, parent_name, daemon, log_level } = message else {
        return Err("a process that is told something else than who it is".into());
    };
    let pidfd = descriptors.into_iter().next().ok_or("a process without its parent's descriptor")?;
    process::tell(name, daemon, pid, parent_name, pidfd);
    compare(registry, identity)?;
    if daemon {
        // The signal comes even when this process is stopped. The thread sees a death that was before.
        set_pdeathsig(Signal::SIGKILL)?;
        thread::Builder::new().name("watch".into()).stack_size(64 * 1024).spawn(end_with_the_parent)?;
    }
    log::install(log_level, connection);
    Ok(())
}

/// Ends the process when its parent has ended, whatever the main thread is doing.
fn end_with_the_parent() {
    let ended = parent().is_some_and(|parent| parent.join().is_ok());
    if ended {
        // SAFETY: `_exit` ends the process at once; nothing of a daemon needs an orderly end.
        unsafe { libc::_exit(0) };
    }
}

/// What a zygote says of a process that it could not make, and the like.
pub(super) fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// Makes a descriptor one of the standard ones.
pub(super) fn become_standard(descriptor: &OwnedFd, number: i32) -> io::Result<()> {
    match number {
        0 => nix::unistd::dup2_stdin(descriptor.as_fd())?,
        1 => nix::unistd::dup2_stdout(descriptor.as_fd())?,
        _ => nix::unistd::dup2_stderr(descriptor.as_fd())?,
    }
    Ok(())
}
