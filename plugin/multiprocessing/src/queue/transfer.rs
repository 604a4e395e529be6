//! Putting into a queue, and getting out of it.

use super::core::{Core, Held, NotHeld, Putting};
use crate::message::{self, MESSAGE_LIMIT, RecvError, SendError, Sink, WITH_HANDLES};
use crate::ring::{Producer, Stream};
use crate::sync::word::Until;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// How long no part of a message that has begun comes before it is asked whether its producer is there. It is more
/// than a tick of the kernel's clock: the alarm of a shorter sleep would be set in the processor's own timer, and taken back, at
/// each part, which costs several times what the sleep itself does.
const DOUBT: Duration = Duration::from_millis(20);

/// How much space a thread keeps for its next message.
const KEPT: usize = 1 << 20;

thread_local! {
    static SPACE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Runs with this thread's space, which is lent to one at a time.
fn with_space<R>(run: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    let mut space = SPACE.take();
    let result = run(&mut space);
    if space.capacity() <= KEPT {
        SPACE.set(space);
    }
    result
}

/// What is there to be put.
enum Item<'a> {
    /// Bytes, and the handles that they name.
    Small(&'a mut Vec<u8>, Vec<OwnedFd>),
    Raw(&'a [u8]),
}

impl Core {
    pub(super) fn put<T: Serialize + 'static>(&self, value: &T, until: Until) -> Result<(), SendError> {
        if let Some(bytes) = message::raw(value) {
            return self.put_item(Item::Raw(bytes), until);
        }
        with_space(|space| {
            let mut large = TooLarge(false);
            match message::encode(value, space, &mut large) {
                Err(_) if large.0 => self.put_large(value, space, until),
                Err(error) => Err(error),
                Ok(handles) => self.put_item(Item::Small(space, handles), until),
            }
        })
    }

    fn put_item(&self, mut item: Item<'_>, until: Until) -> Result<(), SendError> {
        let mut patient = true;
        loop {
            let mut held = self.open_end(until)?;
            let bytes = match &item {
                Item::Small(bytes, handles) => bytes.len() + if handles.is_empty() { 0 } else { 8 },
                Item::Raw(bytes) => bytes.len(),
            };
            if bytes > self.piece() {
                // It goes in pieces, for which this alone is waiting: others that put wait for it.
                return self.put_in_pieces(held, item, until);
            }
            if self.view.has_room(bytes, self.messages) && self.push(&mut held, &mut item)? {
                drop(held);
                self.note_put();
                return Ok(());
            }
            drop(held);
            if until.is_over() {
                return Err(SendError::Full);
            }
            self.await_room(bytes, until, patient);
            patient = false;
        }
    }

    fn push(&self, held: &mut Held<'_, Putting>, item: &mut Item<'_>) -> Result<bool, SendError> {
        let Putting { producer, line } = &mut *held.end;
        match item {
            Item::Raw(bytes) => Ok(producer.try_push(&[bytes], 0)?),
            Item::Small(bytes, handles) if handles.is_empty() => Ok(producer.try_push(&[bytes], 0)?),
            Item::Small(bytes, handles) => match line.send_handles(handles, Until::Now) {
                Ok(nonce) => Ok(producer.try_push(&[bytes, &nonce.to_le_bytes()], WITH_HANDLES)?),
                Err(SendError::Full) => Ok(false),
                Err(error) => Err(error),
            },
        }
    }

    fn put_in_pieces(&self, mut held: Held<'_, Putting>, item: Item<'_>, until: Until) -> Result<(), SendError> {
        let Putting { producer, line } = &mut *held.end;
        let mut way = Way { core: self, stream: producer.stream(), until };
        match item {
            Item::Raw(bytes) if bytes.len() > MESSAGE_LIMIT => Err(SendError::TooLarge),
            Item::Raw(bytes) => way.finish(bytes, 0),
            Item::Small(bytes, handles) if handles.is_empty() => way.finish(bytes, 0),
            Item::Small(bytes, handles) => {
                let nonce = line.send_handles(&handles, until)?;
                way.write(bytes)?;
                way.finish(&nonce.to_le_bytes(), WITH_HANDLES)
            }
        }
    }

    /// Puts a value that is too large to be encoded beforehand.
    fn put_large<T: Serialize + 'static>(&self, value: &T, space: &mut Vec<u8>, until: Until) -> Result<(), SendError> {
        let mut held = self.open_end(until)?;
        let Putting { producer, line } = &mut *held.end;
        let mut way = Way { core: self, stream: producer.stream(), until };
        let handles = message::encode(value, space, &mut way)?;
        let mut tag = 0;
        if !handles.is_empty() {
            let nonce = line.send_handles(&handles, until)?;
            space.extend_from_slice(&nonce.to_le_bytes());
            tag = WITH_HANDLES;
        }
        way.finish(space, tag)
    }

    /// The putting end, of a queue that is not closed.
    fn open_end(&self, until: Until) -> Result<Held<'_, Putting>, SendError> {
        if self.is_closed() {
            return Err(SendError::Closed);
        }
        // Somebody holds it for a moment only, unless it puts a large message. To wait for that moment is not to wait.
        let until = if let Until::Now = until { Until::after(Duration::from_millis(1)) } else { until };
        self.put_end(until).map_err(|not| match not {
            NotHeld::TimedOut => SendError::Full,
            NotHeld::Broken => SendError::Broken,
        })
    }

    /// The largest message that is put as a whole.
    fn piece(&self) -> usize {
        self.capacity() / 4
    }

    pub(super) fn get<T: DeserializeOwned + 'static>(&self, until: Until) -> Result<T, RecvError> {
        with_space(|space| {
            let handles = self.take(space, until)?;
            Ok(message::decode(space, handles?)?)
        })
    }

    /// Takes a message. The inner error is one of that message only.
    fn take(&self, space: &mut Vec<u8>, until: Until) -> Result<Result<Vec<OwnedFd>, RecvError>, RecvError> {
        loop {
            // What is put before the queue is closed can be got afterwards.
            let closed = self.is_closed();
            let patience = if let Until::Now = until { Until::after(Duration::from_millis(1)) } else { until };
            let mut held = self.get_end(patience).map_err(|not| match not {
                NotHeld::TimedOut => RecvError::Empty,
                NotHeld::Broken => RecvError::Broken,
            })?;
            let mut taken = held.end.consumer.try_pop(space)?;
            let mut doubt = Instant::now();
            while taken.is_none() && held.end.consumer.is_gathering() {
                held.end.consumer.sleep(Some(doubt + DOUBT), None);
                if held.end.consumer.has_record()? {
                    doubt = Instant::now();
                } else if doubt.elapsed() >= DOUBT && self.is_nobody_putting() && !held.end.consumer.has_record()? {
                    held.end.consumer.abandon();
                }
                taken = held.end.consumer.try_pop(space)?;
            }
            if let Some(tag) = taken {
                let handles = if tag == WITH_HANDLES {
                    let nonce = message::nonce(space).ok_or(RecvError::Broken)?;
                    held.end.line.handles(nonce)
                } else {
                    Ok(Vec::new())
                };
                self.note_got();
                drop(held);
                self.note_room();
                return Ok(handles);
            }
            drop(held);
            if closed {
                return Err(RecvError::Closed);
            }
            if until.is_over() {
                return Err(RecvError::Empty);
            }
            self.await_item(until);
        }
    }
}

/// Finds out that a value is large.
struct TooLarge(bool);

impl Sink for TooLarge {
    fn write(&mut self, _: &[u8]) -> Result<(), SendError> {
        self.0 = true;
        Err(SendError::TooLarge)
    }
}

/// A message on its way in pieces, with the putting end held.
struct Way<'a> {
    core: &'a Core,
    stream: Stream<'a>,
    until: Until,
}

impl Way<'_> {
    fn finish(mut self, rest: &[u8], tag: u8) -> Result<(), SendError> {
        self.write(rest)?;
        let (core, until) = (self.core, self.until);
        self.stream.finish(tag, &mut |producer, units| await_room(core, producer, units, until))?;
        core.note_put();
        Ok(())
    }
}

impl Sink for Way<'_> {
    fn write(&mut self, mut bytes: &[u8]) -> Result<(), SendError> {
        let (core, until) = (self.core, self.until);
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(core.piece().min(bytes.len()));
            self.stream.write(now, &mut |producer, units| await_room(core, producer, units, until))?;
            // Who takes the first piece waits in the ring for the others.
            core.note_put();
            bytes = later;
        }
        Ok(())
    }
}

/// Waits in the ring itself for room.
fn await_room(core: &Core, producer: &mut Producer, units: u64, until: Until) -> Result<(), SendError> {
    loop {
        if producer.has_room(units)? {
            return Ok(());
        }
        if core.is_closed() {
            return Err(SendError::Closed);
        }
        if until.is_over() {
            return Err(SendError::Full);
        }
        producer.sleep_briefly(units, until.deadline())?;
    }
}
