//! Plain functions for the call forms of a pool. Both the worker and the tests have this file.

use multiprocessing::SharedMemory;
use multiprocessing::codec::Descriptor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

multiprocessing::function! {
    pub fn square(number: u64) -> u64 {
        number * number
    }
}

multiprocessing::function! {
    pub fn divide(a: u64, b: u64) -> u64 {
        a / b
    }
}

multiprocessing::function! {
    /// Squares after so many milliseconds.
    pub fn square_after(number: u64, pause: u64) -> u64 {
        std::thread::sleep(Duration::from_millis(pause));
        number * number
    }
}

multiprocessing::function! {
    pub fn halve(number: u64) -> Result<u64, String> {
        if number.is_multiple_of(2) { Ok(number / 2) } else { Err(format!("{number} is odd")) }
    }
}

multiprocessing::function! {
    pub fn process_id() -> u32 {
        std::process::id()
    }
}

multiprocessing::function! {
    /// The process and how many it has run of these before, after so many milliseconds.
    pub fn turn(pause: u64) -> (u32, u64) {
        static TURNS: AtomicU64 = AtomicU64::new(0);
        std::thread::sleep(Duration::from_millis(pause));
        (std::process::id(), TURNS.fetch_add(1, Ordering::Relaxed))
    }
}

multiprocessing::function! {
    /// Sends its process a signal, and returns its number unless that ends it.
    pub fn raise(signal: i32) -> u32 {
        // SAFETY: `raise` takes a number.
        unsafe { libc::raise(signal) };
        std::process::id()
    }
}

multiprocessing::function! {
    /// Counts its tries in shared memory, and kills its process in the first ones. How many there were in the end.
    pub fn tries(memory: Descriptor, deaths: u64) -> u64 {
        let memory = SharedMemory::from_descriptor(memory.into_inner()).expect("shared memory");
        let count = memory.atomic_u64(0).expect("room").fetch_add(1, Ordering::SeqCst) + 1;
        if count <= deaths {
            // SAFETY: `raise` takes a number.
            unsafe { libc::raise(libc::SIGKILL) };
        }
        count
    }
}

multiprocessing::function! {
    /// A pipe's end that reads the text.
    pub fn pipe_with(text: String) -> Result<Descriptor, std::io::Error> {
        let (reader, mut writer) = std::io::pipe()?;
        writer.write_all(text.as_bytes())?;
        Ok(Descriptor::from(reader))
    }
}

multiprocessing::function! {
    /// Counts on until it is cancelled.
    pub fn until_cancelled() -> u64 {
        let mut rounds = 0;
        while !multiprocessing::cancelled() {
            std::thread::sleep(Duration::from_millis(1));
            rounds += 1;
        }
        rounds
    }
}

/// What the initializer has left.
static PREPARED: AtomicU64 = AtomicU64::new(0);

multiprocessing::function! {
    pub fn prepare(value: u64) -> Result<(), String> {
        match value {
            7 => Err("seven is refused".into()),
            8 => panic!("eight is a reason to panic"),
            9 => std::process::exit(9),
            _ => {
                PREPARED.store(value, Ordering::Relaxed);
                Ok(())
            }
        }
    }
}

multiprocessing::function! {
    pub fn prepared() -> u64 {
        PREPARED.load(Ordering::Relaxed)
    }
}

multiprocessing::function! {
    pub fn fickle(value: Fickle) -> Fickle {
        match value {
            Fickle::FailsToDecodeLater => Fickle::FailsToDecode,
            Fickle::FailsToEncodeLater => Fickle::FailsToEncode,
            value => value,
        }
    }
}

multiprocessing::function! {
    /// So many pieces of a megabyte.
    pub fn megabytes(count: usize) -> Vec<serde_bytes::ByteBuf> {
        vec![serde_bytes::ByteBuf::from(vec![7; 1 << 20]); count]
    }
}

multiprocessing::function! {
    /// The most memory that its process has had, in bytes.
    pub fn peak() -> u64 {
        peak_memory()
    }
}

/// The most memory that this process has had, in bytes.
pub fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("it is there");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("it has a peak");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

/// A value that travels well, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fickle {
    Sound,
    FailsToEncode,
    FailsToEncodeLater,
    FailsToDecode,
    FailsToDecodeLater,
}

impl Serialize for Fickle {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Fickle::FailsToEncode => Err(serde::ser::Error::custom("it never can")),
            other => serializer.serialize_u8(*other as u8),
        }
    }
}

impl<'de> Deserialize<'de> for Fickle {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Fickle, D::Error> {
        match u8::deserialize(deserializer)? {
            0 => Ok(Fickle::Sound),
            2 => Ok(Fickle::FailsToEncodeLater),
            4 => Ok(Fickle::FailsToDecodeLater),
            _ => Err(serde::de::Error::custom("it never can")),
        }
    }
}

multiprocessing::function! {
    /// Panics, and nobody reads what it says.
    pub fn panics_unheard() -> () {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        nix::unistd::dup2_stderr(&writer).expect("a descriptor");
        drop(reader);
        panic!("unheard");
    }
}

/// The same name as that of another function of the worker, with other types.
pub mod other {
    multiprocessing::function! {
        pub fn square(number: u32) -> u32 {
            number * number
        }
    }
}
