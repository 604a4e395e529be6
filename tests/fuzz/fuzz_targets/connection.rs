//! What a peer says before anything is known of it: it is never believed without the key, and never makes anything panic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use multiprocessing::connection::framing::{Header, Start, start};
use multiprocessing::connection::{AuthKey, Handshake, Role};

fuzz_target!(|bytes: &[u8]| {
    for role in [Role::Listener, Role::Client] {
        let (mut handshake, _) = Handshake::new(role, &AuthKey::from("key")).expect("randomness");
        let mut rest = bytes;
        while let Ok(Start::Message { length, header }) = start(rest) {
            // A header that was read is the one that is written, unless it was longer than it needs to be.
            assert!(Header::of(length as usize).len() <= header && header <= rest.len());
            let end = usize::try_from(length).ok().and_then(|length| header.checked_add(length));
            let Some(message) = end.and_then(|end| rest.get(header..end)) else { break };
            let reply = handshake.receive(message).expect("randomness");
            assert!(!matches!(reply.outcome, Ok(true)), "it has no key");
            assert!(reply.send.is_none_or(|message| message.len() <= 256));
            rest = &rest[header + message.len()..];
        }
    }
});
