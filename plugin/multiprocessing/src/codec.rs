//! Values as messages: bytes in postcard's encoding, and beside them the descriptors that the values refer to.
//!
//! What is shared between processes (a queue, a lock, shared memory) is known to them by descriptors, which the kernel hands
//! over beside a packet's bytes. So that such a handle can be a part of any message, it is a [`Descriptor`] to serde: the bytes
//! hold a number, and the descriptors travel in a list.

use postcard::{de_flavors, ser_flavors};
use serde::de::{DeserializeOwned, Error as _};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cell::RefCell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A value that was encoded.
#[derive(Debug, Default)]
pub struct Message {
    /// In postcard's encoding.
    pub bytes: Vec<u8>,
    /// What the value's handles refer to, in the order in which the bytes name them.
    pub descriptors: Vec<OwnedFd>,
}

impl Message {
    /// A value that refers to no descriptor.
    pub fn plain(bytes: Vec<u8>) -> Message {
        Message { bytes, descriptors: Vec::new() }
    }
}

/// Why a value could not be made a message, or a message a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CodecError(String);

impl CodecError {
    pub(crate) fn new(reason: String) -> CodecError {
        CodecError(reason)
    }

    /// For bytes that come from somebody who does not speak as this library does.
    pub(crate) fn foreign() -> CodecError {
        CodecError("the bytes are no message of this library".into())
    }
}

thread_local! {
    /// What the value that is being encoded has referred to so far.
    static OUTGOING: RefCell<Option<Vec<OwnedFd>>> = const { RefCell::new(None) };
    /// What came with the message that is being decoded.
    static INCOMING: RefCell<Vec<Option<OwnedFd>>> = const { RefCell::new(Vec::new()) };
}

/// Encodes a value. Its descriptors are duplicates, so the value can be dropped.
///
/// # Errors
/// The value refuses; or the process has no descriptor left.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Message, CodecError> {
    let before = OUTGOING.replace(Some(Vec::new()));
    let bytes = postcard::to_stdvec(value);
    let descriptors = OUTGOING.replace(before).unwrap_or_default();
    Ok(Message { bytes: bytes.map_err(|error| CodecError(describe(&error)))?, descriptors })
}

/// Encodes a value for where no descriptor can travel.
///
/// # Errors
/// The value refuses, or has a handle in it.
pub(crate) fn encode_plain<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CodecError> {
    let before = OUTGOING.replace(None);
    let bytes = postcard::to_stdvec(value);
    OUTGOING.replace(before);
    bytes.map_err(|error| CodecError(describe(&error)))
}

/// As [`encode`], into whatever the flavor makes of it; beside that the descriptors.
pub(crate) fn encode_with<T: Serialize + ?Sized, F: ser_flavors::Flavor>(
    value: &T,
    flavor: F,
) -> Result<(F::Output, Vec<OwnedFd>), CodecError> {
    let before = OUTGOING.replace(Some(Vec::new()));
    let output = postcard::serialize_with_flavor(value, flavor);
    let descriptors = OUTGOING.replace(before).unwrap_or_default();
    Ok((output.map_err(|error| CodecError(describe(&error)))?, descriptors))
}

/// As [`decode`], from whatever the flavor takes the bytes from.
pub(crate) fn decode_with<'de, T: DeserializeOwned, F: de_flavors::Flavor<'de>>(
    flavor: F,
    descriptors: Vec<OwnedFd>,
) -> Result<T, CodecError> {
    let descriptors = descriptors.into_iter().map(Some).collect();
    let before = INCOMING.replace(descriptors);
    let value = T::deserialize(&mut postcard::Deserializer::from_flavor(flavor));
    drop(INCOMING.replace(before));
    value.map_err(|error| CodecError(describe(&error)))
}

/// Decodes a value from a message's bytes and descriptors. Descriptors that the bytes do not name are closed.
///
/// # Errors
/// The bytes are not such a value, or name descriptors that did not come with them.
pub fn decode<T: DeserializeOwned>(bytes: &[u8], descriptors: Vec<OwnedFd>) -> Result<T, CodecError> {
    decode_with(de_flavors::Slice::new(bytes), descriptors)
}

/// postcard drops the text of errors that values raise themselves; what it says of its own is clear.
fn describe(error: &postcard::Error) -> String {
    match error {
        postcard::Error::SerdeSerCustom => {
            "the value refuses to be encoded, or is a handle where none can travel".into()
        }
        postcard::Error::SerdeDeCustom => "the bytes are no such value, or a handle came without its descriptor".into(),
        other => other.to_string(),
    }
}

/// A descriptor as a part of a message, as which it becomes a descriptor of the receiving process.
///
/// It can be encoded by [`encode`] only: a descriptor means nothing in a file, or on another machine.
///
/// ```
/// use multiprocessing::codec::{Descriptor, decode, encode};
/// use std::io::{Read, Write};
///
/// let (mut reader, writer) = std::io::pipe()?;
/// let message = encode(&("a pipe", Descriptor::from(writer)))?;
/// let (name, writer): (String, Descriptor) = decode(&message.bytes, message.descriptors)?;
/// std::fs::File::from(writer.into_inner()).write_all(name.as_bytes())?;
/// let mut text = String::new();
/// reader.read_to_string(&mut text)?;
/// assert_eq!(text, "a pipe");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Descriptor(OwnedFd);

impl Descriptor {
    /// The descriptor itself.
    pub fn into_inner(self) -> OwnedFd {
        self.0
    }
}

impl<T: Into<OwnedFd>> From<T> for Descriptor {
    fn from(descriptor: T) -> Descriptor {
        Descriptor(descriptor.into())
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Serialize for Descriptor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_descriptor(self.as_fd(), serializer)
    }
}

impl<'de> Deserialize<'de> for Descriptor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Descriptor, D::Error> {
        let index = u32::deserialize(deserializer)? as usize;
        let found = INCOMING.with_borrow_mut(|incoming| incoming.get_mut(index).and_then(Option::take));
        found.map(Descriptor).ok_or_else(|| D::Error::custom("a descriptor that did not come with the message"))
    }
}

/// Encodes a descriptor that is only borrowed; it is decoded as a [`Descriptor`].
///
/// # Errors
/// It is not [`encode`] that is encoding; or the process has no descriptor left.
pub fn serialize_descriptor<S: Serializer>(descriptor: BorrowedFd<'_>, serializer: S) -> Result<S::Ok, S::Error> {
    let index = OUTGOING.with_borrow_mut(|outgoing| {
        let outgoing = outgoing.as_mut().ok_or("a descriptor outside of a message between processes")?;
        outgoing.push(descriptor.try_clone_to_owned().map_err(|_| "no descriptor is left")?);
        Ok(outgoing.len() - 1)
    });
    let index: usize = index.map_err(|text: &str| S::Error::custom(text))?;
    serializer.serialize_u32(index as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_travel_beside_the_bytes() {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let message = encode(&vec![Descriptor::from(reader), Descriptor::from(writer)]).expect("descriptors");
        assert_eq!(message.descriptors.len(), 2);
        let ends: Vec<Descriptor> = decode(&message.bytes, message.descriptors).expect("our own");
        assert_eq!(ends.len(), 2);
    }

    #[test]
    fn a_descriptor_is_taken_once_and_only_if_it_came() {
        let (reader, _writer) = std::io::pipe().expect("a pipe");
        let bytes = postcard::to_stdvec(&[0_u32, 0]).expect("numbers");
        assert!(decode::<(Descriptor, Descriptor)>(&bytes, vec![reader.into()]).is_err());
        assert!(decode::<Descriptor>(&[0], Vec::new()).is_err());
    }

    #[test]
    fn elsewhere_a_descriptor_is_refused() {
        let (reader, _writer) = std::io::pipe().expect("a pipe");
        assert!(postcard::to_stdvec(&Descriptor::from(reader)).is_err());
        assert_eq!(encode(&7_u8).expect("a number").bytes, [7]);
    }
}
