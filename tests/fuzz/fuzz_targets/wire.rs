//! What pool and worker say to each other: whatever came, a message that decodes is one that encodes to the same again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use multiprocessing::stream::{self, Piece, Pieces, Streamed, Tail, ToAgent, ToEngine};
use multiprocessing::wire::{self, FRAME_LIMIT, HEADER, INLINE_LIMIT, MESSAGE_LIMIT, ToPool, ToWorker};

/// A packet as a message of one kind. It is a macro because the message borrows from the packet.
macro_rules! packet {
    ($kind:ty, $packet:expr) => {
        let packet: &[u8] = $packet;
        if let Ok((message, tail)) = wire::decode::<$kind>(packet) {
            assert!(packet.ends_with(tail) && packet.len() <= FRAME_LIMIT);
            let mut frame = wire::encode(&message, tail.len()).expect("it came within the limits");
            assert!(frame.len() <= HEADER + MESSAGE_LIMIT);
            frame.extend_from_slice(tail);
            // Numbers may come with more bytes than they need, so the packet itself need not come out again.
            assert!(frame.len() <= packet.len());
            assert_eq!(wire::decode::<$kind>(&frame).expect("our own frame"), (message, tail));
        }
    };
}

/// What comes from another machine, as messages of one kind: a payload in parts has exactly the bytes that were announced.
fn stream<M: Streamed + serde::de::DeserializeOwned>(bytes: &[u8]) {
    let mut rest = stream::find_preamble(bytes).map_or(bytes, |start| &bytes[start..]);
    let (mut pieces, mut left) = (Pieces::default(), 0);
    while let Ok(Some((_, length))) = wire::split(rest) {
        let Ok((message, tail)) = wire::decode::<M>(&rest[..length]) else { return };
        rest = &rest[length..];
        match pieces.take(&message, tail.len()) {
            Err(_) => return,
            Ok(Piece::Whole) => {
                assert!(matches!(message.tail(), Tail::Whole) || message.tail() == Tail::Payload(tail.len() as u64))
            }
            Ok(Piece::Begins) => {
                assert_eq!((left, tail.len()), (0, 0));
                let Tail::Payload(announced) = message.tail() else { panic!("it announces none") };
                left = announced;
                assert!(left > INLINE_LIMIT as u64 && left <= stream::PAYLOAD_LIMIT);
            }
            Ok(piece) => {
                left = left.checked_sub(tail.len() as u64).expect("never more than was announced");
                assert_eq!(piece == Piece::Last, left == 0);
            }
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    stream::<ToAgent>(bytes);
    stream::<ToEngine>(bytes);
    // As they are; and with a header of our own, which is hard to guess.
    let mut framed = wire::encode(&(), bytes.len().min(INLINE_LIMIT)).expect("within the limits");
    framed.extend_from_slice(&bytes[..bytes.len().min(INLINE_LIMIT)]);
    for bytes in [bytes, &framed] {
        packet!(ToWorker, bytes);
        packet!(ToPool, bytes);
    }
    // A stream of them: what is split off is what its header says, and the rest is looked at alike.
    let mut rest = bytes;
    while let Ok(Some((body, length))) = wire::split(rest) {
        assert_eq!(body.len() + HEADER, length);
        assert!(length <= FRAME_LIMIT);
        rest = &rest[length..];
    }
});
