//! Objects and their proxies.

use crate::worker::{AccountProxy, add_many, count_under, pass_on};
use crate::{PATIENCE, alone, manager, manager_here, start, succeeds, until, worker};
use multiprocessing::codec::{Descriptor, decode, encode};
use multiprocessing::manager::Failure;
use multiprocessing::{
    ManagedDict, ManagedEvent, ManagedList, ManagedLock, ManagedQueue, ManagedSemaphore, ManagedValue, Manager,
    ManagerError,
};
use std::thread;
use std::time::Duration;

#[test]
fn an_object_of_ones_own_lives_in_the_managers_process() {
    let _alone = alone();
    let manager = manager();
    let account = AccountProxy::new(&manager, 100).expect("an account");
    assert_eq!(account.add(5).expect("a call"), 105);
    assert_eq!(account.take(1000).expect("a call"), Err("only 105 are left".into()));
    assert_eq!(account.take(100).expect("a call"), Ok(5));
    assert_eq!(account.balance().expect("a call"), 5);
    assert_eq!(Some(account.process().expect("a call")), manager.pid());
    assert_ne!(manager.pid(), Some(std::process::id()));
}

#[test]
fn processes_share_an_object() {
    let _alone = alone();
    let manager = manager();
    let account = AccountProxy::new(&manager, 0).expect("an account");
    let processes = [0; 4].map(|_| start(add_many, &(account.clone(), 50)));
    processes.iter().for_each(succeeds);
    assert_eq!(account.balance().expect("a call"), 200);
}

#[test]
fn a_proxy_is_passed_on_from_process_to_process() {
    let _alone = alone();
    let manager = manager();
    let account = AccountProxy::new(&manager, 0).expect("an account");
    succeeds(&start(pass_on, &(worker().to_path_buf(), account.clone(), 2)));
    assert_eq!(account.balance().expect("a call"), 3);
}

#[test]
fn a_method_that_panics_is_an_error_of_that_call() {
    let _alone = alone();
    let manager = manager();
    let account = AccountProxy::new(&manager, 1).expect("an account");
    let panicked = |error: ManagerError, with: &str| match error {
        ManagerError::Failed(Failure::Panicked(message)) => assert_eq!(message, with),
        other => panic!("{other:?}"),
    };
    panicked(account.break_half_way().expect_err("a panic"), "broken at 2");
    panicked(account.break_half_way().expect_err("a panic"), "broken at 3");
    assert_eq!(account.add(1).expect("it goes on"), 4);
    panicked(AccountProxy::new(&manager, -1).expect_err("a panic"), "an account of -1");
    assert_eq!(manager.objects().expect("a call"), 1);
}

#[test]
fn an_object_goes_with_its_last_proxy() {
    let _alone = alone();
    let manager = manager_here();
    let list = ManagedList::<u8>::new(&manager).expect("a list");
    let clone = list.clone();
    drop(list);
    assert_eq!(manager.objects().expect("a call"), 1);
    // On its way to somebody it is held, too; also if it never gets there.
    let message = encode(&clone).expect("a proxy");
    drop(clone);
    assert_eq!(manager.objects().expect("a call"), 1);
    let list: ManagedList<u8> = decode(&message.bytes, message.descriptors).expect("a proxy");
    list.push(&7).expect("a call");
    let message = encode(&list).expect("a proxy");
    drop(list);
    until("it is held by the message only", || manager.objects().expect("a call") == 1);
    drop(message);
    until("nobody holds it", || manager.objects().expect("a call") == 0);
}

#[test]
fn very_many_objects_need_no_more_descriptors() {
    let _alone = alone();
    let manager = manager();
    let values: Vec<_> = (0..3000_u32).map(|i| ManagedValue::new(&manager, &i).expect("a value")).collect();
    assert_eq!(manager.objects().expect("a call"), 3000);
    assert!(std::fs::read_dir("/proc/self/fd").expect("own descriptors").count() < 100);
    let sum: u32 = values.iter().step_by(100).map(|value| value.get().expect("a call")).sum();
    assert_eq!(sum, (0..3000).step_by(100).sum());
    drop(values);
    until("all are gone", || manager.objects().expect("a call") == 0);
}

#[test]
fn many_proxies_in_one_message_share_one_link() {
    let _alone = alone();
    let manager = manager_here();
    let values: Vec<_> = (0..50_u32).map(|i| ManagedValue::new(&manager, &i).expect("a value")).collect();
    let message = encode(&values).expect("proxies");
    let descriptors = || std::fs::read_dir("/proc/self/fd").expect("own descriptors").count();
    let copies: Vec<ManagedValue<u32>> = decode(&message.bytes, message.descriptors).expect("proxies");
    drop(values);
    assert_eq!(copies[49].get().expect("a call"), 49);
    until("what the message had is closed", || descriptors() < 60);
}

#[test]
fn names_are_for_one_object_of_one_type() {
    let _alone = alone();
    let manager = manager_here();
    let one = ManagedDict::<String, u64>::new_named(&manager, "one").expect("a dictionary");
    one.insert("x", &1).expect("a call");
    let same = ManagedDict::<String, u64>::new_named(&manager, "one").expect("the same");
    assert_eq!(same.get("x").expect("a call"), Some(1));
    drop((one, same));
    assert_eq!(manager.objects().expect("a call"), 1, "its name holds it");
    let found = ManagedDict::<String, u64>::named(&manager, "one").expect("the same");
    assert_eq!(found.len().expect("a call"), 1);
    for other in [
        ManagedDict::<String, String>::named(&manager, "one").map(drop),
        ManagedList::<u8>::new_named(&manager, "one").map(drop),
    ] {
        assert!(matches!(other, Err(ManagerError::Failed(Failure::OtherType(_)))), "{other:?}");
    }
    let none = ManagedList::<u8>::named(&manager, "none");
    assert!(matches!(none, Err(ManagerError::Failed(Failure::NoName(_)))), "{none:?}");
    assert!(manager.forget("one").expect("a call"));
    assert!(!manager.forget("one").expect("a call"));
    assert_eq!(found.get("x").expect("it is still held"), Some(1));
    drop(found);
    until("nobody holds it", || manager.objects().expect("a call") == 0);
}

#[test]
fn a_type_that_the_manager_does_not_know_is_an_error() {
    let _alone = alone();
    let manager = manager_here();
    let error = AccountProxy::new(&manager, 1).expect_err("it is not registered");
    assert!(matches!(error, ManagerError::Failed(Failure::NoType(_))), "{error:?}");
    assert!(error.to_string().contains("'Account'"), "{error}");
}

#[test]
fn what_cannot_travel_is_an_error_of_that_call() {
    let _alone = alone();
    let manager = manager_here();
    let queue = ManagedQueue::<Descriptor>::new(&manager, None).expect("a queue");
    let (reader, _writer) = std::io::pipe().expect("a pipe");
    assert!(matches!(queue.put(&Descriptor::from(reader)), Err(ManagerError::Codec(_))));
    assert!(queue.is_empty().expect("it goes on"));
}

#[test]
fn a_large_value_comes_through_whole() {
    let _alone = alone();
    let manager = manager();
    let account = AccountProxy::new(&manager, 0).expect("an account");
    let numbers: Vec<u64> = (0..1 << 20).map(|i: u64| i.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
    assert!(account.echo(numbers.clone()).expect("a call") == numbers);
    let list = ManagedList::<Vec<u64>>::new(&manager).expect("a list");
    list.push(&numbers).expect("a call");
    assert!(list.get(0).expect("a call").expect("one") == numbers);
}

#[test]
fn calls_that_wait_keep_no_others_waiting() {
    let _alone = alone();
    let manager = manager();
    let account = AccountProxy::new(&manager, 0).expect("an account");
    let queue = ManagedQueue::<u32>::new(&manager, Some(1)).expect("a queue");
    let event = ManagedEvent::new(&manager).expect("an event");
    thread::scope(|scope| {
        let getters = [0; 3].map(|_| scope.spawn(|| queue.get_timeout(PATIENCE).expect("a call").expect("an item")));
        let waiter = scope.spawn(|| event.wait_timeout(PATIENCE).expect("a call"));
        let sleeper = scope.spawn(|| account.sleep(Duration::from_millis(300)).expect("a call"));
        assert_eq!(account.balance().expect("methods of &self run at the same time"), 0);
        assert!((1..=3).all(|item| queue.put_timeout(&item, PATIENCE).expect("a call")));
        event.set().expect("a call");
        assert!(waiter.join().expect("no panic"));
        let mut items = getters.map(|getter| getter.join().expect("no panic"));
        items.sort();
        assert_eq!(items, [1, 2, 3]);
        sleeper.join().expect("no panic");
    });
}

#[test]
fn a_lock_keeps_other_processes_out() {
    let _alone = alone();
    let manager = manager();
    let lock = ManagedLock::new(&manager).expect("a lock");
    let counts = ManagedDict::new(&manager).expect("a dictionary");
    let processes = [0; 3].map(|_| start(count_under, &(lock.clone(), counts.clone(), 40)));
    processes.iter().for_each(succeeds);
    assert_eq!(counts.get("count").expect("a call"), Some(120));
}

#[test]
fn waiting_ends_in_time() {
    let _alone = alone();
    let manager = manager_here();
    let short = Duration::from_millis(30);
    let queue = ManagedQueue::<u8>::new(&manager, Some(1)).expect("a queue");
    assert_eq!(queue.get_timeout(short).expect("a call"), None);
    assert!(queue.put_timeout(&1, short).expect("a call"));
    assert!(!queue.put_timeout(&2, short).expect("a call"));
    assert!(!queue.join_timeout(short).expect("a call"));
    assert!(queue.task_done().expect("a call"));
    assert!(!queue.task_done().expect("a call"), "more than there were");
    assert!(queue.join_timeout(short).expect("a call"));
    assert!(!ManagedEvent::new(&manager).expect("an event").wait_timeout(short).expect("a call"));
    let semaphore = ManagedSemaphore::new(&manager, 2).expect("a semaphore");
    let permits = [0; 3].map(|_| semaphore.acquire_timeout(short).expect("a call"));
    assert_eq!(permits.iter().flatten().count(), 2);
    drop(permits);
    assert_eq!(semaphore.available().expect("a call"), 2);
}

#[test]
fn a_list_and_a_dictionary_do_what_pythons_do() {
    let _alone = alone();
    let manager = manager_here();
    let list = ManagedList::<u32>::new(&manager).expect("a list");
    list.extend(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]).expect("a call");
    assert_eq!((list.get(9).expect("a call"), list.get(10).expect("a call")), (Some(9), None));
    assert_eq!((list.remove(0).expect("a call"), list.remove(99).expect("a call")), (Some(0), None));
    list.insert(0, &17).expect("a call");
    list.insert(99, &18).expect("a call");
    assert_eq!((list.set(1, &11).expect("a call"), list.set(99, &0).expect("a call")), (Some(1), None));
    assert_eq!(list.to_vec().expect("a call"), [17, 11, 2, 3, 4, 5, 6, 7, 8, 9, 18]);
    assert_eq!(list.len().expect("a call"), 11);
    list.clear().expect("a call");
    assert!(list.is_empty().expect("a call") && list.pop().expect("a call").is_none());

    let dict = ManagedDict::<u32, String>::new(&manager).expect("a dictionary");
    let items: Vec<(u32, String)> = (65..70).map(|i| (i, format!("{i}"))).collect();
    dict.extend(items.iter().map(|(key, value)| (key, value))).expect("a call");
    let mut found = dict.items().expect("a call");
    found.sort();
    assert_eq!(found, items);
    assert_eq!(dict.get_or_insert(&65, &"new".into()).expect("a call"), "65");
    assert_eq!(dict.get_or_insert(&90, &"new".into()).expect("a call"), "new");
    assert!(!dict.replace(&90, None, &"x".into()).expect("a call"));
    assert!(dict.replace(&91, None, &"x".into()).expect("a call"));
    assert_eq!(dict.remove(&91).expect("a call"), Some("x".into()));
    assert!(dict.contains_key(&90).expect("a call") && !dict.contains_key(&91).expect("a call"));
    dict.clear().expect("a call");
    assert!(dict.is_empty().expect("a call") && dict.keys().expect("a call").is_empty());

    let value = ManagedValue::new(&manager, &1_u64).expect("a value");
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..25).for_each(|_| assert!(value.update(|value| value + 1).expect("a call") > 1)));
        }
    });
    assert_eq!(value.swap(&0).expect("a call"), 101);
    value.set(&5).expect("a call");
    assert_eq!(value.get().expect("a call"), 5);
}

#[test]
fn a_manager_itself_travels() {
    let _alone = alone();
    let manager = manager_here();
    let message = encode(&manager).expect("a manager");
    let copy: Manager = decode(&message.bytes, message.descriptors).expect("a manager");
    ManagedValue::new_named(&copy, "there", &1_u8).expect("a value");
    drop(copy);
    assert_eq!(ManagedValue::<u8>::named(&manager, "there").expect("a value").get().expect("a call"), 1);
}
