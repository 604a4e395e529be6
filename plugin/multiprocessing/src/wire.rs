//! Frames: what pool and worker say to each other, as bytes.
//!
//! A frame is a header of 8 bytes, a message and a tail:
//!
//! | bytes | what |
//! | --- | --- |
//! | 0..2 | `MP` |
//! | 2..4 | protocol version, little-endian |
//! | 4..8 | length of message and tail together, little-endian, at most [`BODY_LIMIT`] |
//! | 8.. | the message ([`ToWorker`] or [`ToPool`]) in postcard's encoding |
//! | after it | the tail: payload bytes as they are |
//!
//! The header stays as it is in every version, so that two builds that do not understand each other can still say which
//! versions they are. Payloads above [`INLINE_LIMIT`] are not in the tail: they are a sealed memory descriptor that travels
//! with the frame, and the message says so.
//!
//! All of this is pure: bytes in, values out. Foreign bytes give an error, never a panic, and nothing is allocated by what
//! a length field claims.

use serde::{Deserialize, Serialize};

/// The version of the protocol that this build speaks.
pub const VERSION: u16 = 1;

/// Bytes of a frame's header.
pub const HEADER: usize = 8;

/// The longest payload, in bytes, that travels inside of a frame.
pub const INLINE_LIMIT: usize = 64 * 1024;

/// The longest message, in bytes, without its tail. Names and identities must fit.
pub const MESSAGE_LIMIT: usize = 1024;

/// The longest message and tail together, in bytes.
pub const BODY_LIMIT: usize = MESSAGE_LIMIT + INLINE_LIMIT;

/// The longest frame, in bytes.
pub const FRAME_LIMIT: usize = HEADER + BODY_LIMIT;

/// The longest name of a function, or identity of a build, in bytes.
pub const NAME_LIMIT: usize = 256;

const MAGIC: [u8; 2] = *b"MP";

/// What the pool says to a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToWorker<'a> {
    /// The first message: under what rules the worker is to live. With it travel the memory for its answers, that in which it is
    /// written which jobs are cancelled, the eventfd that wakes the pool, and what the initializer's argument has.
    Hello {
        /// The process whose death must end the worker.
        parent: u32,
        /// The identity of the build that started the worker.
        identity: &'a str,
        /// How many bytes of its own memory the worker may take.
        memory_limit: Option<u64>,
        /// Which records of the worker's log are wanted: [`log::LevelFilter`] as a number.
        log_level: u8,
        /// What the worker is to call before it is ready.
        #[serde(borrow)]
        initializer: Option<Initializer<'a>>,
    },
    /// A job that tasks will name. With it travel the payload if it is `shared`, and the job's own descriptors, in this order.
    Open {
        /// The job's number, never used twice in a pool.
        job: u64,
        /// Where its flag is in the memory that came with the greeting.
        flag: u32,
        /// The name of the registered function.
        function: &'a str,
        /// A number for the function's types that the worker's must equal; 0 if they are not known.
        schema: u64,
        /// Whether the set-up message is a descriptor, not the tail.
        shared: bool,
    },
    /// A task of a job that was opened before. Its payload is the tail, or a descriptor if it is `shared`.
    Task {
        /// The job it belongs to.
        job: u64,
        /// The task's number; grows from task to task within one worker.
        sequence: u64,
        /// Whether the payload is a descriptor, not the tail.
        shared: bool,
    },
    /// No more tasks of this job will come: what it holds is to be let go.
    Close {
        /// The job's number.
        job: u64,
    },
    /// The first message to a process that is no worker of a pool. With it travels the parent's pidfd.
    Process {
        /// The process that has started it.
        parent: u32,
        /// The identity of the build that started it.
        identity: &'a str,
        /// Its own name.
        name: &'a str,
        /// The name of the process that has started it.
        parent_name: &'a str,
        /// Whether it must end with its parent.
        daemon: bool,
        /// Which records of its log are wanted: [`log::LevelFilter`] as a number.
        log_level: u8,
    },
    /// What such a process is to do; it ends after that. Its argument is the tail, or a descriptor if it is `shared`, before
    /// the argument's own.
    Run {
        /// The name of the registered function.
        function: &'a str,
        /// As for a job.
        schema: u64,
        /// Whether the argument is a descriptor, not the tail.
        shared: bool,
    },
    /// The first message to a zygote.
    Preload {
        /// The identity of the build that started it.
        identity: &'a str,
    },
    /// A zygote is to make a process. With it travel the new process's connection, its folder, its standard input, output and
    /// error, in this order. The tail is what is added to its environment.
    Fork {
        /// Whether what is added is a descriptor before the others, not the tail.
        shared: bool,
    },
}

/// A function to be called once in a new worker. Its argument is the greeting's tail, or a descriptor if it is `shared`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Initializer<'a> {
    /// The name of the registered function.
    pub function: &'a str,
    /// As for a job.
    pub schema: u64,
    /// Whether the argument is a descriptor, not the tail.
    pub shared: bool,
}

/// What a worker says to its pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToPool<'a> {
    /// The answer to `Hello`.
    Ready {
        /// The identity of the worker's build.
        identity: &'a str,
    },
    /// The other answer to `Hello`: the initializer has failed, with the message that is the tail, UTF-8. The worker ends after it.
    Failed,
    /// A task has ended. What it brought is the tail, or a descriptor if it is `shared`. Small ones come in the shared memory.
    Ended {
        /// The task's number.
        sequence: u64,
        /// How it ended, and so what the payload is.
        outcome: Outcome,
        /// Whether the payload is a descriptor, not the tail.
        shared: bool,
    },
    /// A record of the log. The tail is a [`LogText`] in postcard's encoding.
    Log {
        /// Its level: [`log::Level`] as a number.
        level: u8,
        /// The line of the source file, if it is known.
        line: Option<u32>,
        /// How many records before this one found no room and are lost.
        lost: u64,
    },
    /// A zygote has made this process, whose pidfd travels with this: the first message on its own connection.
    Forked {
        /// The process's number.
        pid: u32,
    },
    /// A zygote could not make a process. The tail is the reason, UTF-8.
    NotForked,
}

/// The texts of a record of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogText<'a> {
    /// What it is about.
    pub target: &'a str,
    /// The module that it comes from.
    pub module: Option<&'a str>,
    /// The source file that it comes from.
    pub file: Option<&'a str>,
    /// The message; empty if there is none, and the record only counts what was lost.
    pub message: &'a str,
}

/// How a task ended in a worker that lives on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The function returned; the payload is its value.
    Value,
    /// The function refused; the payload is its message, UTF-8.
    Error,
    /// The function panicked; the payload is a [`Panic`] in postcard's encoding, and the worker ends after it.
    Panic,
    /// The payload could not be decoded in the worker; the payload is the reason, UTF-8.
    Decode,
    /// The job was cancelled before the task began, or while it ran.
    Cancelled,
}

impl Outcome {
    /// The one that is this number.
    pub(crate) fn from_number(number: u8) -> Option<Outcome> {
        const ALL: [Outcome; 5] = [Outcome::Value, Outcome::Error, Outcome::Panic, Outcome::Decode, Outcome::Cancelled];
        ALL.into_iter().find(|outcome| *outcome as u8 == number)
    }
}

/// The payload of [`Outcome::Panic`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Panic {
    /// The panic's message and where it was raised.
    pub message: String,
    /// The worker's stack at that point, as text.
    pub backtrace: String,
}

/// Bytes that are no frame of this protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The bytes do not begin with a frame's mark.
    #[error("not a frame: it begins with {0:02x?}")]
    Magic([u8; 2]),
    /// The other side speaks another version.
    #[error("protocol version {theirs}, where {VERSION} is spoken")]
    Version {
        /// The version in the frame.
        theirs: u16,
    },
    /// The frame claims to be longer than any frame is, or its message or its tail alone is longer than it may be.
    #[error("a frame of {0} bytes, where {MESSAGE_LIMIT} for the message and {INLINE_LIMIT} after it are the limits")]
    Length(u32),
    /// A packet holds less, or more, than its one frame.
    #[error("a packet of {packet} bytes for a frame of {frame}")]
    Packet {
        /// Bytes in the packet.
        packet: usize,
        /// Bytes that its frame claims.
        frame: usize,
    },
    /// The message could not be decoded.
    #[error("not a message: {0}")]
    Message(postcard::Error),
}

/// Finds the first frame in a stream of bytes: its body, and its length in the stream. `None` if more bytes are needed,
/// which are never more than [`FRAME_LIMIT`] in all.
pub fn split(bytes: &[u8]) -> Result<Option<(&[u8], usize)>, WireError> {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER>() else {
        return Ok(None);
    };
    let [m0, m1, v0, v1, length @ ..] = *header;
    if [m0, m1] != MAGIC {
        return Err(WireError::Magic([m0, m1]));
    }
    let theirs = u16::from_le_bytes([v0, v1]);
    if theirs != VERSION {
        return Err(WireError::Version { theirs });
    }
    let length = u32::from_le_bytes(length);
    if length as usize > BODY_LIMIT {
        return Err(WireError::Length(length));
    }
    Ok(rest.get(..length as usize).map(|body| (body, HEADER + length as usize)))
}

/// Reads the first frame of a packet that may hold several: the message, the tail, and the frames after it.
pub fn decode_first<'a, M: Deserialize<'a>>(packet: &'a [u8]) -> Result<(M, &'a [u8], &'a [u8]), WireError> {
    let frame = split(packet)?.map_or(packet.len(), |(_, frame)| frame);
    let (first, rest) = packet.split_at(frame);
    let (message, tail) = decode(first)?;
    Ok((message, tail, rest))
}

/// Reads a packet that holds one frame: the message and the tail, each as long at most as [`encode`] lets it be.
pub fn decode<'a, M: Deserialize<'a>>(packet: &'a [u8]) -> Result<(M, &'a [u8]), WireError> {
    match split(packet)? {
        Some((body, frame)) if frame == packet.len() => {
            let (message, tail) = postcard::take_from_bytes(body).map_err(WireError::Message)?;
            within_limits(body.len() - tail.len(), tail.len())?;
            Ok((message, tail))
        }
        Some((_, frame)) => Err(WireError::Packet { packet: packet.len(), frame }),
        None => Err(WireError::Packet { packet: packet.len(), frame: claimed(packet) }),
    }
}

/// The length that an incomplete frame claims to have.
fn claimed(packet: &[u8]) -> usize {
    let length = packet.get(4..HEADER).and_then(|length| length.try_into().ok()).map_or(0, u32::from_le_bytes);
    HEADER + length as usize
}

/// The first part of a frame: header and message. The caller sends the tail, of `tail` bytes, after it.
///
/// # Errors
/// A message longer than [`MESSAGE_LIMIT`] or a tail longer than [`INLINE_LIMIT`] does not fit into a frame.
pub fn encode<M: Serialize>(message: &M, tail: usize) -> Result<Vec<u8>, WireError> {
    let mut head = vec![0; HEADER];
    head = postcard::to_extend(message, head).map_err(WireError::Message)?;
    let body = within_limits(head.len() - HEADER, tail)?;
    head[0..2].copy_from_slice(&MAGIC);
    head[2..4].copy_from_slice(&VERSION.to_le_bytes());
    head[4..HEADER].copy_from_slice(&body.to_le_bytes());
    Ok(head)
}

/// Adds a whole frame to a packet.
///
/// # Errors
/// As for [`encode`]; the packet is then as it was.
pub fn append<M: Serialize>(packet: &mut Vec<u8>, message: &M, tail: &[u8]) -> Result<(), WireError> {
    let start = packet.len();
    let mut extended = std::mem::take(packet);
    extended.extend_from_slice(&[0; HEADER]);
    // What has been written when it fails is lost with the vector; a message of ours never fails.
    *packet = postcard::to_extend(message, extended).map_err(WireError::Message)?;
    match within_limits(packet.len() - start - HEADER, tail.len()) {
        Ok(body) => {
            packet[start..start + 2].copy_from_slice(&MAGIC);
            packet[start + 2..start + 4].copy_from_slice(&VERSION.to_le_bytes());
            packet[start + 4..start + HEADER].copy_from_slice(&body.to_le_bytes());
            packet.extend_from_slice(tail);
            Ok(())
        }
        Err(error) => {
            packet.truncate(start);
            Err(error)
        }
    }
}

/// The length of a message and its tail together, if neither is too long.
fn within_limits(message: usize, tail: usize) -> Result<u32, WireError> {
    let body = message.saturating_add(tail).try_into().unwrap_or(u32::MAX);
    if message > MESSAGE_LIMIT || tail > INLINE_LIMIT { Err(WireError::Length(body)) } else { Ok(body) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame<M: Serialize>(message: &M, tail: &[u8]) -> Vec<u8> {
        let mut frame = encode(message, tail.len()).expect("a message within its limits");
        frame.extend_from_slice(tail);
        frame
    }

    fn to_worker<'a>(name: &'a str, number: u64, kind: u8, shared: bool) -> ToWorker<'a> {
        let (parent, log_level) = (number as u32, kind);
        match kind % 8 {
            0 => {
                let initializer = shared.then_some(Initializer { function: name, schema: number, shared });
                let memory_limit = (number > 7).then_some(number);
                ToWorker::Hello { parent, identity: name, memory_limit, log_level, initializer }
            }
            1 => ToWorker::Open { job: number, flag: 7, function: name, schema: number / 3, shared },
            2 => ToWorker::Task { job: number, sequence: number / 2, shared },
            3 => ToWorker::Process { parent, identity: name, name, parent_name: name, daemon: shared, log_level },
            4 => ToWorker::Run { function: name, schema: number, shared },
            5 => ToWorker::Preload { identity: name },
            6 => ToWorker::Fork { shared },
            _ => ToWorker::Close { job: number },
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            name in "\\PC{0,60}", number: u64, kind: u8, shared: bool, tail in prop::collection::vec(any::<u8>(), 0..300)
        ) {
            let message = to_worker(&name, number, kind, shared);
            let bytes = frame(&message, &tail);
            prop_assert_eq!(decode::<ToWorker>(&bytes).expect("our own frame"), (message, &tail[..]));
        }

        #[test]
        fn foreign_bytes_are_an_error_or_a_message(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            // None of these may panic.
            let _ = decode::<ToPool>(&bytes);
            let mut framed = encode(&(), bytes.len()).expect("within the limits");
            framed.extend_from_slice(&bytes);
            let _ = decode::<ToPool>(&framed);
            let _ = decode::<ToWorker>(&framed);
        }

        #[test]
        fn a_cut_or_flipped_frame_never_becomes_a_longer_one(
            number: u64, kind: u8, tail in prop::collection::vec(any::<u8>(), 0..64), cut: prop::sample::Index, bit: prop::sample::Index
        ) {
            let bytes = frame(&to_worker("function", number, kind, true), &tail);
            let short = &bytes[..cut.index(bytes.len())];
            prop_assert!(decode::<ToWorker>(short).is_err());
            prop_assert!(matches!(split(short), Ok(None)));
            let mut flipped = bytes.clone();
            let bit = bit.index(bytes.len() * 8);
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Ok((_, tail)) = decode::<ToWorker>(&flipped) {
                prop_assert!(tail.len() < bytes.len());
            }
        }

        #[test]
        fn a_stream_of_frames_is_split_where_they_were_joined(tails in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..6)) {
            let mut stream = Vec::new();
            for tail in &tails {
                stream.extend(frame(&ToPool::Ready { identity: "x" }, tail));
            }
            let mut rest = &stream[..];
            for tail in &tails {
                let (body, length) = split(rest).expect("our own frame").expect("whole");
                let (_, found) = postcard::take_from_bytes::<ToPool>(body).expect("our own message");
                prop_assert_eq!(found, &tail[..]);
                rest = &rest[length..];
            }
            prop_assert!(rest.is_empty());
        }
    }

    #[test]
    fn another_version_is_named() {
        let mut bytes = frame(&ToPool::Ready { identity: "build" }, &[]);
        bytes[2..4].copy_from_slice(&7_u16.to_le_bytes());
        assert_eq!(decode::<ToPool>(&bytes), Err(WireError::Version { theirs: 7 }));
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_before_it_is_waited_for() {
        let mut bytes = frame(&ToPool::Ready { identity: "build" }, &[]);
        bytes[4..8].copy_from_slice(&(BODY_LIMIT as u32 + 1).to_le_bytes());
        assert_eq!(split(&bytes), Err(WireError::Length(BODY_LIMIT as u32 + 1)));
        assert!(encode(&(), INLINE_LIMIT + 1).is_err());
        assert!(encode(&"x".repeat(MESSAGE_LIMIT), 0).is_err());
    }

    #[test]
    fn what_nobody_encodes_is_not_decoded() {
        // Room in the body as a whole makes neither part longer than it may be.
        let name = "x".repeat(MESSAGE_LIMIT);
        let message = postcard::to_stdvec(&ToPool::Ready { identity: &name }).expect("text");
        let mut bytes = frame(&(), &message);
        assert!(matches!(decode::<ToPool>(&bytes), Err(WireError::Length(_))));
        bytes = frame(&(), &vec![0; INLINE_LIMIT]);
        bytes.extend_from_slice(&[0; 8]);
        bytes[4..HEADER].copy_from_slice(&(INLINE_LIMIT as u32 + 8).to_le_bytes());
        assert!(matches!(decode::<()>(&bytes), Err(WireError::Length(_))));
    }

    #[test]
    fn bytes_after_the_frame_are_refused() {
        let mut bytes = frame(&ToWorker::Close { job: 1 }, &[]);
        let frame = bytes.len();
        bytes.push(0);
        assert_eq!(decode::<ToWorker>(&bytes), Err(WireError::Packet { packet: frame + 1, frame }));
    }
}
