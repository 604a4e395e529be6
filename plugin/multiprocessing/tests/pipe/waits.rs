use crate::leftovers::alone;
use crate::queue::*;
use crate::{PATIENCE, SOON, program};
use multiprocessing::{Process, Queue, channel, wait, wait_timeout};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::Duration;

#[test]
fn waiting_ends_with_the_first_that_is_ready() {
    let _alone = alone();
    let (mut sender, mut receiver) = channel::<u32>().expect("a channel");
    let queue = Queue::<u32>::new().expect("a queue");
    let (mut one, other) = UnixStream::pair().expect("sockets");
    assert_eq!(wait_timeout(&[&receiver, &queue, &other], SOON).expect("a wait"), []);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(SOON);
            queue.put(&1).expect("room");
        });
        assert_eq!(wait_timeout(&[&receiver, &queue, &other], PATIENCE).expect("a wait"), [1]);
    });
    sender.send(&1).expect("room");
    one.write_all(b"x").expect("room");
    assert_eq!(wait(&[&receiver, &queue, &other]).expect("a wait"), [0, 1, 2]);
    assert_eq!((queue.get().expect("one"), receiver.recv().expect("one")), (1, 1));
    assert_eq!(wait_timeout(&[&receiver, &queue], Duration::ZERO).expect("a wait"), []);
    queue.close();
    drop(sender);
    assert_eq!(wait(&[&receiver, &queue]).expect("a wait"), [0, 1]);
}

#[test]
fn waiting_for_nothing_is_sleeping() {
    let _alone = alone();
    assert_eq!(wait_timeout(&[], Duration::from_millis(1)).expect("a wait"), []);
}

#[test]
fn the_end_of_a_process_can_be_waited_for_beside_its_messages() {
    let _alone = alone();
    let queue = Queue::<Numbered>::new().expect("a queue");
    let process = Process::builder(&program()).start(put_numbered, &(queue.clone(), 1, 3)).expect("a process");
    let mut got = 0;
    loop {
        let ready = wait_timeout(&[&queue, &process], PATIENCE).expect("a wait");
        match ready.first() {
            Some(0) => got += u32::from(queue.try_get().is_ok()),
            Some(_) => break,
            None => panic!("neither"),
        }
    }
    assert_eq!(got, 3);
    process.join().expect("ours");
}

#[test]
fn no_wait_at_a_pipe_is_ended_by_a_signal() {
    let _alone = alone();
    let (mut sender, mut receiver) = channel::<u32>().expect("a channel");
    let received = crate::signals::interrupted(|| receiver.recv(), || sender.send(&7).expect("room"));
    assert_eq!(received.expect("one in time"), 7);
    let ready = crate::signals::interrupted(|| wait(&[&receiver]), || sender.send(&8).expect("room"));
    assert_eq!(ready.expect("few descriptors"), [0]);
    assert_eq!(receiver.recv().expect("it is there"), 8);
}
