//! The two halves of a connection to a worker on another machine: frames over a stream of bytes, read and written without ever
//! waiting longer than the other side shows that it lives.

use crate::memory::SealedMemory;
use crate::payload::{Outgoing, Payload};
use crate::stream::{self, NOISE_LIMIT, PREAMBLE, Piece, Pieces, StreamError, Streamed};
use crate::sync::word::Until;
use crate::wait;
use crate::wire::{self, INLINE_LIMIT, WireError};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Bytes that are read at a time: a frame and a half, at least.
const CHUNK: usize = 128 * 1024;
/// So much of the noise before the preamble is kept for an error.
const NOISE_KEPT: usize = 300;
/// What a pipe is made to hold, if the system lets it.
const PIPE: i32 = 1 << 20;

/// Why a connection does not go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Wire(#[from] WireError),
    #[error("{0}")]
    Stream(#[from] StreamError),
    #[error("it closed the connection")]
    End,
    #[error("no worker answered among the first {NOISE_LIMIT} bytes, which begin with '{0}'")]
    Noise(String),
    #[error("no sign of life for {} s", .0.as_secs_f32())]
    Silent(Duration),
    #[error("the connection is not wanted any more")]
    Stopped,
}

/// What a frame carried.
#[derive(Debug)]
pub(crate) enum Carried {
    Inline(Vec<u8>),
    /// In sealed memory.
    Sealed(OwnedFd),
}

impl Carried {
    pub(crate) fn into_payload(self) -> io::Result<Payload> {
        match self {
            Carried::Inline(bytes) => Ok(bytes.into()),
            Carried::Sealed(memory) => Payload::received(&[], true, [memory]),
        }
    }

    pub(crate) fn into_outgoing(self) -> Outgoing {
        match self {
            Carried::Inline(bytes) => Outgoing::new(crate::codec::Message::plain(bytes)),
            Carried::Sealed(memory) => Outgoing::sealed(memory),
        }
    }
}

/// The receiving half.
#[derive(Debug)]
pub(crate) struct Receiver {
    file: File,
    buffer: Vec<u8>,
    /// What has come and was not taken is `buffer[start..end]`.
    start: usize,
    end: usize,
    /// Noise that was passed over; `None` once the preamble was found.
    noise: Option<usize>,
    /// The beginning of that noise.
    said: Vec<u8>,
    pieces: Pieces,
    /// The message whose payload is under way, and so much of that as has come.
    partial: Option<(Vec<u8>, File)>,
    /// When something came last.
    pub(crate) heard: Instant,
}

impl Receiver {
    pub(crate) fn new(reader: OwnedFd) -> io::Result<Receiver> {
        prepare(reader.as_fd())?;
        Ok(Receiver {
            file: reader.into(),
            buffer: vec![0; CHUNK],
            start: 0,
            end: 0,
            noise: Some(0),
            said: Vec::new(),
            pieces: Pieces::default(),
            partial: None,
            heard: Instant::now(),
        })
    }

    /// Reads what has come; whether there was anything.
    pub(crate) fn fill(&mut self) -> Result<bool, LinkError> {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        loop {
            match self.file.read(&mut self.buffer[self.end..]) {
                Ok(0) => return Err(LinkError::End),
                Ok(count) => {
                    self.end += count;
                    self.heard = Instant::now();
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Err(LinkError::End),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The next message that is whole, of what was read.
    pub(crate) fn take<M: DeserializeOwned + Streamed>(&mut self) -> Result<Option<(M, Carried)>, LinkError> {
        if self.noise.is_some() && !self.skip_noise()? {
            return Ok(None);
        }
        loop {
            let Some((_, length)) = wire::split(&self.buffer[self.start..self.end])? else { return Ok(None) };
            let frame = &self.buffer[self.start..self.start + length];
            self.start += length;
            let (message, tail) = wire::decode::<M>(frame)?;
            match self.pieces.take(&message, tail.len())? {
                Piece::Whole => return Ok(Some((message, Carried::Inline(tail.to_vec())))),
                Piece::Begins => self.partial = Some((frame.to_vec(), SealedMemory::begin()?)),
                piece => {
                    let Some((frame, mut memory)) = self.partial.take() else { return Err(StreamError::Part.into()) };
                    memory.write_all(tail)?;
                    if piece == Piece::Last {
                        let (message, _) = wire::decode::<M>(&frame)?;
                        return Ok(Some((message, Carried::Sealed(SealedMemory::finish(memory)?))));
                    }
                    self.partial = Some((frame, memory));
                }
            }
        }
    }

    /// Passes over what stands before the preamble; whether that was found.
    fn skip_noise(&mut self) -> Result<bool, LinkError> {
        let bytes = &self.buffer[self.start..self.end];
        let found = stream::find_preamble(bytes);
        // The last bytes may be the beginning of it.
        let noise = found.map_or(bytes.len().saturating_sub(PREAMBLE.len() - 1), |end| end - PREAMBLE.len());
        let kept = NOISE_KEPT.saturating_sub(self.said.len()).min(noise);
        self.said.extend_from_slice(&bytes[..kept]);
        let skipped = self.noise.unwrap_or(0) + noise;
        self.start += found.unwrap_or(noise);
        self.noise = found.is_none().then_some(skipped);
        if skipped > NOISE_LIMIT { Err(LinkError::Noise(self.noise())) } else { Ok(found.is_some()) }
    }

    /// The beginning of what came before the preamble.
    pub(crate) fn noise(&self) -> String {
        let mut said = self.said.clone();
        if !self.greeted() {
            let rest = &self.buffer[self.start..self.end];
            said.extend_from_slice(&rest[..rest.len().min(NOISE_KEPT - said.len())]);
        }
        String::from_utf8_lossy(&said).trim().escape_debug().to_string()
    }

    /// Whether the preamble has come.
    pub(crate) fn greeted(&self) -> bool {
        self.noise.is_none()
    }
}

impl AsFd for Receiver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// The sending half, which several threads may have.
#[derive(Debug)]
pub(crate) struct Sender {
    file: Mutex<File>,
    /// Held as long as a payload goes out in parts.
    payload: Mutex<()>,
    /// Readable once the connection is not wanted any more.
    stop: EventFd,
    stopped: AtomicBool,
    /// A frame was begun and is not whole, so nothing can follow it.
    cut: AtomicBool,
    born: Instant,
    /// When something was sent last, in milliseconds since `born`.
    sent: AtomicU64,
    /// For how long the other side may take nothing, in milliseconds.
    silence: AtomicU64,
}

impl Sender {
    /// The half, after the preamble was sent.
    pub(crate) fn new(writer: OwnedFd, silence: Duration) -> io::Result<Arc<Sender>> {
        prepare(writer.as_fd())?;
        Ok(Arc::new(Sender {
            file: Mutex::new(writer.into()),
            payload: Mutex::new(()),
            stop: EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?,
            stopped: AtomicBool::new(false),
            cut: AtomicBool::new(false),
            born: Instant::now(),
            sent: AtomicU64::new(0),
            silence: AtomicU64::new(silence.as_millis() as u64),
        }))
    }

    fn silence(&self) -> Duration {
        Duration::from_millis(self.silence.load(Ordering::Relaxed))
    }

    /// Changes for how long the other side may take nothing.
    pub(crate) fn set_silence(&self, silence: Duration) {
        self.silence.store(silence.as_millis() as u64, Ordering::Relaxed);
    }

    pub(crate) fn preamble(&self) -> Result<(), LinkError> {
        self.write(&mut self.file.lock().unwrap_or_else(PoisonError::into_inner), &PREAMBLE)
    }

    /// Ends all sending that would have to wait.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        // It can only fail when it is readable already.
        let _ = self.stop.write(1);
    }

    /// Readable once sending was ended.
    pub(crate) fn stopped(&self) -> BorrowedFd<'_> {
        self.stop.as_fd()
    }

    /// Whether sending was ended.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Sends one frame.
    pub(crate) fn send(&self, message: &impl Serialize, tail: &[u8]) -> Result<(), LinkError> {
        let mut frame = wire::encode(message, tail.len())?;
        frame.extend_from_slice(tail);
        self.write(&mut self.file.lock().unwrap_or_else(PoisonError::into_inner), &frame)
    }

    /// Sends a message, which announces `payload`, and the payload; `between` its parts there may be something more urgent.
    pub(crate) fn send_payload<M: Serialize>(
        &self,
        message: &M,
        part: &M,
        payload: &[u8],
        mut between: impl FnMut() -> Result<(), LinkError>,
    ) -> Result<(), LinkError> {
        let _one = self.payload.lock().unwrap_or_else(PoisonError::into_inner);
        if payload.len() <= INLINE_LIMIT {
            return self.send(message, payload);
        }
        self.send(message, &[])?;
        for tail in payload.chunks(INLINE_LIMIT) {
            let head = wire::encode(part, tail.len())?;
            let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
            self.write(&mut file, &head)?;
            self.write(&mut file, tail)?;
            drop(file);
            between()?;
        }
        Ok(())
    }

    /// Sends a sign of life if nothing was sent for a third of the silence that is allowed, and if that needs no waiting: when
    /// there is no room, there is something under way.
    pub(crate) fn beat<M: Serialize>(&self, message: impl FnOnce() -> M) -> Result<(), LinkError> {
        let sent = Duration::from_millis(self.sent.load(Ordering::Relaxed));
        let Ok(mut file) = self.file.try_lock() else { return Ok(()) };
        let mut entry = [PollFd::new(file.as_fd(), PollFlags::POLLOUT)];
        if self.born.elapsed().saturating_sub(sent) < self.silence() / 3 || poll(&mut entry, PollTimeout::ZERO) != Ok(1)
        {
            return Ok(());
        }
        let frame = wire::encode(&message(), 0)?;
        self.write(&mut file, &frame)
    }

    fn write(&self, file: &mut File, mut bytes: &[u8]) -> Result<(), LinkError> {
        if self.cut.load(Ordering::Relaxed) {
            return Err(LinkError::Stopped);
        }
        while !bytes.is_empty() {
            let result = match file.write(bytes) {
                Ok(count) => {
                    bytes = &bytes[count..];
                    self.sent.store(self.born.elapsed().as_millis() as u64, Ordering::Relaxed);
                    Ok(())
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait_for_room(file),
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(LinkError::End),
                Err(error) => Err(error.into()),
            };
            result.inspect_err(|_| self.cut.store(true, Ordering::Relaxed))?;
        }
        Ok(())
    }

    fn wait_for_room(&self, file: &File) -> Result<(), LinkError> {
        let deadline = Until::after(self.silence());
        let mut entries =
            [PollFd::new(file.as_fd(), PollFlags::POLLOUT), PollFd::new(self.stop.as_fd(), PollFlags::POLLIN)];
        wait::poll(&mut entries, deadline)?;
        match entries.map(|entry| entry.any() != Some(false)) {
            [_, true] => Err(LinkError::Stopped),
            [true, _] => Ok(()),
            _ => Err(LinkError::Silent(self.silence())),
        }
    }
}

fn prepare(descriptor: BorrowedFd<'_>) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(descriptor, FcntlArg::F_GETFL)?);
    fcntl(descriptor, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    // Only a pipe can have it, and not beyond what the user may have in all.
    let _ = fcntl(descriptor, FcntlArg::F_SETPIPE_SZ(PIPE));
    // Small frames must not wait for the answer to those before them. Only a TCP socket knows of that.
    let _ = nix::sys::socket::setsockopt(&descriptor, nix::sys::socket::sockopt::TcpNoDelay, &true);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::ToAgent;

    fn pair(noise: &[u8]) -> (Arc<Sender>, Receiver) {
        let (reader, mut writer) = io::pipe().expect("a pipe");
        writer.write_all(noise).expect("room");
        let sender = Sender::new(writer.into(), Duration::from_secs(10)).expect("a pipe");
        (sender, Receiver::new(reader.into()).expect("a pipe"))
    }

    fn next(receiver: &mut Receiver) -> Result<(ToAgent, Carried), LinkError> {
        loop {
            if let Some(found) = receiver.take()? {
                return Ok(found);
            }
            if !receiver.fill()? {
                std::thread::yield_now();
            }
        }
    }

    #[test]
    fn payloads_of_all_sizes_arrive_behind_noise_and_urgent_messages_between_their_parts() {
        let (sender, mut receiver) = pair(b"Welcome to MPI!\n\0multi");
        let sizes = [0, 1, INLINE_LIMIT, INLINE_LIMIT + 1, 5 << 20];
        let bytes: Vec<u8> = (0..5 << 20).map(|i: u32| (i >> 8) as u8 ^ i as u8).collect();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                sender.preamble().expect("room");
                for (sequence, size) in sizes.into_iter().enumerate() {
                    let task = ToAgent::Task { job: 1, sequence: sequence as u64, length: size as u64 };
                    let urgent = || sender.send(&ToAgent::Cancel { job: 9 }, &[]);
                    sender.send_payload(&task, &ToAgent::Part, &bytes[..size], urgent).expect("room");
                }
            });
            for (number, size) in sizes.into_iter().enumerate() {
                let payload = loop {
                    match next(&mut receiver).expect("a message") {
                        (ToAgent::Cancel { job: 9 }, _) => {}
                        (ToAgent::Task { sequence, .. }, carried) if sequence == number as u64 => break carried,
                        other => panic!("{other:?}"),
                    }
                };
                assert!(*payload.into_payload().expect("sealed memory") == bytes[..size]);
            }
        });
        assert_eq!(receiver.noise(), "Welcome to MPI!\\n\\0multi");
    }

    #[test]
    fn endless_noise_is_given_up_and_quoted() {
        let (sender, mut receiver) = pair(b"Permission denied");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut file = sender.file.lock().expect("no panic");
                // The other side may have given up before the last of it.
                let _ = sender.write(&mut file, &vec![b'.'; NOISE_LIMIT + 1]);
            });
            let error = next(&mut receiver).expect_err("noise");
            assert!(error.to_string().contains("'Permission denied..."), "{error}");
        });
    }

    #[test]
    fn another_version_and_garbage_are_errors() {
        for (bytes, expected) in [
            (&b"MP\x63\x00\x00\x00\x00\x00"[..], "version 99"),
            (b"HTTP/1.1 400", "not a frame"),
            (b"MP\x01\x00\xff\xff\xff\x7f", "a frame of"),
            (b"MP\x01\x00\x01\x00\x00\x00\xff", "not a message"),
        ] {
            let (sender, mut receiver) = pair(&[&PREAMBLE, bytes].concat());
            let error = next(&mut receiver).expect_err("no message");
            assert!(error.to_string().contains(expected), "{error}");
            drop(sender);
        }
        let (sender, mut receiver) = pair(&PREAMBLE);
        drop(sender);
        assert!(matches!(next(&mut receiver), Err(LinkError::End)));
    }

    #[test]
    fn sending_that_is_stopped_ends_though_nobody_reads() {
        let (sender, _receiver) = pair(b"");
        std::thread::scope(|scope| {
            let sending = scope.spawn(|| {
                sender.send_payload(
                    &ToAgent::Task { job: 1, sequence: 1, length: 8 << 20 },
                    &ToAgent::Part,
                    &vec![0; 8 << 20],
                    || Ok(()),
                )
            });
            std::thread::sleep(Duration::from_millis(10));
            sender.stop();
            assert!(matches!(sending.join().expect("no panic"), Err(LinkError::Stopped)));
        });
    }
}
