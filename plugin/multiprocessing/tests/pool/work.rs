//! What a pool is for.

use crate::common::*;

#[test]
fn many_tasks_end_each_with_its_own_value() {
    let _alone = alone();
    let pool = pool(2);
    let ended = run(&pool, (0..2000).map(Act::Square));
    for (id, result) in ended {
        assert_eq!(result.expect("a value"), Brought::Number(id * id));
    }
    assert_eq!(pool.deaths(), 0);
    assert_eq!(pool.status().expect("it answers").iter().map(|worker| worker.tasks).sum::<u64>(), 2000);
}

#[test]
fn set_up_and_descriptors_reach_each_worker() {
    let _alone = alone();
    let pool = pool(2);
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    let job = pool.typed_job::<Actor>(&Setup::Text("set-up".into(), vec![reader.into()])).expect("a job");
    std::io::Write::write_all(&mut writer, b"descriptor").expect("room");
    drop(writer);
    job.submit(0, &Act::Setup).expect("encoded");
    assert_eq!(collect(&job)[&0].as_ref().expect("a value"), &Brought::Text("set-up and descriptor".into()));
}

#[test]
fn large_payloads_go_both_ways() {
    let _alone = alone();
    let pool = pool(2);
    let job = pool.job("echo", Message::plain(vec![7; 100_000])).expect("a job");
    let large: Vec<u8> = (0..64 << 20).map(|i: u32| (i >> 8) as u8 ^ i as u8).collect();
    let sizes = [0, 1, (64 << 10) - 1, 64 << 10, (64 << 10) + 1, large.len()];
    for (id, size) in sizes.into_iter().enumerate() {
        job.submit(id as u64, Message::plain(large[..size].to_vec()));
    }
    for _ in sizes {
        match job.next_timeout(PATIENCE) {
            Next::Ended(id, Ok(payload)) => assert!(*payload == large[..sizes[id as usize]]),
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(job.next_timeout(Duration::ZERO), Next::Idle));
}
