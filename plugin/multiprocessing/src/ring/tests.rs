use super::header::Header;
use super::position::{Kind, Record};
use super::*;
use crate::memory::SharedMemory;
use proptest::prelude::*;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

const NO_LIMIT: usize = 1 << 30;

fn ring(capacity: usize) -> (Arc<SharedMemory>, Producer, Consumer) {
    let memory = Arc::new(SharedMemory::new(128 + HEADER + capacity).expect("memory"));
    let producer = Producer::new(memory.clone(), 128, capacity).expect("a place");
    let consumer = Consumer::new(memory.clone(), 128, capacity, NO_LIMIT).expect("a place");
    (memory, producer, consumer)
}

#[derive(Clone, Debug)]
enum Step {
    Push(Vec<u8>, usize),
    Pop,
    /// Others take the ring up where it is.
    Reload,
    /// A message in pieces that is not ended.
    Abandon(Vec<u8>),
}

fn step() -> impl Strategy<Value = Step> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..150);
    prop_oneof![
        4 => (bytes(), 0_usize..150).prop_map(|(bytes, cut)| Step::Push(bytes, cut)),
        4 => Just(Step::Pop),
        1 => Just(Step::Reload),
        1 => bytes().prop_map(Step::Abandon),
    ]
}

proptest! {
    #[test]
    fn a_ring_is_a_queue_of_whole_messages(steps in prop::collection::vec(step(), 0..200), limit in 1_u32..10) {
        let (_memory, mut producer, mut consumer) = ring(256);
        producer.set_message_limit(limit);
        let mut naive = VecDeque::new();
        for step in steps {
            match step {
                Step::Push(bytes, cut) => {
                    let (one, other) = bytes.split_at(cut.min(bytes.len()));
                    let tag = bytes.len() as u8;
                    if producer.try_push(&[one, other], tag).expect("whole") {
                        naive.push_back((bytes, tag));
                    }
                }
                Step::Pop => {
                    let mut found = b"old".to_vec();
                    let tag = consumer.try_pop(&mut found).expect("whole");
                    prop_assert_eq!(tag.map(|tag| (found, tag)), naive.pop_front());
                }
                Step::Reload => {
                    producer.reload().expect("whole");
                    consumer.reload();
                }
                Step::Abandon(bytes) => {
                    let mut stream = producer.stream();
                    let _ = stream.write(&bytes, &mut |_, _| Err(Broken("full")));
                }
            }
            prop_assert_eq!(consumer.messages() as usize, naive.len());
        }
    }

    #[test]
    fn a_hostile_header_or_record_is_an_error(at in 0_usize..512 / 8, value in any::<u64>(), small in 0_u64..600, choose in any::<bool>()) {
        let (memory, mut producer, mut consumer) = ring(64);
        assert!(producer.try_push(&[b"one message"], 0).expect("whole"));
        let value = if choose { value } else { small };
        let at = if at < HEADER / 8 { at } else { HEADER / 8 };
        memory.atomic_u64(128 + at * 8).expect("inside").store(value, Ordering::Relaxed);
        memory.atomic_u64(128 + HEADER).expect("inside").store(value, Ordering::Relaxed);
        let mut into = Vec::new();
        for _ in 0..10 {
            let _ = producer.try_push(&[&[7; 40]], 0);
            let _ = consumer.try_pop(&mut into);
            let _ = producer.reload();
            let _ = (producer.messages(), consumer.messages());
            consumer.reload();
        }
        assert!(into.len() <= 64);
    }
}

#[test]
fn a_message_larger_than_the_ring_goes_through_it_in_pieces() {
    let (_memory, mut producer, mut consumer) = ring(4096);
    let message: Vec<u8> = (0..1_000_003_u32).map(|i| (i % 251) as u8).collect();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..3 {
                assert!(producer.push(&[b"head", &message], 9, None).expect("whole"));
                assert!(producer.push(&[b"small"], 1, None).expect("whole"));
                assert!(producer.push(&[], 2, None).expect("whole"));
            }
        });
        let mut found = Vec::new();
        for _ in 0..3 {
            assert_eq!(consumer.pop(&mut found, None), Ok(Some(9)));
            assert!(found[..4] == *b"head" && found[4..] == message);
            assert_eq!(consumer.pop(&mut found, None), Ok(Some(1)));
            assert_eq!(found, b"small");
            assert_eq!(consumer.pop(&mut found, None), Ok(Some(2)));
            assert_eq!(found, b"");
        }
    });
}

#[test]
fn a_push_that_has_no_time_left_leaves_nothing() {
    let (_memory, mut producer, mut consumer) = ring(64);
    let soon = || Some(Instant::now() + Duration::from_millis(5));
    assert!(!producer.push(&[&[1; 500]], 0, soon()).expect("whole"));
    let mut found = Vec::new();
    assert_eq!(consumer.pop(&mut found, soon()), Ok(None));
    assert!(producer.try_push(&[b"next"], 0).expect("whole"));
    assert_eq!((consumer.try_pop(&mut found), &found[..]), (Ok(Some(0)), &b"next"[..]));
    assert!(!consumer.is_gathering());
}

#[test]
fn a_message_beyond_the_limit_breaks_the_ring() {
    let (memory, mut producer, _) = ring(64);
    let mut consumer = Consumer::new(memory, 128, 64, 20).expect("a place");
    let mut found = Vec::new();
    assert!(producer.try_push(&[&[1; 20]], 0).expect("whole"));
    assert_eq!(consumer.try_pop(&mut found), Ok(Some(0)));
    assert!(producer.try_push(&[&[1; 21]], 0).expect("whole"));
    assert!(consumer.try_pop(&mut found).is_err());
}

#[test]
fn who_sleeps_at_a_doorbell_is_to_be_rung_once() {
    let (_memory, mut producer, mut consumer) = ring(64);
    let mut found = Vec::new();
    assert!(producer.try_push(&[b"awake"], 0).expect("whole") && !producer.owes_ring());
    assert!(!consumer.want_doorbell().expect("whole"), "there is one");
    consumer.try_pop(&mut found).expect("whole");
    assert!(consumer.want_doorbell().expect("whole"));
    assert!(producer.try_push(&[b"asleep"], 0).expect("whole") && producer.owes_ring() && !producer.owes_ring());
    assert!(consumer.awake(), "it was woken");
    while producer.try_push(&[b"full"], 0).expect("whole") {}
    assert!(producer.want_doorbell(2).expect("whole") && !consumer.owes_ring());
    consumer.try_pop(&mut found).expect("whole");
    assert!(consumer.owes_ring() && !consumer.owes_ring());
}

#[test]
fn a_ring_must_have_a_place() {
    let memory = Arc::new(SharedMemory::new(HEADER + 128).expect("memory"));
    for (offset, capacity) in [(0, 256), (64, 64), (1, 64), (0, 100), (0, 32), (usize::MAX - 127, 64), (0, 0)] {
        assert!(Producer::new(memory.clone(), offset, capacity).is_err(), "{offset} {capacity}");
    }
    assert_eq!(HEADER, size_of::<Header>());
    let word = Record { kind: Kind::Whole, length: u32::MAX, tag: 0 }.word();
    memory.atomic_u64(HEADER).expect("inside").store(word, Ordering::Relaxed);
    memory.atomic_u64(0).expect("inside").store(4, Ordering::Relaxed);
    let mut consumer = Consumer::new(memory, 0, 128, NO_LIMIT).expect("a place");
    assert!(consumer.try_pop(&mut Vec::new()).is_err());
}
