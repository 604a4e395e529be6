//! A zygote, from inside: makes processes of itself, one for each request, and nothing else.

use super::clone::{Side, sibling};
use super::run::{become_standard, compare, invalid, receive};
use crate::function::Registry;
use crate::packets::{Buffer, Packets};
use crate::payload::Payload;
use crate::pipe;
use crate::process::{environment, own_pidfd};
use crate::wire::{self, INLINE_LIMIT, ToPool, ToWorker};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::sys::socket::{MsgFlags, recv};
use std::error::Error;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// What a terminal sends to all its processes: it is not meant for a zygote, which lives and dies with its parent.
const TERMINAL: [Signal; 5] = [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU];

/// Serves as a zygote, if that is what the connection wants. The connection on which a process is to be told what to do: this one, or
/// the one of a new process that this has become. `None` when a zygote has to end.
pub(super) fn serve(
    registry: &Registry,
    connection: Packets,
    buffer: &mut Buffer,
) -> Result<Option<Packets>, Box<dyn Error>> {
    if !wants_a_zygote(&connection)? {
        return Ok(Some(connection));
    }
    set_pdeathsig(Signal::SIGKILL)?;
    for ignored in TERMINAL {
        // SAFETY: to ignore a signal runs no code of ours.
        unsafe { signal(ignored, SigHandler::SigIgn) }?;
    }
    match receive(&connection, buffer)? {
        Some((ToWorker::Preload { identity }, ..)) => compare(registry, identity)?,
        _ => return Ok(None),
    }
    // It is to have one thread.
    pipe::forbid_watcher(true);
    registry.preload_all();
    loop {
        let Some((ToWorker::Fork { shared }, tail, descriptors)) = receive(&connection, buffer)? else {
            return Ok(None);
        };
        let request = Request::received(tail, shared, descriptors)?;
        match sibling() {
            Ok(Side::New) => {
                pipe::forbid_watcher(false);
                return request.begin().map(Some).map_err(Into::into);
            }
            // It speaks for itself, so that it is known even if this process is killed now.
            Ok(Side::Old) => {}
            Err(error) => {
                let reason = error.to_string();
                let reason = &reason.as_bytes()[..reason.len().min(INLINE_LIMIT)];
                connection.send(&wire::encode(&ToPool::NotForked, reason.len())?, reason, &[], true)?;
            }
        }
    }
}

/// Looks at the first message without taking it.
fn wants_a_zygote(connection: &Packets) -> io::Result<bool> {
    let mut bytes = vec![0; wire::FRAME_LIMIT];
    let length = loop {
        match recv(connection.as_fd().as_raw_fd(), &mut bytes, MsgFlags::MSG_PEEK) {
            Err(nix::errno::Errno::EINTR) => {}
            other => break other?,
        }
    };
    Ok(matches!(wire::decode(&bytes[..length]), Ok((ToWorker::Preload { .. }, _))))
}

/// What a new process needs.
struct Request {
    environment: Vec<(OsString, OsString)>,
    control: OwnedFd,
    folder: OwnedFd,
    standard: [OwnedFd; 3],
}

impl Request {
    fn received(tail: &[u8], shared: bool, descriptors: Vec<OwnedFd>) -> Result<Request, Box<dyn Error>> {
        let mut added = Payload::received(tail, shared, descriptors)?;
        let descriptors = <[OwnedFd; 5]>::try_from(added.take_descriptors());
        let [control, folder, stdin, stdout, stderr] =
            descriptors.map_err(|_| invalid("a request without its descriptors"))?;
        Ok(Request { environment: environment(&added)?, control, folder, standard: [stdin, stdout, stderr] })
    }

    /// In the new process: tells the parent of it, and becomes what was wanted; the connection to the parent.
    fn begin(self) -> io::Result<Packets> {
        let connection = Packets::from_descriptor(self.control)?;
        let pid = std::process::id();
        let head = wire::encode(&ToPool::Forked { pid }, 0).map_err(io::Error::other)?;
        connection.send(&head, &[], &[own_pidfd()?.as_fd()], true)?;
        for (number, descriptor) in (0..).zip(&self.standard) {
            become_standard(descriptor, number)?;
        }
        for restored in TERMINAL {
            // SAFETY: the default action runs no code of ours.
            unsafe { signal(restored, SigHandler::SigDfl) }?;
        }
        nix::unistd::fchdir(&self.folder)?;
        for (name, value) in self.environment {
            // SAFETY: a new process of a zygote has one thread, so nobody else looks at the environment.
            unsafe { std::env::set_var(name, value) };
        }
        Ok(connection)
    }
}
