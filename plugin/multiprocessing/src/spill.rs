//! Values on their way into sealed memory and out of it, piece by piece: so that a large value and its encoded form are not both
//! in this process's memory.

use crate::memory::SealedMemory;
use postcard::{Error, Result, de_flavors, ser_flavors};
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;

/// So many bytes are gathered before they are written.
const PIECE: usize = 64 * 1024;
/// So many bytes are read before they are passed over.
const DRAIN: usize = 1 << 20;

/// What a value was encoded to.
#[derive(Debug)]
pub(crate) struct Spilled {
    pub(crate) place: Place,
    /// How many bytes there are.
    pub(crate) length: usize,
}

#[derive(Debug)]
pub(crate) enum Place {
    Here(Vec<u8>),
    Memory(OwnedFd),
}

/// Encodes to a vector, and to sealed memory as soon as there are more bytes than the limit. Where no memory file can be made,
/// it stays with the vector.
#[derive(Debug)]
pub(crate) struct Spill {
    limit: usize,
    buffer: Vec<u8>,
    file: Option<File>,
    /// How many bytes are in the file.
    written: usize,
}

impl Spill {
    pub(crate) fn new(limit: usize) -> Spill {
        Spill { limit, buffer: Vec::new(), file: None, written: 0 }
    }

    /// Makes room for so many bytes more.
    #[cold]
    fn spill(&mut self) -> Result<()> {
        if self.file.is_none() {
            match SealedMemory::begin() {
                Ok(file) => self.file = Some(file),
                Err(_) => self.limit = usize::MAX,
            }
        }
        if let Some(file) = &mut self.file {
            file.write_all(&self.buffer).map_err(|_| Error::SerializeBufferFull)?;
            self.written += self.buffer.len();
            self.buffer.clear();
            self.limit = PIECE;
        }
        Ok(())
    }
}

// Most calls are for a byte or two, and come from other crates.
impl ser_flavors::Flavor for Spill {
    type Output = Spilled;

    #[inline]
    fn try_push(&mut self, byte: u8) -> Result<()> {
        if self.buffer.len() >= self.limit {
            self.spill()?;
        }
        self.buffer.push(byte);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> Result<()> {
        if bytes.len() > self.limit.saturating_sub(self.buffer.len()) {
            self.spill()?;
            if let Some(file) = self.file.as_mut().filter(|_| bytes.len() >= PIECE) {
                file.write_all(bytes).map_err(|_| Error::SerializeBufferFull)?;
                self.written += bytes.len();
                return Ok(());
            }
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(mut self) -> Result<Spilled> {
        let length = self.written + self.buffer.len();
        if self.file.is_none() {
            return Ok(Spilled { place: Place::Here(self.buffer), length });
        }
        self.spill()?;
        let memory = self.file.map(SealedMemory::finish).and_then(|memory| memory.ok());
        memory.map(|memory| Spilled { place: Place::Memory(memory), length }).ok_or(Error::SerializeBufferFull)
    }
}

/// Decodes from sealed memory, whose pages count as this process's memory only while they are being read.
#[derive(Debug)]
pub(crate) struct Drain<'a> {
    memory: &'a SealedMemory,
    /// What is read next, and where in the memory it ends.
    window: &'a [u8],
    end: usize,
    /// Up to here it was passed over.
    passed: usize,
}

impl<'a> Drain<'a> {
    pub(crate) fn new(memory: &'a SealedMemory) -> Drain<'a> {
        Drain { memory, window: &[], end: 0, passed: 0 }
    }

    /// Moves the window on, which is too small for so many bytes. Returns those.
    #[cold]
    fn advance(&mut self, count: usize) -> Result<&'a [u8]> {
        let at = self.end - self.window.len();
        if at - self.passed >= DRAIN {
            self.memory.pass_over(self.passed, at);
            self.passed = at / DRAIN * DRAIN;
        }
        let after = at.checked_add(count).ok_or(Error::DeserializeUnexpectedEnd)?;
        let bytes = self.memory.get(at..after).ok_or(Error::DeserializeUnexpectedEnd)?;
        self.end = after.saturating_add(DRAIN).min(self.memory.len());
        self.window = &self.memory[after..self.end];
        Ok(bytes)
    }
}

// Most calls are for a byte or two, and come from other crates.
impl<'de> de_flavors::Flavor<'de> for Drain<'de> {
    type Remainder = ();
    type Source = ();

    #[inline]
    fn pop(&mut self) -> Result<u8> {
        match self.window.split_first() {
            Some((byte, rest)) => {
                self.window = rest;
                Ok(*byte)
            }
            None => self.advance(1).map(|bytes| bytes[0]),
        }
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.memory.len() - self.end + self.window.len())
    }

    #[inline]
    fn try_take_n(&mut self, count: usize) -> Result<&'de [u8]> {
        match self.window.split_at_checked(count) {
            Some((bytes, rest)) => {
                self.window = rest;
                Ok(bytes)
            }
            None => self.advance(count),
        }
    }

    fn finalize(self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;
    use proptest::prelude::*;
    use serde_bytes::ByteBuf;

    proptest! {
        #[test]
        fn what_spills_is_what_would_not_have(
            sizes in prop::collection::vec(0_usize..200_000, 0..8), numbers in prop::collection::vec(any::<u64>(), 0..300), limit in 0_usize..300_000
        ) {
            let buffers: Vec<ByteBuf> = sizes.iter().map(|size| ByteBuf::from(vec![*size as u8; *size])).collect();
            let value = (numbers.clone(), buffers, numbers);
            let plain = codec::encode(&value).expect("plain data").bytes;
            let (spilled, _) = codec::encode_with(&value, Spill::new(limit)).expect("plain data");
            prop_assert_eq!(spilled.length, plain.len());
            match spilled.place {
                Place::Here(bytes) => prop_assert!(bytes == plain && plain.len() <= limit.max(1)),
                Place::Memory(memory) => {
                    let memory = SealedMemory::from_descriptor(memory).expect("our own");
                    prop_assert!(*memory == plain);
                    let decoded: (Vec<u64>, Vec<ByteBuf>, Vec<u64>) =
                        codec::decode_with(Drain::new(&memory), Vec::new()).expect("our own");
                    prop_assert!(decoded == value);
                }
            }
        }
    }

    #[test]
    fn what_is_cut_is_an_error() {
        let (spilled, _) = codec::encode_with(&vec![7_u64; 100_000], Spill::new(10)).expect("plain data");
        let Place::Memory(memory) = spilled.place else { panic!("it is more than ten bytes") };
        let memory = SealedMemory::from_descriptor(memory).expect("our own");
        let cut =
            SealedMemory::from_descriptor(SealedMemory::descriptor(&memory[..50_000]).expect("memory")).expect("ours");
        assert!(codec::decode_with::<Vec<u64>, _>(Drain::new(&cut), Vec::new()).is_err());
        assert!(codec::decode_with::<ByteBuf, _>(Drain::new(&cut), Vec::new()).is_err());
    }
}
