//! What the pool and a worker on another machine say to each other: frames over a stream of bytes.
//!
//! Each side begins with [`PREAMBLE`], which stays as it is in every version; whatever stands before it is noise, such as the
//! greeting of a login shell. After it come frames as [`wire`](crate::wire) makes them, whose messages are
//! [`ToAgent`] and [`ToEngine`]. The far side is an *agent*: it has a pool of one worker of its own and passes tasks on, so
//! that the connection outlives that worker and each task's error is told in full.
//!
//! A payload of up to [`INLINE_LIMIT`] bytes is its frame's tail. A larger one follows its frame in [`Part`](ToAgent::Part)
//! frames, and until it is whole no other message with a payload may begin; those without one may stand in between, so that a
//! cancellation does not wait behind a gigabyte, nor does a record of the log.
//!
//! All of this is pure: bytes in, values out. Foreign bytes give an error, never a panic, and nothing is allocated by what a
//! length field claims.

use crate::wire::INLINE_LIMIT;
use serde::{Deserialize, Serialize};

/// What each side says first.
pub const PREAMBLE: [u8; 16] = *b"\0multiprocessing";

/// How many bytes may stand before the preamble.
pub const NOISE_LIMIT: usize = 64 * 1024;

/// The longest payload, in bytes.
pub const PAYLOAD_LIMIT: u64 = 16 << 30;

/// What the pool says to an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToAgent {
    /// The first message: under what rules the worker is to live.
    Hello {
        /// The identity of the build that is needed.
        identity: String,
        /// How many bytes of its own memory the worker may take.
        memory_limit: Option<u64>,
        /// How long a task may run, in microseconds.
        task_timeout: Option<u64>,
        /// How long the worker may take until it is ready, in microseconds.
        start_timeout: u64,
        /// After so many microseconds without a sign of life either side takes the connection for lost.
        silence: u64,
        /// After so many tasks the worker is replaced.
        max_tasks: Option<u64>,
        /// Which records of the log are wanted: [`log::LevelFilter`] as a number.
        log_level: u8,
        /// The name and the schema of what each new worker calls first, whose argument is the payload.
        initializer: Option<(String, u64)>,
        /// Bytes of the payload.
        length: u64,
    },
    /// A job that tasks will name, with its set-up message as the payload.
    Open {
        /// The job's number, never used twice in a pool.
        job: u64,
        /// The name of the registered function.
        function: String,
        /// What the pool takes the function's types for; 0 if it does not know.
        schema: u64,
        /// Bytes of the payload.
        length: u64,
    },
    /// A task of a job that was opened before.
    Task {
        /// The job it belongs to.
        job: u64,
        /// The task's number; grows from task to task.
        sequence: u64,
        /// Bytes of the payload.
        length: u64,
    },
    /// More of the payload that is under way.
    Part,
    /// The tasks of this job are not wanted any more.
    Cancel {
        /// The job's number.
        job: u64,
    },
    /// No more tasks of this job will come.
    Close {
        /// The job's number.
        job: u64,
    },
    /// How long a task may run from now on, in microseconds.
    TaskTimeout {
        /// `None`: as long as it likes.
        limit: Option<u64>,
    },
    /// A sign of life.
    Beat,
    /// The worker is to end, whatever it does. The agent sends what there is of its log, and closes the connection.
    End,
}

/// What an agent says to its pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToEngine {
    /// The answer to `Hello`, at once: who is there. The worker's start follows.
    Here {
        /// The identity of the agent's build, which is its worker's.
        identity: String,
        /// The name of its machine.
        host: String,
        /// The agent's process.
        pid: u32,
    },
    /// Its worker is ready.
    Ready {
        /// Bytes of the worker's own memory, if they can be told.
        memory: Option<u64>,
    },
    /// It has no worker; the payload says why, as UTF-8. The connection ends with this.
    Failed {
        /// Bytes of the payload.
        length: u64,
    },
    /// A task has ended. The payload is its value, or an error.
    Ended {
        /// The task's number.
        sequence: u64,
        /// Whether the payload is a value.
        good: bool,
        /// How many of the agent's workers have died so far, or had to be killed.
        deaths: u64,
        /// Bytes of the worker's own memory, if they can be told.
        memory: Option<u64>,
        /// Bytes of the payload.
        length: u64,
    },
    /// More of the payload that is under way.
    Part,
    /// A sign of life.
    Beat {
        /// Bytes of the worker's own memory, if they can be told.
        memory: Option<u64>,
    },
    /// A record of the log. The tail is a [`LogText`](crate::wire::LogText) in postcard's encoding, and no payload.
    Log {
        /// Its level: [`log::Level`] as a number.
        level: u8,
        /// The line of the source file, if it is known.
        line: Option<u32>,
    },
}

/// What a frame's tail is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// A payload of so many bytes, or none of it if it is a large one.
    Payload(u64),
    /// A part of the payload that is under way.
    Part,
    /// All there is of something that is no payload.
    Whole,
}

/// A message, as far as the stream is concerned.
pub trait Streamed {
    /// What its frame's tail is.
    fn tail(&self) -> Tail;
}

impl Streamed for ToAgent {
    fn tail(&self) -> Tail {
        match self {
            ToAgent::Hello { length, .. } | ToAgent::Open { length, .. } | ToAgent::Task { length, .. } => {
                Tail::Payload(*length)
            }
            ToAgent::Part => Tail::Part,
            _ => Tail::Payload(0),
        }
    }
}

impl Streamed for ToEngine {
    fn tail(&self) -> Tail {
        match self {
            ToEngine::Failed { length } | ToEngine::Ended { length, .. } => Tail::Payload(*length),
            ToEngine::Part => Tail::Part,
            ToEngine::Log { .. } => Tail::Whole,
            _ => Tail::Payload(0),
        }
    }
}

/// A stream that keeps no rule of this protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// A payload beyond [`PAYLOAD_LIMIT`].
    #[error("a payload of {0} bytes, where {PAYLOAD_LIMIT} are the limit")]
    Length(u64),
    /// A frame's tail is not what its message announces.
    #[error("a frame with {found} bytes of a payload, where {expected} were announced")]
    Tail {
        /// Bytes in the tail.
        found: usize,
        /// Bytes that it should have, or may have at most if it is a part.
        expected: u64,
    },
    /// A part of nothing, or an empty one.
    #[error("a part of no payload")]
    Part,
    /// A payload begins before the one before it is whole.
    #[error("a payload in the middle of another")]
    Interleaved,
}

/// What to do with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// The message is whole, with its tail.
    Whole,
    /// A payload begins that is not in the tail.
    Begins,
    /// The tail is a part of the payload that is under way, which goes on.
    More,
    /// The tail is the last part of the payload that is under way.
    Last,
}

/// Keeps the rules of payloads that travel in parts.
///
/// ```
/// use multiprocessing::stream::{Piece, Pieces, ToAgent};
///
/// let mut pieces = Pieces::default();
/// let task = ToAgent::Task { job: 1, sequence: 1, length: 100_000 };
/// assert_eq!(pieces.take(&task, 0), Ok(Piece::Begins));
/// assert_eq!(pieces.take(&ToAgent::Part, 60_000), Ok(Piece::More));
/// assert_eq!(pieces.take(&ToAgent::Cancel { job: 1 }, 0), Ok(Piece::Whole));
/// assert_eq!(pieces.take(&ToAgent::Part, 40_000), Ok(Piece::Last));
/// assert!(pieces.take(&ToAgent::Part, 1).is_err());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Pieces {
    left: u64,
}

impl Pieces {
    /// Takes the next frame's message, with so many bytes in the frame's tail.
    ///
    /// # Errors
    /// The frame should not be here, or is not what it claims.
    pub fn take(&mut self, message: &impl Streamed, tail: usize) -> Result<Piece, StreamError> {
        let found = tail as u64;
        match message.tail() {
            Tail::Part if self.left == 0 || tail == 0 => Err(StreamError::Part),
            Tail::Part if found > self.left => Err(StreamError::Tail { found: tail, expected: self.left }),
            Tail::Part => {
                self.left -= found;
                Ok(if self.left == 0 { Piece::Last } else { Piece::More })
            }
            Tail::Payload(length) if length > PAYLOAD_LIMIT => Err(StreamError::Length(length)),
            Tail::Payload(length) if length > 0 && self.left > 0 => Err(StreamError::Interleaved),
            Tail::Payload(length) if length > INLINE_LIMIT as u64 => {
                if tail > 0 {
                    return Err(StreamError::Tail { found: tail, expected: 0 });
                }
                self.left = length;
                Ok(Piece::Begins)
            }
            Tail::Payload(length) if length != found => Err(StreamError::Tail { found: tail, expected: length }),
            Tail::Payload(_) | Tail::Whole => Ok(Piece::Whole),
        }
    }
}

/// Finds the preamble in what has come so far: where the frames begin. `None` if it is not whole yet.
pub fn find_preamble(bytes: &[u8]) -> Option<usize> {
    bytes.windows(PREAMBLE.len()).position(|window| window == PREAMBLE).map(|start| start + PREAMBLE.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_payload_is_whole_after_exactly_its_bytes(parts in prop::collection::vec(1..=INLINE_LIMIT, 2..20)) {
            let length: usize = parts.iter().sum();
            prop_assume!(length > INLINE_LIMIT);
            let mut pieces = Pieces::default();
            let begin = ToEngine::Ended { sequence: 1, good: true, deaths: 0, memory: None, length: length as u64 };
            prop_assert_eq!(pieces.take(&begin, 0), Ok(Piece::Begins));
            for (number, part) in parts.iter().enumerate() {
                prop_assert_eq!(pieces.take(&ToEngine::Beat { memory: None }, 0), Ok(Piece::Whole));
                prop_assert_eq!(pieces.take(&ToEngine::Log { level: 1, line: None }, *part), Ok(Piece::Whole));
                prop_assert_eq!(pieces.take(&begin, 0), Err(StreamError::Interleaved));
                let expected = if number + 1 == parts.len() { Piece::Last } else { Piece::More };
                prop_assert_eq!(pieces.take(&ToEngine::Part, *part), Ok(expected));
            }
            prop_assert_eq!(pieces.take(&ToEngine::Part, 1), Err(StreamError::Part));
        }

        #[test]
        fn the_preamble_is_found_behind_any_noise(noise in prop::collection::vec(any::<u8>(), 0..300), rest: [u8; 8]) {
            let bytes = [&noise[..], &PREAMBLE, &rest].concat();
            let found = find_preamble(&bytes).expect("it is there");
            prop_assert!(found <= noise.len() + PREAMBLE.len());
            prop_assert!(find_preamble(&bytes[..found - 1]).is_none());
        }
    }

    #[test]
    fn what_is_not_announced_is_refused() {
        let mut pieces = Pieces::default();
        let task = |length| ToAgent::Task { job: 1, sequence: 1, length };
        assert_eq!(pieces.take(&task(PAYLOAD_LIMIT + 1), 0), Err(StreamError::Length(PAYLOAD_LIMIT + 1)));
        assert_eq!(pieces.take(&task(7), 8), Err(StreamError::Tail { found: 8, expected: 7 }));
        assert_eq!(pieces.take(&task(100_000), 8), Err(StreamError::Tail { found: 8, expected: 0 }));
        assert_eq!(pieces.take(&ToAgent::Beat, 1), Err(StreamError::Tail { found: 1, expected: 0 }));
        assert_eq!(pieces.take(&task(100_000), 0), Ok(Piece::Begins));
        assert_eq!(pieces.take(&ToAgent::Part, 0), Err(StreamError::Part));
        for _ in 0..1 {
            assert_eq!(pieces.take(&ToAgent::Part, 65_536), Ok(Piece::More));
        }
        assert!(pieces.take(&ToAgent::Part, 65_536).is_err());
    }
}
