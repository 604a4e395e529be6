//! Two sides that mean well.

use crate::signals::interrupted;
use crate::worker::{connect_and_say, send_back};
use crate::{PATIENCE, SOON, accept, alone, anywhere, connect, key, listener, pair, program};
use multiprocessing::codec::{Descriptor, encode};
use multiprocessing::connection::{AcceptError, Address, AuthKey, Client, Connection, ConnectionError, Listener};
use multiprocessing::{ExitStatus, Next, Pool, PoolConfig, Process};
use nix::poll::{PollFd, PollFlags, poll};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

const LIMIT: usize = 1 << 24;

/// An address of each kind.
fn addresses(folder: &tempfile::TempDir) -> [Address; 4] {
    let six = Address::Tcp { host: "localhost".into(), port: 0 };
    [anywhere(), six, Address::Unix(folder.path().join("socket")), Address::Abstract(Vec::new())]
}

#[test]
fn a_client_in_another_process_is_heard_at_every_kind_of_address() {
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = PoolConfig::new(program());
    config.workers = 1;
    let pool = Pool::start(config).expect("a pool");
    let job = pool.typed_job::<connect_and_say>(&()).expect("a job");
    for address in addresses(&folder) {
        for key in [None, Some("a key")] {
            let listener = Listener::bind(&address, key.map(AuthKey::from)).expect("a free address");
            let argument = (listener.address().clone(), key.map(str::to_owned), "hello".to_owned());
            job.submit(0, &argument).expect("it can be sent");
            let connection = accept(&listener);
            assert_eq!(connection.recv_bytes(LIMIT).expect("its text"), b"hello");
            assert!(matches!(job.next_timeout(PATIENCE), Next::Ended(0, Ok(()))));
            assert!(matches!(connection.recv_bytes(LIMIT), Err(ConnectionError::Closed)), "it has gone");
        }
    }
}

#[test]
fn a_connection_is_given_to_another_process() {
    let _alone = alone();
    let (accepted, client) = pair(&listener());
    let program = program();
    let process = Process::builder(&program).start(send_back, &accepted).expect("a process");
    drop(accepted);
    for message in [&b"hello"[..], b""] {
        client.send_bytes(message).expect("room");
        assert_eq!(client.recv_bytes(LIMIT).expect("it came back"), message);
    }
    drop(client);
    assert_eq!(process.join_timeout(PATIENCE).expect("a child"), Some(ExitStatus::Exited(0)));
}

#[test]
fn a_client_may_come_before_it_is_accepted() {
    let _alone = alone();
    let listener = Listener::bind(&anywhere(), None).expect("a free port");
    let client = Client::connect(listener.address(), None, PATIENCE).expect("the system's queue");
    client.send_bytes(b"hello").expect("room");
    drop(client);
    let connection = accept(&listener);
    assert_eq!(connection.recv_bytes(LIMIT).expect("its text"), b"hello");
    assert!(matches!(connection.recv_bytes(LIMIT), Err(ConnectionError::Closed)));
}

#[test]
fn an_address_has_one_listener() {
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    for address in addresses(&folder) {
        let listener = Listener::bind(&address, key()).expect("a free address");
        let error = Listener::bind(listener.address(), key()).expect_err("it is taken");
        assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
        let address = listener.address().clone();
        drop(listener);
        drop(Listener::bind(&address, key()).expect("free again, at once"));
    }
}

#[test]
fn a_sockets_file_goes_with_its_listener_and_no_other_does() {
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    let listener = Listener::bind(&Address::Unix(path.clone()), key()).expect("a free address");
    assert!(path.exists());
    drop(listener);
    assert!(!path.exists());
    let listener = Listener::bind(&Address::Unix(path.clone()), key()).expect("a free address");
    std::fs::remove_file(&path).expect("the socket");
    std::fs::write(&path, "another's").expect("a file");
    drop(listener);
    assert_eq!(std::fs::read(&path).expect("it stays"), b"another's");
}

#[test]
fn no_bytes_are_a_key_too() {
    let _alone = alone();
    let empty = AuthKey::from("");
    let listener = Listener::bind(&anywhere(), Some(empty.clone())).expect("a free port");
    std::thread::scope(|scope| {
        let client = scope.spawn(|| Client::connect(listener.address(), Some(&empty), PATIENCE));
        accept(&listener).send(&1729).expect("room");
        assert_eq!(client.join().expect("no panic").expect("the same key").recv::<i32>(10).expect("a number"), 1729);
        let client = scope.spawn(|| connect(&listener));
        crate::refusal(&listener);
        client.join().expect("no panic").expect_err("another key");
    });
}

#[test]
fn messages_keep_their_bounds_at_every_size() {
    let _alone = alone();
    let (one, other) = pair(&listener());
    let sizes = [0, 1, 0, 4096, 16_384, 16_385, 1 << 20, (1 << 20) + 7, LIMIT];
    let message = |size: usize| (0..size).map(|i| (i * 31 + size) as u8).collect::<Vec<u8>>();
    std::thread::scope(|scope| {
        scope.spawn(|| sizes.iter().for_each(|size| one.send_bytes(&message(*size)).expect("it is taken")));
        for size in sizes {
            assert!(other.recv_bytes(LIMIT).expect("a message") == message(size), "{size} bytes");
        }
    });
}

#[test]
fn a_message_beyond_the_receivers_limit_ends_the_connection() {
    let _alone = alone();
    let (one, other) = pair(&listener());
    one.send_bytes(&[0; 101]).expect("room");
    one.send_bytes(b"next").expect("room");
    assert!(matches!(other.recv_bytes(100), Err(ConnectionError::TooLong { length: 101, limit: 100 })));
    assert!(matches!(other.recv_bytes(100), Err(ConnectionError::Broken)));
    other.send_bytes(b"still").expect("the other direction is whole");
    assert_eq!(one.recv_bytes(100).expect("a message"), b"still");
}

#[test]
fn polling_sees_a_message_of_no_bytes_and_merges_none() {
    let _alone = alone();
    let (one, other) = pair(&listener());
    assert!(!other.poll().expect("a poll"));
    assert!(!other.poll_timeout(Duration::from_millis(20)).expect("a poll"));
    one.send_bytes(b"").expect("room");
    one.send_bytes(b"a").expect("room");
    assert!(other.poll_timeout(PATIENCE).expect("a poll"));
    assert_eq!(other.recv_bytes(1).expect("a message"), b"");
    assert!(other.poll_timeout(PATIENCE).expect("a poll"));
    assert_eq!(other.recv_bytes(1).expect("a message"), b"a");
    assert!(!other.poll().expect("a poll"));
    drop(one);
    assert!(other.poll_timeout(PATIENCE).expect("a poll"), "an end is something");
    assert!(matches!(other.recv_bytes(1), Err(ConnectionError::Closed)));
    let sent = (0..2).find_map(|_| other.send_bytes(&vec![0; 1 << 20]).err());
    assert!(matches!(sent, Some(ConnectionError::Closed)), "{sent:?}");
}

#[test]
fn a_value_of_another_type_costs_itself_only() {
    let _alone = alone();
    let (one, other) = pair(&listener());
    one.send("text").expect("room");
    one.send(&(1, "two")).expect("room");
    assert!(matches!(other.recv::<(u8, u8, u8, u8, u8, u8)>(100), Err(ConnectionError::Codec(_))));
    assert_eq!(other.recv::<(i32, String)>(100).expect("a pair"), (1, "two".into()));
    let (handle, _pipe) = std::io::pipe().expect("a pipe");
    assert!(matches!(one.send(&Descriptor::from(handle)), Err(ConnectionError::Codec(_))), "no handle can travel");
    one.send(&7).expect("nothing was sent of it");
    assert_eq!(other.recv::<i32>(100).expect("a number"), 7);
}

#[test]
fn what_does_not_come_in_time_costs_nothing_but_the_time() {
    let _alone = alone();
    let (one, other) = UnixStream::pair().expect("sockets");
    let other = Connection::from_stream(other).expect("a stream");
    let timed_out = |result: Result<u32, ConnectionError>| matches!(result, Err(ConnectionError::TimedOut));
    assert!(timed_out(other.try_recv(100)));
    assert!(timed_out(other.recv_timeout(100, SOON)));
    // What has come of a message stays, piece by piece: of its header, and of what follows that.
    let sent: Vec<u8> = (0..200_000_u32).map(|number| number as u8).collect();
    let mut bytes = (sent.len() as u32).to_be_bytes().to_vec();
    bytes.extend(&sent);
    for piece in [&bytes[..3], &bytes[3..10], &bytes[10..70_000]] {
        (&one).write_all(piece).expect("room");
        assert!(matches!(other.recv_bytes_timeout(LIMIT, Duration::from_millis(1)), Err(ConnectionError::TimedOut)));
    }
    assert!(encode(&other).is_err(), "it would lose what has come");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| other.recv_bytes_timeout(LIMIT, PATIENCE));
        // One more that waits has to wait for that one, and no longer than it is told.
        std::thread::sleep(SOON);
        assert!(timed_out(other.try_recv(100)) && timed_out(other.recv_timeout(100, SOON)));
        (&one).write_all(&bytes[70_000..]).expect("room");
        assert!(waiting.join().expect("no panic").expect("a message") == sent);
    });
    let one = Connection::from_stream(one).expect("a stream");
    one.send(&7_u32).expect("room");
    assert_eq!(other.recv_timeout::<u32>(100, PATIENCE).expect("a number"), 7);
    one.send(&8_u32).expect("room");
    assert_eq!(other.try_recv::<u32>(100).expect("it is there"), 8);
    // The end is told at once, and a message that does not fit is too long in time as well.
    one.send_bytes(&[0; 11]).expect("room");
    assert!(matches!(other.recv_bytes_timeout(10, PATIENCE), Err(ConnectionError::TooLong { length: 11, limit: 10 })));
    drop(one);
    assert!(matches!(other.recv_timeout::<u32>(100, PATIENCE), Err(ConnectionError::Broken)));
}

#[test]
fn several_threads_send_whole_messages() {
    let _alone = alone();
    let (one, other) = pair(&listener());
    std::thread::scope(|scope| {
        for name in 0..4_u8 {
            let one = &one;
            scope.spawn(move || {
                (1..=50_usize).for_each(|i| one.send_bytes(&vec![name; i * 1000]).expect("it is taken"));
            });
        }
        for _ in 0..200 {
            let message = other.recv_bytes(LIMIT).expect("a message");
            assert!(message.len() % 1000 == 0 && message.iter().all(|byte| *byte == message[0]));
        }
    });
}

#[test]
fn what_follows_the_handshake_belongs_to_the_stream() {
    let _alone = alone();
    let (one, other) = pair(&listener());
    let (mut one, mut other) = (one.into_stream(), other.into_stream());
    one.write_all(b"as it is").expect("room");
    one.finish().expect("it is connected");
    let mut text = String::new();
    other.read_to_string(&mut text).expect("text");
    assert_eq!(text, "as it is");
}

#[test]
fn accepting_ends_in_time_and_can_be_waited_for() {
    let _alone = alone();
    let listener = listener();
    let ready = |timeout: u16| {
        let mut entry = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        poll(&mut entry, timeout).expect("a poll") > 0
    };
    assert!(!ready(0));
    assert!(matches!(listener.accept_timeout(Duration::ZERO), Err(AcceptError::TimedOut)));
    assert!(matches!(listener.accept_timeout(Duration::from_millis(20)), Err(AcceptError::TimedOut)));
    std::thread::scope(|scope| {
        let client = scope.spawn(|| connect(&listener));
        let connection = loop {
            assert!(ready(30_000));
            match listener.accept_timeout(Duration::ZERO) {
                Err(AcceptError::TimedOut) => {}
                other => break other.expect("the right key"),
            }
        };
        assert!(!ready(0), "one that was accepted does not wake the listener any more");
        client.join().expect("no panic").expect("the same key").send_bytes(b"x").expect("room");
        assert!(!ready(0));
        drop(connection);
    });
}

#[test]
fn several_threads_accept_at_the_same_time() {
    let _alone = alone();
    let listener = listener();
    std::thread::scope(|scope| {
        let servers: Vec<_> = (0..4).map(|_| scope.spawn(|| (0..5).for_each(|_| drop(accept(&listener))))).collect();
        for _ in 0..4 {
            scope.spawn(|| (0..5).for_each(|_| drop(connect(&listener).expect("the same key"))));
        }
        servers.into_iter().for_each(|server| server.join().expect("no panic"));
    });
}

#[test]
fn nobody_there_is_an_error_at_once() {
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    for address in addresses(&folder) {
        let gone = Listener::bind(&address, key()).expect("a free address").address().clone();
        let error = Client::connect(&gone, key().as_ref(), PATIENCE).expect_err("nobody there");
        assert!(matches!(error, ConnectionError::Io(_)), "{error:?}");
    }
}

#[test]
fn no_wait_of_a_connection_is_ended_by_a_signal() {
    let _alone = alone();
    let listener = listener();
    let (connected, client) = std::sync::mpsc::channel();
    let here = interrupted(
        || accept(&listener),
        || connected.send(connect(&listener).expect("the same key")).expect("it is waited for"),
    );
    let there = client.recv().expect("it has connected");
    let polled = interrupted(|| here.poll_timeout(PATIENCE), || there.send_bytes(b"a").expect("room"));
    assert!(polled.expect("no error"));
    assert_eq!(here.recv_bytes(10).expect("a message"), b"a");
    let received = interrupted(|| here.recv_bytes(10), || there.send_bytes(b"b").expect("room"));
    assert_eq!(received.expect("a message"), b"b");
    // More than there is room for, so that its sender waits.
    let large = vec![7; 32 << 20];
    let (told, length) = std::sync::mpsc::channel();
    let receive = || told.send(there.recv_bytes(large.len()).expect("a message").len()).expect("it is waited for");
    interrupted(|| here.send_bytes(&large), receive).expect("all of it");
    assert_eq!(length.recv().expect("it has come"), large.len());
}

#[test]
#[ignore = "it takes half a minute"]
fn a_peer_that_does_not_read_for_long_keeps_its_connection() {
    let _alone = alone();
    let (here, there) = pair(&listener());
    let large = vec![7; 32 << 20];
    std::thread::scope(|scope| {
        let sent = scope.spawn(|| here.send_bytes(&large));
        std::thread::sleep(Duration::from_secs(32));
        assert_eq!(there.recv_bytes(large.len()).expect("a message").len(), large.len());
        sent.join().expect("no panic").expect("all of it");
    });
}
