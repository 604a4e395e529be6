use crate::leftovers::alone;
use crate::moody::Moody;
use crate::queue::*;
use crate::{PATIENCE, SOON, program};
use multiprocessing::codec::{Descriptor, decode, encode};
use multiprocessing::{Bytes, JoinableQueue, NothingToDo, Process, Queue, RecvError, SendError};
use std::collections::BTreeMap;
use std::io::{Read, Write};

#[test]
fn a_full_queue_takes_no_more_until_something_is_got() {
    let _alone = alone();
    let queue = Queue::bounded(3).expect("a queue");
    assert_eq!((queue.capacity(), queue.len(), queue.is_empty()), (3, 0, true));
    queue.put(&1).expect("room");
    queue.put_timeout(&2, PATIENCE).expect("room");
    queue.try_put(&3).expect("room");
    assert_eq!((queue.len(), queue.is_empty()), (3, false));
    assert!(matches!(queue.try_put(&4), Err(SendError::Full)));
    assert!(matches!(queue.put_timeout(&4, SOON), Err(SendError::Full)));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(SOON);
            assert_eq!(queue.get().expect("the first"), 1);
        });
        queue.put_timeout(&4, PATIENCE).expect("room in time");
    });
    assert_eq!([(); 3].map(|()| queue.get().expect("one")), [2, 3, 4]);
}

#[test]
fn an_empty_queue_has_nothing_until_something_is_put() {
    let _alone = alone();
    let queue = Queue::<u32>::new().expect("a queue");
    assert!(matches!(queue.try_get(), Err(RecvError::Empty)));
    assert!(matches!(queue.get_timeout(SOON), Err(RecvError::Empty)));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(SOON);
            queue.put(&7).expect("room");
        });
        assert_eq!(queue.get_timeout(PATIENCE).expect("one in time"), 7);
    });
}

#[test]
fn a_closed_queue_is_drained_and_takes_no_more() {
    let _alone = alone();
    let queue = Queue::new().expect("a queue");
    queue.put(&1).expect("room");
    queue.close();
    assert!(queue.is_closed());
    assert!(matches!(queue.put(&2), Err(SendError::Closed)));
    assert_eq!(queue.get().expect("what was put before"), 1);
    assert!(matches!(queue.get(), Err(RecvError::Closed)));
    let queue = Queue::<u32>::bounded(1).expect("a queue");
    std::thread::scope(|scope| {
        scope.spawn(|| assert!(matches!(queue.get(), Err(RecvError::Closed))));
        std::thread::sleep(SOON);
        queue.close();
    });
}

#[test]
fn a_bad_item_does_not_stop_later_ones() {
    let _alone = alone();
    let queue = Queue::new().expect("a queue");
    assert!(matches!(queue.put(&Moody(true)), Err(SendError::Encode(_))));
    queue.put(&Moody(false)).expect("a good one");
    assert_eq!(queue.get().expect("the good one"), Moody(false));
    // The same queue, taken for one of something else.
    let message = encode(&queue).expect("a handle");
    let texts: Queue<String> = decode(&message.bytes, message.descriptors).expect("a handle");
    let message = encode(&queue).expect("a handle");
    let bytes: Queue<Bytes> = decode(&message.bytes, message.descriptors).expect("a handle");
    bytes.put(&Bytes(vec![200, 1])).expect("room");
    texts.put(&"next".to_string()).expect("room");
    assert!(matches!(texts.get(), Err(RecvError::Decode(_))));
    assert_eq!(texts.get().expect("the next one"), "next");
    // One that refuses when a part of it is in the ring already.
    let large: Queue<(Vec<u8>, Moody)> = Queue::new().expect("a queue");
    assert!(matches!(large.put(&(vec![1; 900_000], Moody(true))), Err(SendError::Encode(_))));
    large.put(&(vec![2], Moody(false))).expect("a good one");
    assert_eq!(large.get().expect("the good one"), (vec![2], Moody(false)));
}

#[test]
fn many_processes_put_and_get() {
    const COUNT: u64 = 2000;
    let _alone = alone();
    let queue = Queue::<Numbered>::builder().bytes(1 << 14).build().expect("a queue");
    let got = Queue::<(u32, u64)>::new().expect("a queue");
    let putters: Vec<Process> = (0..3)
        .map(|who| Process::builder(&program()).start(put_numbered, &(queue.clone(), who, COUNT)).expect("a process"))
        .collect();
    let getters: Vec<Process> = (0..2)
        .map(|_| Process::builder(&program()).start(get_numbered, &(queue.clone(), got.clone())).expect("a process"))
        .collect();
    let mut seen = BTreeMap::new();
    for _ in 0..3 * COUNT {
        *seen.entry(got.get_timeout(PATIENCE).expect("one in time")).or_insert(0) += 1;
    }
    queue.close();
    for process in putters.iter().chain(&getters) {
        assert!(process.join_timeout(PATIENCE).expect("ours").expect("it ends").success());
    }
    let all: BTreeMap<_, _> = (0..3).flat_map(|who| (0..COUNT).map(move |number| ((who, number), 1))).collect();
    assert!(seen == all, "each once");
    assert!(got.is_empty());
}

#[test]
fn all_is_done_when_each_is_said_to_be() {
    let _alone = alone();
    let queue = JoinableQueue::new().expect("a queue");
    queue.join();
    assert_eq!(queue.task_done(), Err(NothingToDo));
    let workers: Vec<Process> =
        (0..2).map(|_| Process::builder(&program()).start(do_tasks, &queue).expect("a process")).collect();
    (0..20).for_each(|number| queue.put(&number).expect("room"));
    assert!(queue.join_timeout(PATIENCE));
    assert_eq!((queue.undone(), queue.task_done()), (0, Err(NothingToDo)));
    queue.close();
    for worker in workers {
        worker.join_timeout(PATIENCE).expect("ours").expect("it ends");
    }
    let queue = JoinableQueue::new().expect("a queue");
    queue.put(&1).expect("room");
    assert!(!queue.join_timeout(SOON), "it is not done");
}

#[test]
fn handles_travel_in_items() {
    let _alone = alone();
    let queue = Queue::<(Queue<u32>, Descriptor, Vec<u8>)>::new().expect("a queue");
    let mut readers = Vec::new();
    let inner = Queue::new().expect("a queue");
    for size in [1, 100, 300_000] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        readers.push(reader);
        queue.put(&(inner.clone(), writer.into(), vec![7; size])).expect("room");
    }
    for reader in &mut readers {
        let (inner, writer, bytes) = queue.get().expect("an item");
        inner.put(&(bytes.len() as u32)).expect("room");
        std::fs::File::from(writer.into_inner()).write_all(b"through").expect("the pipe's own end");
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("text");
        assert_eq!(text, "through");
    }
    assert_eq!([(); 3].map(|()| inner.get().expect("one")), [1, 100, 300_000]);
}

#[test]
fn something_else_is_no_queue() {
    let _alone = alone();
    let memory = multiprocessing::SharedMemory::new(4096).expect("memory");
    let parts = || memory_descriptor(&memory);
    let message = encode(&(parts(), parts(), parts(), parts())).expect("descriptors");
    assert!(decode::<Queue<u32>>(&message.bytes, message.descriptors).is_err());
}

fn memory_descriptor(memory: &multiprocessing::SharedMemory) -> Descriptor {
    use std::os::fd::AsFd;
    memory.as_fd().try_clone_to_owned().expect("a descriptor").into()
}

#[test]
fn no_wait_at_a_queue_is_ended_by_a_signal() {
    let _alone = alone();
    let queue = Queue::<u32>::bounded(1).expect("a queue");
    let got = crate::signals::interrupted(|| queue.get(), || queue.put(&7).expect("room"));
    assert_eq!(got.expect("one in time"), 7);
    queue.put(&8).expect("room");
    let put = crate::signals::interrupted(|| queue.put(&9), || assert_eq!(queue.get().expect("it is there"), 8));
    put.expect("room, in time");
    assert_eq!(queue.get().expect("it is there"), 9);
}
