//! Large pieces of shared memory that are used again.

use crate::leftovers::alone;
use crate::{PATIENCE, all_end_well, kill, start, work};
use multiprocessing::codec::{decode, encode};
use multiprocessing::sync::Event;
use multiprocessing::{Segment, Segments, SegmentsError, SharedSlice};
use std::time::Instant;

const SIZE: usize = 1 << 20;

fn received(segment: &Segment) -> Segment {
    let message = encode(segment).expect("a segment");
    decode(&message.bytes, message.descriptors).expect("the same")
}

#[test]
fn a_segment_comes_back_when_it_is_dropped() {
    let _alone = alone();
    let segments = Segments::new(3 * SIZE);
    for byte in 0..10 {
        let segment = segments.take(SIZE).expect("there is place");
        segment.write(0, &[byte]).expect("inside");
        assert!(segment.write(SIZE, &[0]).is_err() && segment.read(1, &mut vec![0; SIZE]).is_err());
        assert_eq!(segments.total(), SIZE);
    }
    let taken: Vec<_> = (0..3).map(|_| segments.take(SIZE).expect("there is place")).collect();
    assert!(matches!(segments.take(1), Err(SegmentsError::Full { size: 1, .. })));
    drop(taken);
    drop(segments.take(2 * SIZE).expect("idle ones of another size make place"));
    segments.trim();
    assert_eq!(segments.total(), 0);
}

#[test]
fn a_segment_that_others_have_is_not_taken_again() {
    let _alone = alone();
    let segments = Segments::new(SIZE);
    let segment = segments.take(1000).expect("there is place");
    segment.write(0, b"first").expect("inside");
    let message = encode(&segment).expect("a segment");
    drop(segment);
    assert!(segments.take(SIZE).is_err(), "it is in a message");
    let there: Segment = decode(&message.bytes, message.descriptors).expect("the same");
    assert!(segments.take(SIZE).is_err(), "it was received");
    assert_eq!((there.len(), &there.to_vec()[..5]), (1000, &b"first"[..]));
    drop(there);
    let again = segments.take(1000).expect("it is back");
    assert_eq!(&again.to_vec()[..5], b"first", "it is the same memory");
    let (one, other) = (received(&again), received(&again));
    drop((again, one));
    other.write(0, b"again").expect("inside");
    drop(other);
    assert_eq!(&segments.take(1000).expect("it is back").to_vec()[..5], b"again");
    drop(encode(&segments.take(SIZE).expect("there is place")).expect("a segment"));
    drop(segments.take(SIZE).expect("a message that went nowhere keeps nothing"));
    Segments::unmap_received();
}

#[test]
fn a_segment_is_written_at_any_offset_and_length() {
    let _alone = alone();
    let segments = Segments::new(SIZE);
    let segment = segments.take(100_000).expect("there is place");
    let mut expected = vec![0; 100_000];
    for (offset, length) in
        [(0, 100_000), (1, 4095), (63, 4096), (64, 5000), (99, 50_001), (95_000, 5000), (100_000, 0)]
    {
        let bytes: Vec<u8> = (0..length).map(|index| (index * 7 + offset) as u8).collect();
        segment.write(offset, &bytes).expect("inside");
        expected[offset..offset + length].copy_from_slice(&bytes);
        assert!(segment.to_vec() == expected, "{length} bytes at {offset}");
    }
}

#[test]
fn segments_travel_and_come_back_even_from_the_killed() {
    let _alone = alone();
    let segments = Segments::new(4 * SIZE);
    let (sums, done, enough) =
        (SharedSlice::new(2).expect("a slice"), Event::new().expect("an event"), Event::new().expect("an event"));
    for round in 1..3 {
        let full = || {
            let segment = segments.take(SIZE).expect("there is place");
            segment.write(0, &vec![round; SIZE]).expect("inside");
            segment
        };
        let argument = (vec![full(), full()], sums.clone(), done.clone(), enough.clone());
        let process = start(work::sum_segments, &argument);
        drop(argument);
        assert!(done.wait_timeout(PATIENCE));
        assert_eq!(sums.to_vec(), [SIZE as u64 * u64::from(round); 2]);
        assert!(segments.take(3 * SIZE).is_err(), "the other process has them");
        if round == 1 {
            kill(&process);
        } else {
            enough.set();
            all_end_well(&[process]);
        }
        drop(segments.take(3 * SIZE).expect("they are back"));
        segments.trim();
        done.clear();
    }
}

#[test]
fn refilling_and_handing_over_is_cheap() {
    let _alone = alone();
    let segments = Segments::new(128 << 20);
    let bytes = vec![7; 64 << 20];
    for _ in 0..3 {
        let segment = segments.take(bytes.len()).expect("there is place");
        let start = Instant::now();
        segment.write(0, &bytes).expect("inside");
        let filled = start.elapsed();
        let start = Instant::now();
        let there = received(&segment);
        let handed = start.elapsed();
        let mut found = vec![0; bytes.len()];
        found.fill(1);
        let start = Instant::now();
        there.read(0, &mut found).expect("inside");
        println!("filled in {filled:?}, handed over in {handed:?}, read in {:?}", start.elapsed());
        assert!(found == bytes);
    }
    Segments::unmap_received();
}
