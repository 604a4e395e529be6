//! What the test worker can do, good and bad. Both the worker and the tests have this file.

use multiprocessing::codec::Descriptor;
use multiprocessing::{Context, Function};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::thread;
use std::time::Duration;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Act {
    Square(u64),
    /// The number of the process.
    Pid,
    /// The set-up's text and what the job's first descriptor has to read.
    Setup,
    /// Facts about the process, one a line.
    Facts,
    Refuse(String),
    Panic(String),
    /// Sends itself a signal.
    Signal(i32),
    Abort,
    Exit(i32),
    /// Reads through a null pointer.
    Fault,
    /// Takes so many bytes.
    Allocate(usize),
    /// Takes about so many bytes of stack, which only its resident size shows, and stays so.
    Stack(usize),
    /// Sleeps, deaf to everything.
    Sleep(Duration),
    /// Waits until its job is cancelled.
    UntilCancelled,
    /// Asks every tenth of a millisecond whether its job was cancelled, until it is.
    Poll,
    /// Is busy for ever, deaf to everything.
    Spin,
    /// Closes its end of the connection for what it sends, and lives on.
    HangUp,
    /// Prints so many bytes on its standard error.
    Print(usize),
    /// Panics in a thread of its own, and passes that on.
    PanicInThread,
    /// Says what no worker says, on all sockets of the process.
    Babble(Vec<u8>),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Brought {
    Number(u64),
    Text(String),
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Setup {
    /// A text, and descriptors.
    Text(String, Vec<Descriptor>),
    /// The job cannot be opened.
    Refuse,
    /// Opening the job ends the process.
    Abort,
}

impl Setup {
    pub fn text(text: &str) -> Setup {
        Setup::Text(text.into(), Vec::new())
    }
}

#[derive(Debug)]
pub struct Actor {
    text: String,
    descriptors: Vec<Descriptor>,
}

impl Function for Actor {
    const NAME: &'static str = "act";
    type Setup = Setup;
    type Argument = Act;
    type Value = Brought;

    fn open(setup: Setup) -> Result<Actor, String> {
        match setup {
            Setup::Text(text, descriptors) => Ok(Actor { text, descriptors }),
            Setup::Refuse => Err("this job is refused".into()),
            Setup::Abort => std::process::abort(),
        }
    }

    fn call(&mut self, act: Act, context: &Context<'_>) -> Result<Brought, String> {
        match act {
            Act::Square(number) => return Ok(Brought::Number(number * number)),
            Act::Pid => {}
            Act::Setup => {
                let mut text = format!("{} and ", self.text);
                let first = self.descriptors.first().ok_or("no descriptor came")?;
                let mut file = File::from(first.as_fd().try_clone_to_owned().map_err(|error| error.to_string())?);
                file.read_to_string(&mut text).map_err(|error| error.to_string())?;
                return Ok(Brought::Text(text));
            }
            Act::Facts => return facts().map(Brought::Text).map_err(|error| error.to_string()),
            Act::Refuse(message) => return Err(message),
            Act::Panic(message) => panic!("{message}"),
            Act::Signal(signal) => {
                // SAFETY: `kill` takes two numbers.
                unsafe { libc::kill(libc::getpid(), signal) };
            }
            Act::Abort => std::process::abort(),
            Act::Exit(code) => std::process::exit(code),
            Act::Fault => {
                let nowhere = std::ptr::without_provenance::<u8>(std::hint::black_box(8));
                // SAFETY: there is none: the fault is what is wanted, and a volatile read is not optimized into anything else.
                let byte = unsafe { nowhere.read_volatile() };
                std::hint::black_box(byte);
            }
            Act::Allocate(bytes) => std::hint::black_box(vec![1_u8; bytes]).clear(),
            Act::Stack(bytes) => descend(bytes),
            Act::Sleep(time) => thread::sleep(time),
            Act::UntilCancelled => {
                while !context.cancelled() {
                    thread::sleep(Duration::from_millis(1));
                }
            }
            Act::Poll => {
                while !context.cancelled() {
                    thread::sleep(Duration::from_micros(100));
                }
            }
            Act::Spin => loop {
                std::hint::spin_loop();
            },
            Act::HangUp => {
                for socket in sockets() {
                    // SAFETY: `shutdown` takes two numbers. The pool is to see the end.
                    unsafe { libc::shutdown(socket, libc::SHUT_WR) };
                }
                thread::sleep(Duration::from_secs(60));
            }
            Act::Print(bytes) => eprintln!("{}", "x".repeat(bytes)),
            Act::PanicInThread => {
                let thread = thread::spawn(|| panic!("in a thread"));
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            }
            Act::Babble(bytes) => {
                for socket in sockets() {
                    // SAFETY: the pointer and the length are those of a slice that lives.
                    unsafe { libc::send(socket, bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL) };
                }
                thread::sleep(Duration::from_secs(60));
            }
        }
        Ok(Brought::Number(std::process::id().into()))
    }
}

fn descend(bytes: usize) {
    let mut page = [1_u8; 4096];
    std::hint::black_box(&mut page);
    if bytes > page.len() {
        descend(bytes - page.len());
    } else {
        thread::sleep(Duration::from_secs(60));
    }
    std::hint::black_box(&mut page);
}

fn sockets() -> Vec<i32> {
    let is_socket = |number: &i32| {
        std::fs::read_link(format!("/proc/self/fd/{number}"))
            .is_ok_and(|link| link.to_string_lossy().starts_with("socket:"))
    };
    (0..64).filter(is_socket).collect()
}

fn facts() -> io::Result<String> {
    // SAFETY: these calls take numbers.
    let (session, group) = unsafe { (libc::getsid(0), libc::getpgid(0)) };
    let status = std::fs::read_to_string("/proc/self/status")?;
    let signals: Vec<&str> =
        status.lines().filter(|line| line.starts_with("SigBlk") || line.starts_with("SigIgn")).collect();
    let mut links = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let link = std::fs::read_link(entry?.path())?;
        links.push(link.to_string_lossy().into_owned());
    }
    let standard = io::stdin().as_fd().as_raw_fd();
    Ok(format!(
        "leader {}\ngroup {}\nstdin {}\n{}\n{}",
        session == std::process::id() as i32,
        group == session,
        std::fs::read_link(format!("/proc/self/fd/{standard}"))?.display(),
        signals.join("\n"),
        links.join("\n")
    ))
}
