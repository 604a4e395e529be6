//! How two sides prove to each other that they have the same key, as CPython 3.12 and later do it.
//!
//! 1. The listener sends `#CHALLENGE#{sha256}` and 40 random bytes.
//! 2. The client sends `{sha256}` and the HMAC, by the key, of all that followed `#CHALLENGE#`.
//! 3. The listener sends `#WELCOME#`, or `#FAILURE#` and hangs up.
//! 4. The same again with the sides exchanged.
//!
//! CPython also takes HMAC-MD5, which is what versions before 3.12 know. That is refused here, on both sides.

use super::error::AuthenticationError;
use super::key::AuthKey;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::collections::HashSet;
use std::fmt;
use std::io;
use std::sync::{Mutex, PoisonError};
use subtle::ConstantTimeEq;

/// The longest message of a handshake, in bytes. A longer one is refused unread.
pub const MESSAGE_LIMIT: usize = 256;

const CHALLENGE: &[u8] = b"#CHALLENGE#";
const WELCOME: &[u8] = b"#WELCOME#";
const FAILURE: &[u8] = b"#FAILURE#";
const DIGEST: &[u8] = b"{sha256}";
/// Random bytes of a challenge.
const NONCE: usize = 40;
/// What a challenge must at least have behind its digest. It is a challenge of this length, without a digest, that CPython
/// before 3.12 sends.
const LEAST: usize = 20;
/// The lengths that mean MD5 where no digest is named: a challenge's, and an answer's.
const LEGACY: [usize; 2] = [20, 16];

/// Challenges, with the role of who sent each.
type Challenges = HashSet<(Role, Vec<u8>)>;

/// Challenges of this process that nobody has answered yet.
static PENDING: Mutex<Option<Challenges>> = Mutex::new(None);

/// Which side of a connection one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// It accepts the connection, and asks first.
    Listener,
    /// It made the connection, and is asked first.
    Client,
}

#[derive(Debug)]
enum State {
    /// The other side owes its answer to our challenge.
    Asked(Challenge),
    /// It is the other side's turn to ask.
    Listening,
    /// The other side owes its verdict on our answer.
    Answered,
    /// Nothing more may come.
    Over,
}

/// One side of a handshake, as a machine over messages: no socket, no clock.
///
/// ```
/// use multiprocessing::connection::{AuthKey, Handshake, Role};
///
/// let key = AuthKey::from("opensesame");
/// let (mut listener, first) = Handshake::new(Role::Listener, &key)?;
/// let (mut client, nothing) = Handshake::new(Role::Client, &key)?;
/// assert!(nothing.is_none());
/// let (mut message, mut to_client, mut sure) = (first, true, 0);
/// while let Some(text) = message {
///     let reply = if to_client { client.receive(&text)? } else { listener.receive(&text)? };
///     sure += usize::from(reply.outcome?);
///     message = reply.send;
///     to_client = !to_client;
/// }
/// assert_eq!(sure, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Handshake {
    key: AuthKey,
    role: Role,
    state: State,
}

/// What is to be done after a message.
#[derive(Debug)]
pub struct Reply {
    /// What to send, if anything, also on an error.
    pub send: Option<Vec<u8>>,
    /// Whether both sides are now sure of each other; or why this is the end.
    pub outcome: Result<bool, AuthenticationError>,
}

impl Handshake {
    /// Begins a handshake. The second part is what to send first.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn new(role: Role, key: &AuthKey) -> io::Result<(Handshake, Option<Vec<u8>>)> {
        let mut handshake = Handshake { key: key.clone(), role, state: State::Listening };
        let first = match role {
            Role::Listener => Some(handshake.ask()?),
            Role::Client => None,
        };
        Ok((handshake, first))
    }

    /// Takes a message of the other side.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn receive(&mut self, message: &[u8]) -> io::Result<Reply> {
        let refuse = |error| Ok(Reply { send: None, outcome: Err(error) });
        match std::mem::replace(&mut self.state, State::Over) {
            State::Listening => match self.answer(message) {
                Ok(answer) => {
                    self.state = State::Answered;
                    Ok(Reply { send: Some(answer), outcome: Ok(false) })
                }
                Err(error) => refuse(error),
            },
            State::Answered if message == WELCOME => match self.role {
                Role::Listener => Ok(Reply { send: None, outcome: Ok(true) }),
                Role::Client => Ok(Reply { send: Some(self.ask()?), outcome: Ok(false) }),
            },
            State::Answered if message == FAILURE => refuse(AuthenticationError::Refused),
            State::Asked(challenge) => match self.verify(&challenge, message) {
                Ok(()) if self.role == Role::Listener => {
                    self.state = State::Listening;
                    Ok(Reply { send: Some(WELCOME.to_vec()), outcome: Ok(false) })
                }
                Ok(()) => Ok(Reply { send: Some(WELCOME.to_vec()), outcome: Ok(true) }),
                Err(error) => Ok(Reply { send: Some(FAILURE.to_vec()), outcome: Err(error) }),
            },
            State::Answered | State::Over => refuse(AuthenticationError::Protocol),
        }
    }

    /// A new challenge, whose answer is now awaited.
    fn ask(&mut self) -> io::Result<Vec<u8>> {
        let challenge = Challenge::new(self.role)?;
        let message = [CHALLENGE, &challenge.text].concat();
        self.state = State::Asked(challenge);
        Ok(message)
    }

    /// The answer to a challenge.
    fn answer(&self, message: &[u8]) -> Result<Vec<u8>, AuthenticationError> {
        let challenge = message.strip_prefix(CHALLENGE).ok_or(AuthenticationError::Protocol)?;
        let nonce = payload(challenge)?;
        if nonce.len() < LEAST {
            return Err(AuthenticationError::Protocol);
        }
        // Whoever asks us what we ask them wants us to do their proof for them. A listener of this very process that asks a
        // client of it is no such thing, so the role counts.
        if Challenge::is_pending(self.role, challenge) {
            return Err(AuthenticationError::Reflected);
        }
        Ok([DIGEST, &self.mac(challenge)].concat())
    }

    /// Whether a message is the answer to our challenge.
    fn verify(&self, challenge: &Challenge, message: &[u8]) -> Result<(), AuthenticationError> {
        let answer = payload(message)?;
        if self.mac(&challenge.text).ct_eq(answer).into() { Ok(()) } else { Err(AuthenticationError::WrongKey) }
    }

    fn mac(&self, text: &[u8]) -> [u8; 32] {
        let mac = Hmac::<Sha256>::new_from_slice(self.key.as_bytes()).expect("HMAC takes a key of any length");
        mac.chain_update(text).finalize().into_bytes().into()
    }
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake").field("role", &self.role).finish_non_exhaustive()
    }
}

/// What follows the name of the digest, which must be ours.
fn payload(message: &[u8]) -> Result<&[u8], AuthenticationError> {
    if let Some(payload) = message.strip_prefix(DIGEST) {
        return Ok(payload);
    }
    if LEGACY.contains(&message.len()) {
        return Err(AuthenticationError::Legacy);
    }
    let named = message.strip_prefix(b"{").and_then(|rest| rest.split(|byte| *byte == b'}').next());
    match named {
        Some(b"md5") => Err(AuthenticationError::Legacy),
        Some(name) if name.len() < message.len() - 1 && name.len() <= 20 && name.is_ascii() => {
            Err(AuthenticationError::Digest(String::from_utf8_lossy(name).escape_debug().to_string()))
        }
        _ => Err(AuthenticationError::Protocol),
    }
}

/// A challenge of ours: noted as such until it is answered or given up.
struct Challenge {
    role: Role,
    text: Vec<u8>,
}

impl Challenge {
    fn new(role: Role) -> io::Result<Challenge> {
        let mut text = vec![0; DIGEST.len() + NONCE];
        text[..DIGEST.len()].copy_from_slice(DIGEST);
        getrandom::fill(&mut text[DIGEST.len()..]).map_err(io::Error::other)?;
        let mut pending = PENDING.lock().unwrap_or_else(PoisonError::into_inner);
        pending.get_or_insert_default().insert((role, text.clone()));
        Ok(Challenge { role, text })
    }

    fn is_pending(role: Role, text: &[u8]) -> bool {
        let pending = PENDING.lock().unwrap_or_else(PoisonError::into_inner);
        pending.as_ref().is_some_and(|pending| pending.contains(&(role, text.to_vec())))
    }
}

impl Drop for Challenge {
    fn drop(&mut self) {
        let mut pending = PENDING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pending) = pending.as_mut() {
            pending.remove(&(self.role, std::mem::take(&mut self.text)));
        }
    }
}

impl fmt::Debug for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Challenge")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The outcomes of both sides, listener first.
    fn meet(ours: &str, theirs: &str) -> [Option<Result<bool, AuthenticationError>>; 2] {
        let (listener, first) = Handshake::new(Role::Listener, &ours.into()).expect("randomness");
        let (client, _) = Handshake::new(Role::Client, &theirs.into()).expect("randomness");
        let mut sides = [listener, client];
        let mut outcomes = [None, None];
        let mut under_way = std::collections::VecDeque::from([(1, first.expect("the listener asks first"))]);
        while let Some((to, message)) = under_way.pop_front() {
            assert!(message.len() <= MESSAGE_LIMIT);
            let reply = sides[to].receive(&message).expect("randomness");
            under_way.extend(reply.send.map(|message| (1 - to, message)));
            outcomes[to] = Some(reply.outcome);
        }
        outcomes
    }

    fn asked(role: Role) -> (Handshake, Vec<u8>) {
        let (mut handshake, first) = Handshake::new(role, &"key".into()).expect("randomness");
        let challenge = first.unwrap_or_else(|| handshake.ask().expect("randomness"));
        (handshake, challenge)
    }

    fn outcome(handshake: &mut Handshake, message: &[u8]) -> Result<bool, AuthenticationError> {
        handshake.receive(message).expect("randomness").outcome
    }

    #[test]
    fn both_sides_are_sure_with_one_key_only() {
        for key in ["key", "", &"long".repeat(100)] {
            assert_eq!(meet(key, key), [Some(Ok(true)), Some(Ok(true))]);
        }
        for (ours, theirs) in [("key", "kez"), ("", "key"), ("key", "")] {
            assert_eq!(
                meet(ours, theirs),
                [Some(Err(AuthenticationError::WrongKey)), Some(Err(AuthenticationError::Refused))]
            );
        }
    }

    #[test]
    fn the_answer_is_what_cpython_computes() {
        // hmac.new(b"key", b"{sha256}" + b"n" * 40, "sha256").hexdigest()
        let (mut client, _) = Handshake::new(Role::Client, &"key".into()).expect("randomness");
        let challenge = [CHALLENGE, DIGEST, &[b'n'; 40]].concat();
        let answer = client.receive(&challenge).expect("randomness").send.expect("an answer");
        let hex: String = answer[DIGEST.len()..].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "a562ebb15856db673794139809aad656add2b1da32c408231aac3a6fc6e4c70b");
    }

    #[test]
    fn md5_is_refused_on_both_sides() {
        let md5 = [CHALLENGE, b"{md5}", &[1; 40]].concat();
        for challenge in [&[CHALLENGE, &[1; 20]].concat(), &[CHALLENGE, &[1; 16]].concat(), &md5] {
            let (mut client, _) = Handshake::new(Role::Client, &"key".into()).expect("randomness");
            assert_eq!(outcome(&mut client, challenge), Err(AuthenticationError::Legacy));
        }
        for answer in [&[1; 16][..], b"{md5}0123456789abcdef"] {
            let (mut listener, _) = asked(Role::Listener);
            let reply = listener.receive(answer).expect("randomness");
            assert_eq!((reply.send.as_deref(), reply.outcome), (Some(FAILURE), Err(AuthenticationError::Legacy)));
        }
    }

    #[test]
    fn another_digest_is_named() {
        let (mut listener, _) = asked(Role::Listener);
        let error = AuthenticationError::Digest("sha3_384".into());
        assert_eq!(outcome(&mut listener, &[b"{sha3_384}", &[0; 48][..]].concat()), Err(error));
    }

    #[test]
    fn an_answer_fits_its_own_challenge_only() {
        let (_, earlier) = asked(Role::Listener);
        let (mut client, _) = Handshake::new(Role::Client, &"key".into()).expect("randomness");
        let answer = client.receive(&earlier).expect("randomness").send.expect("an answer");
        let (mut later, challenge) = asked(Role::Listener);
        assert_ne!(challenge, earlier);
        assert_eq!(outcome(&mut later, &answer), Err(AuthenticationError::WrongKey));
    }

    #[test]
    fn a_challenge_of_our_own_is_not_answered() {
        let (one, challenge) = asked(Role::Client);
        let (mut two, _) = Handshake::new(Role::Client, &"key".into()).expect("randomness");
        assert_eq!(outcome(&mut two, &challenge), Err(AuthenticationError::Reflected));
        drop(one);
        let (mut three, _) = Handshake::new(Role::Client, &"key".into()).expect("randomness");
        assert_eq!(outcome(&mut three, &challenge), Ok(false), "nobody waits for its answer any more");
    }

    #[test]
    fn nothing_is_taken_out_of_turn() {
        let (mut listener, _) = asked(Role::Listener);
        assert_eq!(outcome(&mut listener, WELCOME), Err(AuthenticationError::Protocol));
        assert_eq!(outcome(&mut listener, WELCOME), Err(AuthenticationError::Protocol), "it is over");
        let (mut client, _) = Handshake::new(Role::Client, &"key".into()).expect("randomness");
        assert_eq!(outcome(&mut client, WELCOME), Err(AuthenticationError::Protocol));
        let (mut client, _) = Handshake::new(Role::Client, &"key".into()).expect("randomness");
        let short = [CHALLENGE, DIGEST, &[0; LEAST - 1]].concat();
        assert_eq!(outcome(&mut client, &short), Err(AuthenticationError::Protocol));
    }

    proptest! {
        #[test]
        fn whoever_lacks_the_key_is_never_believed(
            role in prop::bool::ANY, messages in prop::collection::vec(
                prop_oneof![
                    prop::collection::vec(any::<u8>(), 0..80),
                    prop::collection::vec(any::<u8>(), 32).prop_map(|bytes| [DIGEST, &bytes].concat()),
                    prop::collection::vec(any::<u8>(), 40).prop_map(|bytes| [CHALLENGE, DIGEST, &bytes].concat()),
                    Just(WELCOME.to_vec()),
                ], 0..6)
        ) {
            let role = if role { Role::Listener } else { Role::Client };
            let (mut handshake, _) = Handshake::new(role, &"key".into()).expect("randomness");
            for message in messages {
                prop_assert!(!matches!(outcome(&mut handshake, &message), Ok(true)));
            }
        }
    }
}
