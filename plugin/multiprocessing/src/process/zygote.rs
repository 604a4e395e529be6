//! A zygote, from outside: a process of a worker program that makes others of itself.

use super::child::Child;
use super::keeper::Hold;
use super::spawn::{Spawn, Standard};
use crate::codec::{self, Message};
use crate::error::StartError;
use crate::packets::{Buffer, Packets};
use crate::payload::Outgoing;
use crate::program::Program;
use crate::wire::{self, ToPool, ToWorker};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// So long it may take to answer; and before its first answer, for which it has to preload.
const PATIENCE: Duration = Duration::from_secs(10);
const START_PATIENCE: Duration = Duration::from_secs(60);
/// So long a process that it has made may take to speak for itself once the zygote has ended.
const LAST_PATIENCE: Duration = Duration::from_secs(1);

/// A process that has preloaded a worker program, and makes others by forking itself: CPython's `forkserver`.
///
/// A new process of it takes a fraction of the time of a spawn, for nothing is loaded or prepared once more: the program is
/// there, its registry is built, and what [`Registry::preload`](crate::Registry::preload) has done is done. This is safe,
/// because a zygote has one thread only, which does nothing else; this process never forks. A new process is a child of this one, not of
/// the zygote. It has the folder, standard input, output and error of this process as they are at that moment; its environment is
/// the one that this process had when the zygote was started, and what was added for it.
///
/// The zygote is started when it is first needed, and started anew if it was killed meanwhile. It ends when this is dropped, and with
/// this process, however that ends. Those that it has made go on.
///
/// ```
/// use multiprocessing::{Process, Program, Registry, StartMethod, Zygote};
///
/// multiprocessing::function! {
///     fn greet(name: String) -> () {
///         println!("hello {name}");
///     }
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     Registry::new("example").preload(|| { /* read what all will need */ }).function::<greet>().serve_if_worker();
///     let program = Program::current("example")?;
///     let zygote = Zygote::new(&program);
///     for name in ["Ada", "Bob"] {
///         let process = Process::builder(&program)
///             .start_method(StartMethod::Zygote(zygote.clone()))
///             .start(greet, &name.to_owned())?;
///         assert!(process.join()?.success());
///     }
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct Zygote {
    program: Program,
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    connection: Packets,
    /// Whether it has made a process, and so has preloaded.
    preloaded: AtomicBool,
    /// The kernel ties it to the thread that has started it.
    _hold: Hold,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill();
        // It ends at once, so that nothing is left of it after this.
        let _ = crate::wait::wait_readable(self.child.as_fd(), Some(Instant::now() + Duration::from_secs(1)));
        self.child.try_wait();
    }
}

/// How a request failed.
enum Failure {
    /// The zygote is no more, or not what it should be: another may do better.
    Lost(StartError),
    /// It cannot be done.
    Final(StartError),
}

impl Zygote {
    /// A zygote of this program. Nothing is started yet.
    pub fn new(program: &Program) -> Arc<Zygote> {
        Arc::new(Zygote { program: program.clone(), running: Mutex::new(None) })
    }

    /// Its program.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Starts it now, if it does not run, so that the first process need not wait for that. Does not wait until it has preloaded.
    ///
    /// # Errors
    /// The program cannot be run, or this process has no room for another.
    pub fn start(&self) -> Result<(), StartError> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        self.ensure(&mut running).map(|_| ())
    }

    /// The number of its process, if it runs.
    pub fn pid(&self) -> Option<u32> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.as_ref().filter(|running| !running.child.ended()).map(|running| running.child.pid())
    }

    /// Makes a process, which finds what `prepare` has sent on its connection; the other end of that is returned.
    pub(super) fn fork(
        &self,
        environment: &[(OsString, OsString)],
        standard: &[Standard; 3],
        prepare: impl Fn() -> Result<(Packets, Packets), StartError>,
    ) -> Result<(Child, Packets), StartError> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let mut again = true;
        loop {
            let (connection, theirs) = prepare()?;
            let fresh = self.ensure(&mut running)?;
            let Some(zygote) = running.as_ref() else { return Err(StartError::Closed) };
            match zygote.fork(&self.program, environment, standard, &connection, theirs) {
                Ok(child) => return Ok((child, connection)),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Lost(error)) => {
                    *running = None;
                    // One that was killed or hangs is replaced, one that cannot even start is not.
                    if fresh || !again {
                        return Err(error);
                    }
                    again = false;
                }
            }
        }
    }

    /// Starts it if it does not run; whether it has just been started.
    fn ensure(&self, running: &mut Option<Running>) -> Result<bool, StartError> {
        if running.as_ref().is_some_and(|running| !running.child.ended()) {
            return Ok(false);
        }
        *running = None;
        let resources = |error| StartError::Resources(Arc::new(error));
        let (connection, theirs) = Packets::pair().map_err(resources)?;
        let message = ToWorker::Preload { identity: self.program.identity() };
        send(&connection, &message, &[], &[]).map_err(resources)?;
        let hold = Hold::new().map_err(resources)?;
        let spawn = Spawn {
            program: self.program.path().to_owned(),
            arguments: self.program.arguments().to_vec(),
            environment: Vec::new(),
            standard: [Standard::Null, Standard::Inherit, Standard::Inherit],
            control: Some(theirs.into()),
            session: false,
        };
        let child = hold
            .run(move || Child::start(&spawn))
            .map_err(|error| StartError::Spawn { path: self.program.path().to_owned(), error: Arc::new(error) })?;
        *running = Some(Running { child, connection, preloaded: AtomicBool::new(false), _hold: hold });
        Ok(true)
    }
}

impl Running {
    fn fork(
        &self,
        program: &Program,
        environment: &[(OsString, OsString)],
        standard: &[Standard; 3],
        ours: &Packets,
        theirs: Packets,
    ) -> Result<Child, Failure> {
        let resources = |error| Failure::Final(StartError::Resources(Arc::new(error)));
        let pairs: Vec<(&[u8], &[u8])> =
            environment.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        let added = postcard::to_stdvec(&pairs).map_err(|error| resources(io::Error::other(error)))?;
        let mut added = Outgoing::new(Message::plain(added));
        added.prepare().map_err(resources)?;
        let folder = File::open(".").map_err(resources)?;
        let streams = standard_descriptors(standard).map_err(resources)?;
        let mut descriptors = added.descriptors();
        descriptors.extend([theirs.as_fd(), folder.as_fd()]);
        descriptors.extend(streams.iter().map(AsFd::as_fd));
        if let Err(error) =
            send(&self.connection, &ToWorker::Fork { shared: added.shared() }, added.tail(), &descriptors)
        {
            return Err(match error.kind() {
                io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => self.lost(program),
                _ => resources(error),
            });
        }
        // So that only the new process, or none, has the other end.
        drop(descriptors);
        drop(theirs);
        let patience = if self.preloaded.load(Ordering::Relaxed) { PATIENCE } else { START_PATIENCE };
        let silent = || Failure::Lost(StartError::Silent { path: program.path().to_owned(), after: patience });
        let mut until = Instant::now().checked_add(patience);
        let mut zygote_speaks = true;
        let mut buffer = Buffer::new();
        loop {
            let zygote = zygote_speaks.then(|| self.connection.as_fd());
            // When it cannot make one, the zygote says so before it lets go of the other end.
            let ready = wait_either(zygote, ours.as_fd(), until).map_err(resources)?;
            let (connection, by_zygote) = match ready {
                Some(true) => (&self.connection, true),
                Some(false) => (ours, false),
                None if zygote_speaks => return Err(silent()),
                None => return Err(self.lost(program)),
            };
            let received = match connection.receive(&mut buffer, false) {
                Ok(Some(received)) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Ok(None) if by_zygote => {
                    // It is no more. What it has made before speaks for itself; the other end of its connection is gone soon if
                    // there is none.
                    zygote_speaks = false;
                    until = Some(Instant::now() + LAST_PATIENCE);
                    continue;
                }
                // The end of a process that did not even come to its greeting, or that was never made.
                Ok(None) => return Err(self.lost(program)),
                Err(_) => return Err(silent()),
            };
            return match wire::decode::<ToPool>(&buffer.bytes[..received.length]) {
                Ok((ToPool::Forked { pid }, _)) if !by_zygote => match received.descriptors.into_iter().next() {
                    Some(pidfd) => {
                        self.preloaded.store(true, Ordering::Relaxed);
                        Ok(Child::adopt(pid, pidfd))
                    }
                    None => Err(resources(io::Error::other("a process without its descriptor"))),
                },
                Ok((ToPool::NotForked, reason)) if by_zygote => {
                    let reason = String::from_utf8_lossy(reason).into_owned();
                    Err(resources(io::Error::other(format!("the zygote cannot make a process: {reason}"))))
                }
                _ => Err(silent()),
            };
        }
    }

    /// It has closed the connection, and so is about to end.
    fn lost(&self, program: &Program) -> Failure {
        let _ = crate::wait::wait_readable(self.child.as_fd(), Some(Instant::now() + Duration::from_secs(1)));
        let path = program.path().to_owned();
        Failure::Lost(match self.child.try_wait() {
            Some(status) => StartError::Died { path, status, stderr: String::new() },
            None => StartError::Silent { path, after: Duration::from_secs(1) },
        })
    }
}

/// Waits until one of two has something to tell; whether it is the first of them, which counts before the other.
fn wait_either(
    first: Option<BorrowedFd<'_>>,
    second: BorrowedFd<'_>,
    until: Option<Instant>,
) -> io::Result<Option<bool>> {
    loop {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let timeout = left.map_or(PollTimeout::NONE, |left| {
            PollTimeout::try_from((left + Duration::from_micros(999)).as_millis()).unwrap_or(PollTimeout::MAX)
        });
        let wanted = |one| PollFd::new(one, PollFlags::POLLIN);
        let mut entries: Vec<_> = [Some(second), first].into_iter().flatten().map(wanted).collect();
        match poll(&mut entries, timeout) {
            Ok(0) if left == Some(Duration::ZERO) => return Ok(None),
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(Some(entries.get(1).is_some_and(|first| first.any().unwrap_or(true)))),
            Err(error) => return Err(error.into()),
        }
    }
}

/// What becomes standard input, output and error.
fn standard_descriptors(standard: &[Standard; 3]) -> io::Result<Vec<OwnedFd>> {
    let null = || File::options().read(true).write(true).open("/dev/null").map(OwnedFd::from);
    let own = [io::stdin().as_fd(), io::stdout().as_fd(), io::stderr().as_fd()].map(|fd| fd.try_clone_to_owned());
    standard
        .iter()
        .zip(own)
        .map(|(standard, own)| match standard {
            // One that this process has closed is none.
            Standard::Inherit => own.or_else(|_| null()),
            Standard::Null => null(),
            Standard::Descriptor(descriptor) => descriptor.try_clone(),
        })
        .collect()
}

/// Sends a message for which there is room.
pub(super) fn send(
    connection: &Packets,
    message: &ToWorker<'_>,
    tail: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let head = wire::encode(message, tail.len()).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    connection.send(&head, tail, descriptors, false)
}

/// The pairs of [`ToWorker::Fork`].
pub(crate) fn environment(bytes: &[u8]) -> Result<Vec<(OsString, OsString)>, codec::CodecError> {
    let pairs: Vec<(Vec<u8>, Vec<u8>)> = codec::decode(bytes, Vec::new())?;
    let text = |bytes: Vec<u8>| OsStr::from_bytes(&bytes).to_owned();
    Ok(pairs.into_iter().map(|(name, value)| (text(name), text(value))).collect())
}
