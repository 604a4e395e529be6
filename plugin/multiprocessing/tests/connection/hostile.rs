//! Peers that do not know the key, do not speak the protocol, or do not speak at all.

use crate::{PATIENCE, accept, alone, anywhere, key, listener, pair, refusal};
use hmac::{Hmac, KeyInit, Mac};
use multiprocessing::connection::{
    Address, AuthenticationError, Client, Connection, ConnectionError, ListenOptions, Listener,
};
use sha2::Sha256;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

fn tcp(listener: &Listener) -> TcpStream {
    let Address::Tcp { host, port } = listener.address() else { panic!("{}", listener.address()) };
    let stream = TcpStream::connect((&**host, *port)).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    stream
}

fn frame(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u32).to_be_bytes(), message].concat()
}

fn message(stream: &mut TcpStream) -> Vec<u8> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).expect("a length");
    let mut message = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut message).expect("a message");
    message
}

fn answer_to(challenge: &[u8]) -> Vec<u8> {
    let mac = Hmac::<Sha256>::new_from_slice(b"a key").expect("any key").chain_update(challenge).finalize();
    [&b"{sha256}"[..], &mac.into_bytes()].concat()
}

/// Something that listens and is no listener of ours, and where it is.
fn impostor() -> (TcpListener, Address) {
    let door = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = door.local_addr().expect("an address").to_string().parse().expect("an address");
    (door, address)
}

/// What a client says to a listener that sends this.
fn client_hears(bytes: &[u8]) -> ConnectionError {
    let (door, address) = impostor();
    thread::scope(|scope| {
        let client = scope.spawn(|| Client::connect(&address, key().as_ref(), PATIENCE));
        let (mut stream, _) = door.accept().expect("the client");
        stream.write_all(bytes).expect("room");
        let error = client.join().expect("no panic").expect_err("not a listener");
        drop(stream);
        error
    })
}

/// Why a listener refuses one who sends this.
fn listener_hears(bytes: &[u8]) -> ConnectionError {
    let listener = listener();
    let mut stream = tcp(&listener);
    stream.write_all(bytes).expect("room");
    let error = refusal(&listener);
    // The next one is served as if nothing had been.
    drop(pair(&listener));
    error
}

#[test]
fn a_silent_peer_keeps_nobody_waiting_and_is_given_up() {
    let _alone = alone();
    let mut options = ListenOptions::default();
    options.handshake_timeout = Duration::from_millis(1500);
    let listener = Listener::bind_with(&anywhere(), key(), options).expect("a free port");
    let silent = tcp(&listener);
    let mut slow = tcp(&listener);
    slow.write_all(&[0, 0, 0, 200]).expect("room");
    for _ in 0..3 {
        let (one, other) = pair(&listener);
        one.send_bytes(b"served").expect("room");
        assert_eq!(other.recv_bytes(10).expect("a message"), b"served");
    }
    // One that says a little from time to time has no more time than one that says nothing.
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..100 {
                thread::sleep(Duration::from_millis(100));
                if slow.write_all(&[0]).is_err() {
                    return;
                }
            }
            panic!("it is still listened to");
        });
        for _ in 0..2 {
            let error = refusal(&listener);
            assert!(matches!(error, ConnectionError::TimedOut), "{error:?}");
        }
        drop(listener);
    });
    drop(silent);
}

#[test]
fn a_silent_listener_is_an_error_of_the_client_in_time() {
    let _alone = alone();
    let (door, address) = impostor();
    let client = Client::connect(&address, key().as_ref(), Duration::from_millis(200));
    assert!(matches!(client, Err(ConnectionError::TimedOut)), "{client:?}");
    drop(door);
}

#[test]
fn of_too_many_newcomers_the_oldest_is_given_up() {
    let _alone = alone();
    let mut options = ListenOptions::default();
    options.handshakes = 3;
    let listener = Listener::bind_with(&anywhere(), key(), options).expect("a free port");
    let mut silent: Vec<TcpStream> = (0..20).map(|_| tcp(&listener)).collect();
    for _ in 0..3 {
        drop(pair(&listener));
    }
    // It had its challenge, and then the end.
    assert!(message(&mut silent[0]).starts_with(b"#CHALLENGE#{sha256}"));
    assert!(!matches!(silent[0].read(&mut [0; 16]), Ok(1..)));
}

#[test]
fn what_is_no_handshake_is_refused_and_the_next_one_is_served() {
    let _alone = alone();
    let too_long = frame(&[b'x'; 257]);
    let wrong = |error: &ConnectionError| {
        matches!(error, ConnectionError::Authentication(AuthenticationError::WrongKey | AuthenticationError::Protocol))
    };
    assert!(wrong(&listener_hears(&frame(b"something bogus"))));
    assert!(wrong(&listener_hears(&frame(b""))));
    assert!(wrong(&listener_hears(&frame(&[&b"{sha256}"[..], &[0; 32]].concat()))));
    assert!(wrong(&listener_hears(&frame(&[&b"{sha256}"[..], &[0; 31]].concat()))));
    assert!(matches!(listener_hears(&too_long), ConnectionError::TooLong { length: 257, limit: 256 }));
    assert!(matches!(listener_hears(b"GET / HTTP/1.1\r\n\r\n"), ConnectionError::TooLong { .. }));
    assert!(matches!(listener_hears(&[255; 12]), ConnectionError::TooLong { length: u64::MAX, .. }));
    assert!(matches!(listener_hears(&[255, 0, 0, 0]), ConnectionError::Frame(_)));

    assert!(matches!(
        client_hears(&frame(b"#CHALLENGE#")),
        ConnectionError::Authentication(AuthenticationError::Protocol)
    ));
    assert!(matches!(
        client_hears(&frame(b"something bogus")),
        ConnectionError::Authentication(AuthenticationError::Protocol)
    ));
    assert!(matches!(client_hears(&too_long), ConnectionError::TooLong { .. }));
    let challenge = frame(&[&b"#CHALLENGE#{sha256}"[..], &[7; 40]].concat());
    let bogus = [challenge, frame(b"something bogus")].concat();
    assert!(matches!(client_hears(&bogus), ConnectionError::Authentication(AuthenticationError::Protocol)));
}

#[test]
fn one_that_leaves_within_the_handshake_is_refused() {
    let _alone = alone();
    let listener = listener();
    drop(tcp(&listener));
    assert!(matches!(refusal(&listener), ConnectionError::Closed));
    let mut stream = tcp(&listener);
    stream.write_all(&[0, 0]).expect("room");
    stream.shutdown(Shutdown::Write).expect("a socket");
    assert!(matches!(refusal(&listener), ConnectionError::Cut));
}

#[test]
fn md5_is_refused_by_both_sides_with_an_error_that_says_so() {
    let _alone = alone();
    // What CPython 3.11 answers, and what one of 3.12 and later would that was asked in MD5.
    for answer in [&[1; 16][..], b"{md5}0123456789abcdef"] {
        let listener = listener();
        let mut stream = tcp(&listener);
        stream.write_all(&frame(answer)).expect("room");
        let error = refusal(&listener);
        assert!(matches!(error, ConnectionError::Authentication(AuthenticationError::Legacy)), "{error:?}");
        assert!(error.to_string().contains("MD5") && error.to_string().contains("3.12"), "{error}");
        assert!(message(&mut stream).starts_with(b"#CHALLENGE#{sha256}"), "it asks for SHA-256 only");
        assert_eq!(message(&mut stream), b"#FAILURE#");
    }
    for challenge in [&[1; 20][..], &[&b"{md5}"[..], &[1; 40]].concat()] {
        let error = client_hears(&frame(&[b"#CHALLENGE#", challenge].concat()));
        assert!(matches!(error, ConnectionError::Authentication(AuthenticationError::Legacy)), "{error:?}");
    }
}

#[test]
fn a_recorded_handshake_does_not_open_the_door_again() {
    let _alone = alone();
    let listener = listener();
    let mut client = tcp(&listener);
    let mut record = Vec::new();
    thread::scope(|scope| {
        let accepted = scope.spawn(|| accept(&listener));
        let challenge = message(&mut client);
        record.push(answer_to(challenge.strip_prefix(b"#CHALLENGE#").expect("a challenge")));
        record.push([&b"#CHALLENGE#{sha256}"[..], &[3; 40]].concat());
        record.push(b"#WELCOME#".to_vec());
        for message in &record {
            client.write_all(&frame(message)).expect("room");
        }
        accepted.join().expect("no panic");
    });
    let mut replayed = tcp(&listener);
    for message in &record {
        replayed.write_all(&frame(message)).expect("room");
    }
    assert!(matches!(refusal(&listener), ConnectionError::Authentication(AuthenticationError::WrongKey)));
}

#[test]
fn a_client_does_not_answer_what_it_asks_elsewhere() {
    let _alone = alone();
    // A listener without the key passes off one client's proof as its own towards another client of the same process.
    let (door, address) = impostor();
    thread::scope(|scope| {
        let clients = [0, 1].map(|_| scope.spawn(|| Client::connect(&address, key().as_ref(), PATIENCE)));
        let (mut first, _) = door.accept().expect("a client");
        let (mut second, _) = door.accept().expect("a client");
        first.write_all(&frame(&[&b"#CHALLENGE#{sha256}"[..], &[3; 40]].concat())).expect("room");
        message(&mut first);
        first.write_all(&frame(b"#WELCOME#")).expect("room");
        let challenge = message(&mut first);
        second.write_all(&frame(&challenge)).expect("room");
        // The other client hangs up and gives nothing that could be passed on.
        assert_eq!(second.read(&mut [0; 100]).expect("an end"), 0);
        first.write_all(&frame(&[&b"{sha256}"[..], &[0; 32]].concat())).expect("room");
        let mut errors = clients.map(|client| match client.join().expect("no panic") {
            Err(ConnectionError::Authentication(error)) => error,
            other => panic!("{other:?}"),
        });
        errors.sort_by_key(|error| *error != AuthenticationError::Reflected);
        assert_eq!(errors, [AuthenticationError::Reflected, AuthenticationError::WrongKey]);
    });
}

#[test]
fn a_claimed_length_takes_no_memory() {
    let _alone = alone();
    let (one, other) = pair(&listener());
    let mut one = one.into_stream();
    one.write_all(&(-1_i32).to_be_bytes()).expect("room");
    one.write_all(&(1_u64 << 46).to_be_bytes()).expect("room");
    one.write_all(&[1; 1000]).expect("room");
    drop(one);
    // More than any machine has: taken at its word, this would end the process.
    assert!(matches!(other.recv_bytes(usize::MAX), Err(ConnectionError::Cut)));
    assert!(matches!(other.recv_bytes(usize::MAX), Err(ConnectionError::Broken)));
}

#[test]
fn what_is_no_message_ends_its_own_connection_only() {
    let _alone = alone();
    let listener = listener();
    let (good, its_other) = pair(&listener);
    type Expected = fn(&ConnectionError) -> bool;
    let cases: [(&[u8], Expected); 3] = [
        (&[0, 0], |error| matches!(error, ConnectionError::Cut)),
        (&[0x80, 0, 0, 0, 1], |error| matches!(error, ConnectionError::Frame(_))),
        (&[0, 0, 0, 9, 1], |error| matches!(error, ConnectionError::Cut)),
    ];
    for (bytes, expected) in cases {
        let (bad, other) = pair(&listener);
        bad.into_stream().write_all(bytes).expect("room");
        let error = other.recv_bytes(1 << 20).expect_err("no message");
        assert!(expected(&error), "{bytes:?}: {error:?}");
    }
    good.send_bytes(b"on").expect("room");
    assert_eq!(its_other.recv_bytes(10).expect("a message"), b"on");
    assert!(Connection::from_stream(tempfile::tempfile().expect("a file")).is_err());
}
