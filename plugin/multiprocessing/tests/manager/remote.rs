//! Managers that others connect to.

use crate::worker::{Account, AccountProxy, put_there};
use crate::{PATIENCE, alone, anywhere, program, start, succeeds, until};
use multiprocessing::connection::{Address, AuthKey, AuthenticationError, Client, ConnectionError};
use multiprocessing::manager::Failure;
use multiprocessing::manager::protocol::{Request, Response, decode, encode};
use multiprocessing::{ManagedList, ManagedQueue, ManagedTypes, Manager, ManagerError};
use std::io::Write;

fn key() -> AuthKey {
    AuthKey::from("a key")
}

#[test]
fn what_another_process_puts_into_a_managers_queue_is_got_here() {
    let _alone = alone();
    let manager = Manager::start_at(&program(), &anywhere(), key()).expect("a manager");
    let values: Vec<String> = ["hello world", "", "h\u{e5}ll\u{e5} v\u{e4}rlden"].map(String::from).into();
    let queue = ManagedQueue::<Vec<String>>::new_named(&manager, "values", None).expect("a queue");
    let process = start(put_there, &(manager.address().clone(), b"a key".to_vec(), values.clone()));
    assert_eq!(queue.get_timeout(PATIENCE).expect("a call"), Some(values));
    succeeds(&process);
}

#[test]
fn a_manager_in_this_process_serves_others_and_itself() {
    let _alone = alone();
    let types = ManagedTypes::new().add::<Account>();
    let manager = Manager::serve(&anywhere(), key(), types).expect("a manager");
    let account = AccountProxy::new_named(&manager, "account", 3).expect("an account");
    let there = Manager::connect(manager.address(), &key()).expect("the same key");
    let same = AccountProxy::named(&there, "account").expect("an account");
    assert_eq!(same.add(4).expect("a call"), 7);
    assert_eq!(account.balance().expect("a call"), 7);
    assert_eq!(same.process().expect("a call"), std::process::id());
}

#[test]
fn another_key_opens_no_manager() {
    let _alone = alone();
    let manager = Manager::serve(&anywhere(), key(), ManagedTypes::new()).expect("a manager");
    let error = Manager::connect(manager.address(), &AuthKey::from("another")).expect_err("another key");
    assert!(
        matches!(error, ManagerError::Connect(ConnectionError::Authentication(AuthenticationError::Refused))),
        "{error:?}"
    );
    Manager::connect(manager.address(), &key()).expect("it goes on");
}

#[test]
fn an_address_serves_one_manager_after_the_other_at_once() {
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    for mut address in [anywhere(), Address::Unix(path.clone()), Address::Abstract(Vec::new())] {
        for _ in 0..3 {
            let manager = Manager::start_at(&program(), &address, key()).expect("a free address");
            address = manager.address().clone();
            ManagedList::new_named(&manager, "list").expect("nothing is left of the last").push(&1_u8).expect("a call");
            let there = Manager::connect(&address, &key()).expect("the same key");
            assert_eq!(ManagedList::<u8>::named(&there, "list").expect("a list").len().expect("a call"), 1);
        }
    }
    assert!(!path.exists());
}

#[test]
fn a_proxy_of_an_earlier_manager_is_none_of_the_next() {
    let _alone = alone();
    let first = Manager::serve(&anywhere(), key(), ManagedTypes::new()).expect("a manager");
    let address = first.address().clone();
    let list = ManagedList::<u8>::new(&first).expect("a list");
    drop(first);
    let second = Manager::serve(&address, key(), ManagedTypes::new()).expect("a manager");
    let other = ManagedList::<u8>::new(&second).expect("a list");
    assert!(matches!(list.push(&1), Err(ManagerError::Ended)));
    drop(list);
    assert!(other.is_empty().expect("a call"));
}

#[test]
fn a_client_that_says_what_no_client_says_costs_itself_only() {
    let _alone = alone();
    let manager = Manager::serve(&anywhere(), key(), ManagedTypes::new()).expect("a manager");
    let list = ManagedList::<u8>::new(&manager).expect("a list");
    let connect = || Client::connect(manager.address(), Some(&key()), PATIENCE).expect("the same key");
    let failure = |request: &[u8]| {
        let connection = connect();
        connection.send_bytes(request).expect("room");
        match decode(&connection.recv_bytes(1000).expect("an answer")) {
            Ok(Response::Failed(failure)) => failure,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(failure(b"\xff\xff\xff"), Failure::Protocol);
    assert_eq!(failure(b""), Failure::Protocol);
    assert_eq!(failure(&encode(&Request::Hold { object: 1 })), Failure::Protocol);
    let call = Request::Call { session: 1, object: 1, method: "push", arguments: &[] };
    assert_eq!(failure(&encode(&call)), Failure::Ended);
    // One that holds nothing cannot let go of what others hold, nor call it.
    let connection = connect();
    connection.send_bytes(&encode(&Request::Hello)).expect("room");
    let answer = connection.recv_bytes(100).expect("an answer");
    let Ok(Response::Number(session)) = decode(&answer) else { panic!("{answer:?}") };
    for _ in 0..3 {
        connection.send_bytes(&encode(&Request::Release { object: 1 })).expect("room");
    }
    connection.send_bytes(&encode(&Request::Call { session, object: 1, method: "len", arguments: &[] })).expect("room");
    let answer = connection.recv_bytes(100).expect("an answer");
    assert_eq!(decode(&answer), Ok(Response::Failed(Failure::NoObject)));
    // Cut off within a message.
    connect().into_stream().write_all(&[0, 0, 0, 9, 1]).expect("room");
    assert_eq!(list.push(&1).expect("it goes on"), 0);
    assert_eq!(manager.objects().expect("a call"), 1);
}

#[test]
fn a_wrong_method_or_argument_is_an_error_of_that_call() {
    let _alone = alone();
    let manager = Manager::serve(&anywhere(), key(), ManagedTypes::new().add::<Account>()).expect("a manager");
    let proxy = multiprocessing::Proxy::create::<Account>(&manager, None, "", &(5_i64,)).expect("an account");
    let error = proxy.call::<()>("_h", &()).expect_err("no such method");
    assert!(matches!(error, ManagerError::Failed(Failure::NoMethod(_))), "{error:?}");
    let error = proxy.call::<i64>("add", &()).expect_err("it takes one");
    assert!(matches!(error, ManagerError::Failed(Failure::Codec(_))), "{error:?}");
    assert_eq!(proxy.call::<i64>("add", &(1_i64,)).expect("it goes on"), 6);
}

#[test]
fn a_client_of_another_machine_that_hangs_up_is_forgotten() {
    let _alone = alone();
    let manager = Manager::serve(&anywhere(), key(), ManagedTypes::new()).expect("a manager");
    let there = Manager::connect(manager.address(), &key()).expect("the same key");
    let list = ManagedList::<u8>::new(&there).expect("a list");
    assert_eq!(manager.objects().expect("a call"), 1);
    drop((list, there));
    until("its objects are gone", || manager.objects().expect("a call") == 0);
    let none = Manager::connect(&Address::Abstract(b"nobody is here".to_vec()), &key());
    assert!(matches!(none, Err(ManagerError::Connect(_))), "{none:?}");
}
