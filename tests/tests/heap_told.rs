//! What allocations are told to be beside rows of other commands: before anybody has asked for types, and after.

use serde_json::Value;
use std::collections::BTreeMap;
use tests::report::{essence, number};
use tests::{Debuggee, Session, gcore};

/// Whether a core file is looked at, or the process.
const LIVE_AND_CORE: [bool; 2] = [false, true];

/// The types of the allocations that a report tells of, in its rows and in the ways from roots.
fn told(report: &Value) -> BTreeMap<u64, Option<String>> {
    fn collect(value: &Value, all: &mut BTreeMap<u64, Option<String>>) {
        match value {
            Value::Array(list) => list.iter().for_each(|value| collect(value, all)),
            Value::Object(fields) => {
                if fields.contains_key("start") && fields.contains_key("used") {
                    all.insert(number(&fields["start"]), value["type"].as_str().map(str::to_owned));
                }
                fields.values().for_each(|value| collect(value, all));
            }
            _ => {}
        }
    }
    let mut all = BTreeMap::new();
    collect(&report["results"], &mut all);
    all
}

/// How many allocations there are of each type.
fn counts(told: &BTreeMap<u64, Option<String>>) -> BTreeMap<&str, u64> {
    let mut counts = BTreeMap::new();
    for name in told.values().flatten() {
        *counts.entry(&**name).or_default() += 1;
    }
    counts
}

/// Runs each command in a session of its own, live and in a core file, before types are known, and once more after that; hands on what
/// both have told.
fn before_and_after(
    debuggee: &Debuggee,
    cores: &[bool],
    commands: &[String],
    assert: impl Fn(&str, &BTreeMap<u64, Option<String>>, &BTreeMap<u64, Option<String>>),
) {
    debuggee.dump_everything();
    for is_core in cores.iter().copied() {
        for command in commands {
            let mut session = Session::start();
            if is_core {
                let core = gcore(debuggee.pid(), session.folder());
                session.open_core(Some(&debuggee.program), &core);
            } else {
                session.attach(debuggee);
            }
            let mut ask = || session.json(&format!("mp-scan {command}"));
            let (before, again) = (ask(), ask());
            assert_eq!(essence(&before), essence(&again), "{command}");
            session.json("mp-scan heap");
            let after = session.json(&format!("mp-scan {command}"));
            let (before, after) = (told(&before), told(&after));
            assert!(before.keys().eq(after.keys()), "{command}: other allocations");
            assert(command, &before, &after);
            if !is_core {
                session.ok("process detach");
            }
        }
    }
}

/// All that is told after `heap` is told before it, and these types are among that.
fn everything_is_told(debuggee: &Debuggee, cores: &[bool], commands: &[String], types: &[&str]) {
    before_and_after(debuggee, cores, commands, |command, before, after| {
        assert!(before == after, "{command}: {:?}, and then {:?}", counts(before), counts(after));
        let counts = counts(before);
        for name in types {
            assert!(counts.keys().any(|known| known.contains(name)), "{command}: {name} in {counts:?}");
        }
    });
}

/// A search for pointers to what lies behind an allocation of this kind.
fn pointers(debuggee: &Debuggee, kind: &str) -> String {
    let first = debuggee.truth.addresses(kind).into_iter().min().expect("there is one");
    format!("find --pointer-range {first:#x}..{:#x} --limit 4000", first + (1 << 20))
}

#[test]
fn a_small_heap_of_c_plus_plus_is_told_at_once() {
    let debuggee = Debuggee::start("heap_mix.cpp", &["chunks=10", "leaks=100"]);
    let search = pointers(&debuggee, "leak");
    let types = ["Buffer", "Listener", "std::map/set node", "std::list node", "std::unordered_map/set node"];
    everything_is_told(&debuggee, &LIVE_AND_CORE, &[search], &types);
    everything_is_told(
        &debuggee,
        &LIVE_AND_CORE,
        &["strings --min 20 --in heap --limit 200".to_owned()],
        &["std::string characters"],
    );
    let leak = debuggee.truth.labelled("leak", |label| label.starts_with("held"))[0];
    let questions = [format!("refs {leak:#x}"), format!("refs {leak:#x} --depth 2")];
    everything_is_told(&debuggee, &LIVE_AND_CORE, &questions, &[]);
}

#[test]
fn a_small_heap_of_rust_is_told_at_once() {
    let debuggee = Debuggee::start("heap.rs", &[]);
    let kept = debuggee.truth.labelled("kept", |label| label.starts_with("static:"));
    // Nearly all of them are near each other, in the arena of the thread that made them.
    let middle = kept[kept.len() / 2];
    let range = format!("{:#x}..{:#x}", middle - (1 << 20), middle + (1 << 20));
    let search = format!("find --pointer-range {range} --in heap --limit 100000");
    // A core file has what is reserved for the arenas of threads as memory, too much for types to be looked for at once.
    everything_is_told(&debuggee, &[false], &[search], &["BTreeMap/BTreeSet node", "HashMap/HashSet table"]);
}

#[test]
fn objects_and_nodes_of_a_large_heap_are_told_at_once() {
    let debuggee = Debuggee::start("heap_mix.cpp", &["chunks=300"]);
    let leak = debuggee.truth.labelled("leak", |label| label.starts_with("held"))[0];
    let commands = [pointers(&debuggee, "leak"), format!("refs {leak:#x}..{:#x} --limit 3000", leak + (1 << 20))];
    let classes = ["Entity", "Session", "Request", "Buffer", "Listener"];
    let tells_itself = |name: &str| classes.contains(&name) || ["std::map/set node", "std::list node"].contains(&name);
    before_and_after(&debuggee, &LIVE_AND_CORE, &commands, |command, before, after| {
        for (start, name) in before {
            assert!(name.is_none() || *name == after[start], "{command}: {start:#x} {name:?}");
        }
        let own = |(_, name): &(&u64, &Option<String>)| name.as_deref().is_some_and(tells_itself);
        let (before, after): (BTreeMap<_, _>, BTreeMap<_, _>) =
            (before.iter().filter(own).collect(), after.iter().filter(own).collect());
        assert!(before == after, "{command}: {} and then {}", before.len(), after.len());
        assert!(before.len() > 10, "{command}: {before:?}");
    });
}
