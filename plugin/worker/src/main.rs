//! `mp-worker`: runs the tasks of mp-scan's analyses in a process of its own. Its pool starts it.
#![forbid(unsafe_code)]

mod files;
mod heap;
mod scan;
mod stacks;
mod symbols;

use analysis::heap::HeapCopy;
use analysis::heap::allocators::Allocators;
use analysis::heap::glibc::{Check, FreeLists, Locate, Walk};
use analysis::heap::graph::Edges;
use analysis::heap::leaks::LeakEdges;
use analysis::heap::mark::Mark;
use analysis::heap::provider::FindProvider;
use analysis::heap::refs::{Invert, Pointers};
use analysis::heap::types::{Glance, HeapTypes};
use analysis::{entropy::Entropy, find::Find, lines::Lines, lookup::Lookup, remote, strings::Strings, types::Types};
use files::{FileScan, Inflate, Survey};
use heap::HeapScan;
use multiprocessing::{Registry, worker_main};
use scan::Scan;
use stacks::UnwindStacks;
use std::process::ExitCode;
use symbols::Symbols;

fn main() -> ExitCode {
    // It is a text in this file, as tools that look for it expect, and not spread over instructions.
    let build = std::hint::black_box(remote::BUILD);
    if std::env::args().nth(1).as_deref() == Some("--version") {
        println!("{build}");
        return ExitCode::SUCCESS;
    }
    worker_main(
        Registry::new(build)
            .function::<Scan<Find>>()
            .function::<Scan<Strings>>()
            .function::<Scan<Entropy>>()
            .function::<HeapScan<Allocators>>()
            .function::<HeapScan<FindProvider>>()
            .function::<HeapScan<Locate>>()
            .function::<HeapScan<Walk>>()
            .function::<HeapScan<FreeLists>>()
            .function::<HeapScan<Check>>()
            .function::<HeapScan<Mark>>()
            .function::<HeapScan<Invert>>()
            .function::<HeapScan<LeakEdges>>()
            .function::<HeapScan<Edges>>()
            .function::<HeapScan<Pointers>>()
            .function::<HeapScan<HeapCopy>>()
            .function::<HeapScan<HeapTypes>>()
            .function::<HeapScan<Glance>>()
            .function::<UnwindStacks>()
            .function::<Symbols>()
            .function::<FileScan<analysis::symbols::Symbols>>()
            .function::<FileScan<Types>>()
            .function::<FileScan<analysis::xrefs::Xrefs>>()
            .function::<Survey>()
            .function::<Inflate>()
            .function::<FileScan<Lookup>>()
            .function::<FileScan<Lines>>(),
    )
}
