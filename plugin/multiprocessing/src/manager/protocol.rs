//! What clients and managers say to each other: one message a request, one a response, in postcard's encoding.
//!
//! All of this is pure: bytes in, values out. Foreign bytes give an error, never a panic.

use super::error::Failure;
use serde::{Deserialize, Serialize};

/// The longest message, in bytes: what a method takes or returns must fit.
pub const MESSAGE_LIMIT: usize = 1 << 30;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request<'a> {
    /// The first message of a connection whose end is the end of all that was held through it. The answer is a
    /// [`Response::Number`], by which calls name what was held.
    Hello,
    /// Makes an object, or finds the one of this name; and holds it. The answer is its [`Response::Number`].
    Create {
        /// Of which type.
        wanted: Wanted<'a>,
        /// Under what name others find it, if under any.
        name: Option<&'a str>,
        /// What it is made from.
        #[serde(with = "serde_bytes")]
        arguments: &'a [u8],
    },
    /// Holds the object of this name. The answer is its [`Response::Number`].
    Find {
        /// Of which type.
        wanted: Wanted<'a>,
        /// Its name.
        name: &'a str,
    },
    /// Holds an object that somebody else holds. The answer is [`Response::Done`].
    Hold {
        /// The object's number.
        object: u64,
    },
    /// Lets go of an object. There is no answer.
    Release {
        /// The object's number.
        object: u64,
    },
    /// Takes an object's name away. The answer is a [`Response::Number`]: how many names that were.
    Forget {
        /// The name.
        name: &'a str,
    },
    /// How many objects there are: a [`Response::Number`].
    Count,
    /// Calls a method. The answer is its [`Response::Value`]. It may come through any connection.
    Call {
        /// The number that the answer to [`Request::Hello`] was.
        session: u64,
        /// The object's number.
        object: u64,
        /// The method's name.
        method: &'a str,
        /// The tuple of its arguments.
        #[serde(with = "serde_bytes")]
        arguments: &'a [u8],
    },
}

/// A type, as far as both sides must agree on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted<'a> {
    /// Its name.
    pub kind: &'a str,
    /// Its methods with their types.
    pub schema: &'a str,
    /// What it is of, for a container.
    pub parameters: &'a str,
}

/// What a manager answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response<'a> {
    /// It was done.
    Done,
    /// What was asked for, or what there is now, by its number.
    Number(u64),
    /// What a method has returned.
    Value(#[serde(with = "serde_bytes")] &'a [u8]),
    /// It could not be done.
    Failed(Failure),
}

/// A message for a value.
pub fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    postcard::to_stdvec(message).expect("these types have nothing that cannot be encoded")
}

/// The value of a message: of all of its bytes.
///
/// # Errors
/// The bytes are no such message.
pub fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, postcard::Error> {
    match postcard::take_from_bytes(bytes)? {
        (message, []) => Ok(message),
        _ => Err(postcard::Error::DeserializeBadEncoding),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn foreign_bytes_are_an_error_or_a_message(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(request) = decode::<Request>(&bytes) {
                let again = encode(&request);
                prop_assert_eq!(decode::<Request>(&again), Ok(request));
            }
            if let Ok(response) = decode::<Response>(&bytes) {
                let again = encode(&response);
                prop_assert_eq!(decode::<Response>(&again), Ok(response));
            }
        }

        #[test]
        fn what_is_encoded_is_decoded_and_only_whole(text in "\\PC{0,20}", number: u64, arguments in prop::collection::vec(any::<u8>(), 0..40)) {
            let request = Request::Call { session: number, object: 7, method: &text, arguments: &arguments };
            let bytes = encode(&request);
            prop_assert_eq!(decode::<Request>(&bytes), Ok(request));
            prop_assert!(decode::<Request>(&bytes[..bytes.len() - 1]).is_err());
            prop_assert!(decode::<Request>(&[&bytes[..], &[0]].concat()).is_err());
        }
    }
}
