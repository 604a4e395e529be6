//! Stacks of real processes, beside what gdb says of them.

#[path = "../common/build.rs"]
mod build;
mod debuggee;

use analysis::stacks::{CUT, End, Registers, Stack, Unwind, View};
use analysis::{Serial, run};
use debuggee::{Debuggee, modules, registers};
use std::collections::BTreeMap;
use target::modules::Files;
use target::{Access, Opened};

/// The stacks of threads.
fn unwind(opened: &Opened, threads: &[Registers]) -> Vec<Stack> {
    let memory = opened.memory().unwrap();
    let set = modules(opened, &*memory);
    let view = View { memory, files: Files::new(set.clone(), Vec::new(), Access::Mapped, None) };
    let plan = Unwind::new(set, threads.to_vec());
    let mut nothing: Vec<()> = Vec::new();
    let outcome = run(&plan, &mut Serial::new(&plan, &view), &view, CUT, &mut nothing);
    assert_eq!(outcome.merge.len(), threads.len());
    outcome.merge
}

fn pcs(stack: &Stack) -> Vec<u64> {
    stack.frames.iter().map(|frame| frame.pc).collect()
}

/// As lines, for a person to compare.
fn hex(pcs: &[u64]) -> String {
    pcs.iter().map(|pc| format!("{pc:x} ")).collect()
}

fn compare_with_gdb(options: &str) {
    let debuggee = Debuggee::start(options, 60);
    let (core, theirs) = debuggee.core();
    let (ids, threads): (Vec<u64>, Vec<Registers>) = registers(&core).into_iter().unzip();
    assert_eq!(ids.len(), 62);
    let ours: BTreeMap<u64, Stack> = ids.into_iter().zip(unwind(&core, &threads)).collect();
    for (id, stack) in &ours {
        let place = debuggee.places.get(id).map_or("main", String::as_str);
        let (ours, theirs) = (pcs(stack), &theirs[id]);
        assert_eq!(stack.end, End::Outermost, "{options} {place}: {} but gdb {}", hex(&ours), hex(theirs));
        assert_eq!(hex(&ours), hex(theirs), "{options} {place}");
    }
}

#[test]
fn stacks_are_those_that_gdb_says() {
    for options in
        ["-O0 -g", "-O2 -g", "-O2 -fomit-frame-pointer -s -fcf-protection=none", "-O1 -fno-pie -no-pie -static"]
    {
        compare_with_gdb(options);
    }
}

#[test]
fn what_is_known_of_a_live_thread_is_enough_for_its_frames() {
    let debuggee = Debuggee::start("-O2 -g", 46);
    // That of the threads which have not come back from a system call.
    let waiting = debuggee.waiting();
    assert!(waiting.len() >= 40, "{} wait", waiting.len());
    let (ids, threads): (Vec<u64>, Vec<Registers>) = waiting.into_iter().unzip();
    let live = unwind(&debuggee.live(), &threads);
    let (core, _) = debuggee.core();
    let (all, threads): (Vec<u64>, Vec<Registers>) = registers(&core).into_iter().unzip();
    let whole: BTreeMap<u64, Vec<u64>> = all.into_iter().zip(unwind(&core, &threads).iter().map(pcs)).collect();
    let mut complete = 0;
    for (id, stack) in ids.iter().zip(&live) {
        let found = pcs(stack);
        match stack.end {
            End::Outermost => assert_eq!(found, whole[id]),
            // It is not guessed.
            End::Needs(_) => assert_eq!(found, whole[id][..found.len()]),
            end => panic!("{}: {end:?}", debuggee.places[id]),
        }
        complete += usize::from(stack.end == End::Outermost);
    }
    assert!(complete > 30, "{complete} are complete");
}
