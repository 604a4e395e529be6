//! Who points to whom in a real process, and what that comes to.

use crate::debuggee::Debuggee;
use analysis::heap::dominators::Dominators;
use analysis::heap::glibc::{Heap, survey};
use analysis::heap::graph::{Edges, Graph, ReverseGraph};
use analysis::heap::refs::{self, Place, Pointers, PointersMerge, Query};
use analysis::heap::retained::{Retained, sizes};
use analysis::heap::{Area, Lookup, Segments, View};
use analysis::{Analysis, Cut, ScanRange, Serial, run};
use std::collections::BTreeMap;
use target::{AddressRange, AddressSpace, Opened};

/// All that may be written and is not heap: more than counts as roots elsewhere, but nothing of what this asks for.
fn roots(space: &AddressSpace, segments: &Segments) -> Vec<ScanRange> {
    let mut roots = Vec::new();
    for region in &space.regions {
        if !region.permissions.contains(target::Permissions::WRITE) || !region.is_readable() {
            continue;
        }
        let mut start = region.range.start;
        let taken = segments.list().iter().filter_map(|segment| segment.range.intersect(region.range));
        for taken in taken.chain([AddressRange::new(region.range.end, region.range.end)]) {
            if start < taken.start {
                let range = AddressRange::new(start, taken.start);
                roots.push(ScanRange { range, region: range, sparse: region.is_sparse() });
            }
            start = taken.end;
        }
    }
    roots
}

pub struct Subject {
    pub view: View,
    pub area: Area,
}

impl Subject {
    pub fn new(opened: &Opened) -> Self {
        let memory = opened.memory().unwrap();
        let Heap { index, .. } = survey(&memory, &opened.space);
        let sparse = |range| opened.space.is_sparse(range);
        let area = Area::of(&roots(&opened.space, index.segments()), index.segments(), sparse);
        Self { view: View { memory, index, tables: Vec::new() }, area }
    }

    fn run<A: Analysis<Input = View>>(&self, analysis: &A) -> A::Merge {
        run(analysis, &mut Serial::new(analysis, &self.view), &self.view, Cut::default(), &mut Vec::new()).merge
    }

    fn lookup(&self) -> Lookup<'_> {
        self.view.index.lookup()
    }

    fn graph(&self) -> Graph {
        let edges = Edges::new(self.area.clone(), self.view.index.count(), u64::MAX).unwrap();
        self.run(&edges).graph(&[], self.lookup()).unwrap()
    }

    fn pointers(&self, target: AddressRange) -> PointersMerge {
        self.run(&Pointers { area: self.area.clone(), target, most: u64::MAX })
    }

    /// Adds up what each chunk retains, by what malloc returned.
    fn retained(&self, graph: &Graph) -> BTreeMap<u64, u64> {
        let sizes = sizes(&self.view.index);
        let dominators = Dominators::of(graph, |chunk| sizes[chunk as usize] > 0, &|| false).unwrap();
        let retained = Retained::of(&dominators, &sizes);
        let address = |chunk: u32| {
            let lookup = self.lookup();
            lookup.chunk(lookup.numbered(chunk.into()).unwrap()).unwrap().address()
        };
        retained.chunks().map(|(chunk, bytes)| (address(chunk), bytes)).collect()
    }
}

/// The usable size that a label ends with.
fn size(label: &str) -> u64 {
    label.rsplit_once(':').unwrap().1.parse().unwrap()
}

fn check(debuggee: &Debuggee, opened: &Opened) {
    let subject = Subject::new(opened);
    let graph = subject.graph();

    // Trees and chains whose nodes nothing else points to.
    let retained = subject.retained(&graph);
    let leaked = |shapes: &[&str]| -> u64 {
        let leaks = debuggee.truth.iter().filter(|(kind, ..)| kind == "leak");
        leaks
            .filter(|(_, label, _)| shapes.iter().any(|shape| label.starts_with(&format!("{shape}:"))))
            .map(|(_, label, _)| size(label))
            .sum()
    };
    let mut seen = 0;
    let is_top = |kind: &str| kind == "head" || kind == "ring";
    for (_, label, address) in debuggee.truth.iter().filter(|(kind, ..)| is_top(kind)) {
        let bytes = match label.split_once(':').unwrap().0 {
            "chain/4999" => leaked(&["chain"]),
            "owner/103" => leaked(&["owner", "name", "map-node", "shapes", "shape"]),
            "holder/100" => 101 * 24,
            _ => continue,
        };
        assert_eq!(retained[address], bytes, "{label}");
        seen += 1;
    }
    assert_eq!(seen, 3);

    // What a global keeps through another block.
    let reverse = ReverseGraph::of(graph, &|| false).unwrap();
    let stop = || false;
    let mut query = Query::new(&reverse, &subject.view, &subject.area, &stop);
    let kept = |by: &str| {
        let mut all =
            debuggee.truth.iter().filter(|(kind, label, _)| kind == "kept" && label.starts_with(&format!("{by}:")));
        all.next().unwrap().2
    };
    let (chain, behind) = (kept("chain"), kept("behind-chain"));
    let target = refs::target(&subject.lookup(), behind + 50);
    assert_eq!(target.start, behind);
    let found = subject.pointers(target);
    assert_eq!(query.pointers(target, u64::MAX).as_ref(), Some(&found));
    assert_eq!(found.pointers, [(chain + 16, behind)]);
    let pointers = found.pointers(&subject.lookup());
    let mut answer = query.deeper(target, pointers, found.total, 3, 100);
    assert!(query.chains(&mut answer.references, 100));
    let places: Vec<_> = answer.references.iter().map(|reference| (reference.depth, reference.pointer.value)).collect();
    assert_eq!(places, [(1, behind), (2, chain)]);
    let links = &answer.references[0].chain.as_ref().unwrap().links;
    assert_eq!(links[..], [answer.references[1].pointer.clone()]);
    let Place::Memory { address, chunk: None } = links[0].place else { panic!("{links:?}") };
    let region = opened.space.region_at(address).unwrap();
    assert!(region.name().is_some_and(|name| name.ends_with("program")), "{region:?}");

    // Whatever is asked for, both ways to find it have the same answer.
    let all: Vec<u64> = retained.keys().copied().collect();
    for address in all.iter().step_by(1 + all.len() / 40) {
        let target = refs::target(&subject.lookup(), *address);
        assert_eq!(
            query.pointers(target, 1000),
            Some(subject.run(&Pointers { area: subject.area.clone(), target, most: 1000 }))
        );
    }
}

#[test]
fn shapes_that_are_known() {
    let debuggee = Debuggee::start("heap.cpp", "-O1 -pthread", "count=5000", &[]);
    check(&debuggee, &debuggee.live());
    let (core, _) = debuggee.core();
    check(&debuggee, &core);
}
