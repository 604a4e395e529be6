use crate::large::*;
use crate::leftovers::{alone, has_thread};
use crate::moody::Moody;
use crate::queue::*;
use crate::{PATIENCE, SOON, program};
use multiprocessing::codec::{Descriptor, decode, encode};
use multiprocessing::{
    Bytes, Pipe, Process, Queue, Receiver, RecvError, SendError, Sender, StartMethod, Zygote, channel,
    channel_with_capacity, pipe, pipe_with_capacity,
};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Gives an end to a process, and lets it go here.
fn echo(other: Pipe<String, String>) -> Process {
    Process::builder(&program()).start(echo_texts, &other).expect("a process")
}

#[test]
fn what_is_sent_comes_back_from_another_process() {
    let _alone = alone();
    let (mut one, other) = pipe().expect("a pipe");
    let process = echo(other);
    for text in ["", "short", &"long".repeat(100_000)] {
        one.send(&text.to_string()).expect("it listens");
        assert!(one.recv_timeout(PATIENCE).expect("an answer") == text);
    }
    drop(one);
    assert!(process.join_timeout(PATIENCE).expect("ours").expect("it ends with the pipe").success());
}

#[test]
fn an_idle_end_is_woken_by_the_next_message() {
    let _alone = alone();
    let (mut one, other) = pipe().expect("a pipe");
    let process = echo(other);
    for _ in 0..3 {
        // Long enough for both to sleep deeply.
        std::thread::sleep(SOON);
        assert!(matches!(one.recv_timeout(SOON), Err(RecvError::Empty)));
        one.send(&"x".to_string()).expect("it listens");
        assert_eq!(one.recv_timeout(PATIENCE).expect("an answer"), "x");
    }
    drop(one);
    process.join_timeout(PATIENCE).expect("ours").expect("it ends");
}

#[test]
fn messages_keep_their_bounds() {
    let _alone = alone();
    let (mut one, mut other) = pipe::<Bytes, Bytes>().expect("a pipe");
    one.send_bytes(b"").expect("room");
    one.send_bytes(b"a").expect("room");
    one.send_bytes(b"bc").expect("room");
    let mut bytes = b"old".to_vec();
    for expected in [&b""[..], b"a", b"bc"] {
        assert!(other.poll().expect("whole"));
        other.recv_bytes_into(&mut bytes).expect("a message");
        assert_eq!(bytes, expected);
    }
    assert!(!other.poll_timeout(SOON).expect("whole"));
}

#[test]
fn the_end_of_the_other_side_is_told_after_all_it_has_sent() {
    let _alone = alone();
    let (mut sender, mut receiver) = channel::<u32>().expect("a channel");
    sender.send(&1).expect("room");
    sender.send(&2).expect("room");
    assert!(matches!(receiver.try_recv(), Ok(1)));
    drop(sender);
    assert!(matches!(receiver.recv(), Ok(2)));
    assert!(matches!(receiver.recv(), Err(RecvError::Closed)));
    assert!(matches!(receiver.try_recv(), Err(RecvError::Closed)));
    assert!(receiver.poll_timeout(PATIENCE).expect("whole"));
    let (mut sender, receiver) = channel::<u32>().expect("a channel");
    sender.send(&0).expect("room");
    drop(receiver);
    assert!(matches!(sender.send(&1), Err(SendError::Closed)));
    assert!(matches!(sender.send(&2), Err(SendError::Closed)));
}

#[test]
fn the_death_of_the_other_side_is_seen() {
    let _alone = alone();
    let (mut one, other) = pipe_with_capacity::<String, String>(4096).expect("a pipe");
    let ready = Queue::new().expect("a queue");
    let process = Process::builder(&program()).start(hold_end, &(other, ready.clone())).expect("a process");
    ready.get_timeout(PATIENCE).expect("it holds its end");
    assert!(matches!(one.recv_timeout(SOON), Err(RecvError::Empty)));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(SOON);
            process.kill().expect("ours");
        });
        // It waits for room when the other side is killed.
        while one.send(&"x".repeat(100)).is_ok() {}
    });
    assert!(matches!(one.recv_timeout(PATIENCE), Err(RecvError::Closed)));
    process.join().expect("ours");
}

/// How many messages are so many that an end comes to sleep in the futex, where a thread of the process has to watch for it.
const MANY: u32 = 50;
const WATCHER: &str = "pipes";

#[test]
fn the_death_of_the_other_side_is_seen_by_one_that_sleeps_in_the_futex() {
    let _alone = alone();
    let (sender, mut receiver) = channel::<u32>().expect("a channel");
    let process = Process::builder(&program()).start(send_slowly, &(sender, MANY)).expect("a process");
    for number in 0..MANY {
        assert_eq!(receiver.recv_timeout(PATIENCE).expect("it sends"), number);
    }
    assert!(has_thread(WATCHER), "it has slept at its line only");
    let (told, tells) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            told.send(receiver.recv()).expect("it is waited for");
            // From then on it is known.
            told.send(receiver.recv()).expect("it is waited for");
        });
        assert!(tells.recv_timeout(SOON).is_err(), "it lives");
        process.kill().expect("ours");
        for _ in 0..2 {
            let told = tells.recv_timeout(PATIENCE).expect("it is told");
            assert!(matches!(told, Err(RecvError::Closed)), "{told:?}");
        }
    });
    process.join().expect("ours");
}

#[test]
fn two_ends_on_one_processor_answer_and_one_sees_the_death_of_the_other() {
    let _alone = alone();
    let (mut one, other) = pipe().expect("a pipe");
    let process = echo(other);
    let mut processor = CpuSet::new();
    processor.set(first_processor()).expect("it is one");
    sched_setaffinity(Pid::from_raw(process.pid() as i32), &processor).expect("it is ours");
    let text = "x".repeat(100);
    std::thread::scope(|scope| {
        // The processor is this thread's only.
        let talk = scope.spawn(|| {
            sched_setaffinity(Pid::from_raw(0), &processor).expect("its own");
            for _ in 0..2000 {
                one.send(&text).expect("it listens");
                assert_eq!(one.recv_timeout(PATIENCE).expect("an answer"), text);
            }
            process.kill().expect("ours");
            one.recv_timeout(PATIENCE)
        });
        let told = talk.join().expect("no panic");
        assert!(matches!(told, Err(RecvError::Closed)), "{told:?}");
    });
    process.join().expect("ours");
}

/// One of those that this process may use.
fn first_processor() -> usize {
    let own = sched_getaffinity(Pid::from_raw(0)).expect("its own");
    (0..CpuSet::count()).find(|number| own.is_set(*number).is_ok_and(|set| set)).expect("it runs on one")
}

#[test]
fn the_watcher_is_there_as_long_as_an_end_that_needs_it() {
    let _alone = alone();
    let few = || {
        let (mut sender, mut receiver) = channel::<u32>().expect("a channel");
        sender.send(&1).expect("room");
        assert_eq!(receiver.recv().expect("a message"), 1);
        assert!(matches!(receiver.recv_timeout(SOON), Err(RecvError::Empty)));
        (sender, receiver)
    };
    let many = || {
        let (mut sender, mut receiver) = few();
        std::thread::scope(|scope| {
            scope.spawn(|| slowly(MANY, |number| sender.send(&number).expect("room")));
            (0..MANY).for_each(|number| assert_eq!(receiver.recv().expect("a message"), number));
        });
        (sender, receiver)
    };
    let gone = || {
        let end = Instant::now() + PATIENCE;
        while has_thread(WATCHER) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
        }
        !has_thread(WATCHER)
    };
    for _ in 0..3 {
        let seldom = few();
        assert!(!has_thread(WATCHER));
        let (one, other) = (many(), many());
        drop(one);
        std::thread::sleep(SOON);
        assert!(has_thread(WATCHER));
        let (mut sender, receiver) = other;
        // One whose descriptor is looked at sleeps there.
        let _ = receiver.as_fd();
        assert!(gone());
        let mut receiver = receiver;
        sender.send(&7).expect("room");
        assert_eq!(receiver.recv().expect("a message"), 7);
        drop(seldom);
    }
}

#[test]
fn an_end_that_sleeps_in_the_futex_can_be_given_to_another_process() {
    let _alone = alone();
    for method in [StartMethod::Spawn, StartMethod::Zygote(Zygote::new(&program()))] {
        let (mut sender, mut receiver) = channel::<u32>().expect("a channel");
        std::thread::scope(|scope| {
            scope.spawn(|| slowly(MANY, |number| sender.send(&number).expect("room")));
            (0..MANY).for_each(|number| assert_eq!(receiver.recv().expect("a message"), number));
        });
        assert!(has_thread(WATCHER));
        let process = Process::builder(&program()).start_method(method);
        let process = process.start(receive_all, &(receiver, MANY)).expect("a process");
        slowly(MANY, |number| sender.send(&number).expect("room"));
        // Long enough for it to sleep.
        std::thread::sleep(SOON);
        drop(sender);
        assert!(process.join_timeout(PATIENCE).expect("ours").expect("it ends with the channel").success());
    }
}

#[test]
fn a_full_end_says_so_and_nothing_of_the_message_arrives() {
    let _alone = alone();
    let (mut sender, mut receiver) = channel_with_capacity::<Vec<u8>>(4096).expect("a channel");
    let mut sent = 0_u8;
    while sender.try_send(&vec![sent; 500]).is_ok() {
        sent += 1;
    }
    assert!(matches!(sender.send_timeout(&vec![9; 500], SOON), Err(SendError::Full)));
    assert!(matches!(sender.try_send(&vec![9; 50_000]), Err(SendError::Full)));
    for number in 0..sent {
        assert_eq!(receiver.recv().expect("a message"), vec![number; 500]);
    }
    assert!(matches!(receiver.try_recv(), Err(RecvError::Empty)));
    assert!(matches!(sender.send_timeout(&vec![9; 50_000], SOON), Err(SendError::Full)));
    assert!(matches!(receiver.try_recv(), Err(RecvError::Empty)));
    sender.send(&vec![1]).expect("room");
    assert_eq!(receiver.recv().expect("a message"), [1]);
}

#[test]
fn a_bad_message_is_an_error_of_its_own() {
    let _alone = alone();
    let (mut sender, receiver) = channel::<Moody>().expect("a channel");
    assert!(matches!(sender.send(&Moody(true)), Err(SendError::Encode(_))));
    sender.send(&Moody(false)).expect("a good one");
    // The other end takes it for something else.
    let message = encode(&receiver).expect("an end");
    drop(receiver);
    let mut receiver: Receiver<String> = decode(&message.bytes, message.descriptors).expect("an end");
    sender.send_bytes(&[200, 1]).expect("room");
    sender.send_bytes(&[1, b'x']).expect("room");
    assert_eq!(receiver.recv().expect("an empty text"), "");
    assert!(matches!(receiver.recv(), Err(RecvError::Decode(_))));
    assert_eq!(receiver.recv().expect("the next one"), "x");
}

#[test]
fn descriptors_arrive_with_their_messages() {
    let _alone = alone();
    let (mut sender, mut receiver) = channel::<(u32, Option<Descriptor>)>().expect("a channel");
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    sender.send(&(1, None)).expect("room");
    sender.send(&(2, Some(writer.into()))).expect("room");
    sender.send(&(3, None)).expect("room");
    assert!(matches!(receiver.recv(), Ok((1, None))));
    let Ok((2, Some(writer))) = receiver.recv() else { panic!("a descriptor") };
    std::fs::File::from(writer.into_inner()).write_all(b"through").expect("the pipe's own end");
    assert!(matches!(receiver.recv(), Ok((3, None))));
    let mut text = String::new();
    reader.read_to_string(&mut text).expect("text");
    assert_eq!(text, "through");
}

#[test]
fn an_end_can_be_sent_through_another_one() {
    let _alone = alone();
    let (mut carrier, receiver) = channel::<Sender<String>>().expect("a channel");
    let process = Process::builder(&program()).start(use_sent_end, &receiver).expect("a process");
    drop(receiver);
    let (sender, mut through) = channel::<String>().expect("a channel");
    carrier.send(&sender).expect("it listens");
    drop(sender);
    assert_eq!(through.recv_timeout(PATIENCE).expect("a message"), "through");
    assert!(matches!(through.recv_timeout(PATIENCE), Err(RecvError::Closed)));
    process.join_timeout(PATIENCE).expect("ours").expect("it ends");
}

#[test]
fn something_else_is_no_end() {
    let _alone = alone();
    let (one, _other) = pipe::<u8, u8>().expect("a pipe");
    let file = tempfile::tempfile().expect("a file");
    for lie in [0_u64, 1, 512, u64::MAX] {
        let message = encode(&(
            Descriptor::from(file.try_clone().expect("a descriptor")),
            lie,
            Descriptor::from(file.try_clone().expect("a descriptor")),
        ))
        .expect("descriptors");
        assert!(decode::<Sender<u8>>(&message.bytes, message.descriptors).is_err());
    }
    let (memory, _, socket): (Descriptor, u64, Descriptor) = {
        let (sender, _receiver) = one.split();
        let message = encode(&sender).expect("an end");
        decode(&message.bytes, message.descriptors).expect("its parts")
    };
    let lies = encode(&(memory, 64_u64, socket)).expect("descriptors");
    assert!(decode::<Receiver<u8>>(&lies.bytes, lies.descriptors).is_err());
}

#[test]
fn a_large_message_costs_its_own_size_on_each_side() {
    const SIZE: usize = 256 << 20;
    let _alone = alone();
    let (sender, mut receiver) = channel::<Bytes>().expect("a channel");
    let used = Queue::new().expect("a queue");
    let process = Process::builder(&program()).start(send_large, &(sender, SIZE, used.clone())).expect("a process");
    let before = peak();
    let bytes = receiver.recv_timeout(PATIENCE).expect("a message");
    let here = peak() - before;
    assert_eq!(bytes.0.len(), SIZE);
    assert!(bytes.0.iter().all(|byte| *byte == 7));
    let there = used.get_timeout(PATIENCE).expect("a number");
    let size = (SIZE >> 10) as u64;
    assert!(here <= size + size / 10, "{here} KiB here");
    assert!(there <= size / 10, "{there} KiB there, beside the message itself");
    process.join_timeout(PATIENCE).expect("ours").expect("it ends");
}

#[test]
fn the_descriptor_of_an_end_is_readable_when_there_is_something() {
    let _alone = alone();
    let readable = |receiver: &Receiver<u32>| {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        poll(&mut [PollFd::new(receiver.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO).expect("a poll") == 1
    };
    let (mut sender, mut receiver) = channel::<u32>().expect("a channel");
    sender.send(&0).expect("room");
    assert!(readable(&receiver), "what came before the first look");
    assert!(matches!(receiver.recv(), Ok(0)));
    for number in 1..100 {
        assert!(!readable(&receiver));
        for _ in 0..number % 3 + 1 {
            sender.send(&number).expect("room");
        }
        for _ in 0..number % 3 + 1 {
            assert!(readable(&receiver));
            assert_eq!(receiver.recv_timeout(PATIENCE).expect("a message"), number);
        }
    }
    drop(sender);
    assert!(readable(&receiver));
    assert!(matches!(receiver.recv(), Err(RecvError::Closed)));
}
