use super::*;
use crate::heap::graph::Roots;
use crate::heap::retained::Retained;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// A graph of chunks that point to others, some of them free; and where the roots point to.
#[derive(Clone, Debug)]
struct Plain {
    targets: Vec<BTreeSet<u32>>,
    used: Vec<bool>,
    roots: BTreeSet<u32>,
}

impl Plain {
    fn graph(&self) -> Graph {
        let mut arrows = Arrows { first: vec![0], ends: Vec::new() };
        for list in &self.targets {
            arrows.ends.extend(list);
            arrows.first.push(arrows.ends.len() as u32);
        }
        Graph { arrows, roots: Roots::to(&self.roots) }
    }

    fn count(&self) -> u32 {
        self.targets.len() as u32
    }

    /// What is reached from some chunks without going through one.
    fn reach(&self, from: impl IntoIterator<Item = u32>, without: Option<u32>) -> BTreeSet<u32> {
        let mut seen = BTreeSet::new();
        let mut left: Vec<u32> = from.into_iter().collect();
        while let Some(chunk) = left.pop() {
            if Some(chunk) != without && self.used[chunk as usize] && seen.insert(chunk) {
                left.extend(&self.targets[chunk as usize]);
            }
        }
        seen
    }

    /// The first of each component of what no root reaches that nothing else of it leads to.
    fn heads(&self) -> BTreeSet<u32> {
        let reached = self.reach(self.roots.iter().copied(), None);
        let left: Vec<u32> =
            (0..self.count()).filter(|chunk| self.used[*chunk as usize] && !reached.contains(chunk)).collect();
        let reaches = |from: u32, to: u32| self.reach([from], None).contains(&to);
        let is_head =
            |chunk: &u32| left.iter().filter(|other| reaches(**other, *chunk)).all(|other| reaches(*chunk, *other));
        let first =
            |chunk: &u32| !left.iter().any(|other| other < chunk && reaches(*other, *chunk) && reaches(*chunk, *other));
        left.iter().copied().filter(is_head).filter(first).collect()
    }

    /// All that a chunk dominates, itself too.
    fn dominated(&self, by: u32) -> BTreeSet<u32> {
        let reached = self.reach(self.roots.iter().copied(), None);
        let (all, starts) = if reached.contains(&by) {
            (reached, self.roots.clone())
        } else {
            let all = self.reach(self.heads(), None);
            (all.difference(&reached).copied().collect(), self.heads())
        };
        let without = self.reach(starts, Some(by));
        all.difference(&without).copied().collect()
    }
}

fn plain() -> impl Strategy<Value = Plain> {
    (1..14u32, 0..32usize).prop_flat_map(|(count, edges)| {
        let used = prop::collection::vec(prop::bool::weighted(0.9), count as usize);
        let edges = prop::collection::vec((0..count, 0..count), edges);
        (used, edges, prop::collection::btree_set(0..count, 0..4)).prop_map(|(used, edges, mut roots)| {
            let mut targets = vec![BTreeSet::new(); used.len()];
            for (from, to) in edges {
                if from != to && used[to as usize] {
                    targets[from as usize].insert(to);
                }
            }
            roots.retain(|root| used[*root as usize]);
            Plain { targets, used, roots }
        })
    })
}

fn dominators(plain: &Plain) -> Dominators {
    Dominators::of(&plain.graph(), |chunk| plain.used[chunk as usize], &|| false).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn dominators_are_what_all_ways_lead_through(plain in plain()) {
        let found: Vec<(u32, Option<u32>)> = dominators(&plain).iter().collect();
        let all: BTreeSet<u32> = (0..plain.count()).filter(|chunk| plain.used[*chunk as usize]).collect();
        prop_assert_eq!(found.iter().map(|(chunk, _)| *chunk).collect::<BTreeSet<_>>(), all.clone());
        prop_assert_eq!(found.len(), all.len());
        for (place, (chunk, above)) in found.iter().enumerate() {
            let mut over: Vec<u32> = all.iter().copied().filter(|other| other != chunk).collect();
            over.retain(|other| plain.dominated(*other).contains(chunk));
            // The nearest one is dominated by all others.
            let nearest = over.iter().copied().max_by_key(|other| {
                over.iter().filter(|another| plain.dominated(**another).contains(other)).count()
            });
            prop_assert_eq!(*above, nearest, "of {}", chunk);
            prop_assert!(above.is_none_or(|above| found[..place].iter().any(|(other, _)| *other == above)));
        }
        let reached = plain.reach(plain.roots.iter().copied(), None).len() as u64;
        prop_assert_eq!(dominators(&plain).reached(), (reached, all.len() as u64 - reached));
    }

    #[test]
    fn retained_bytes_are_those_of_what_is_dominated_each_once(
        plain in plain(),
        sizes in prop::collection::vec(1..1000u64, 14),
        kinds in prop::collection::vec(prop::option::of(0..3usize), 14),
    ) {
        let retained = Retained::of(&dominators(&plain), &sizes);
        let sum = |chunks: &BTreeSet<u32>| chunks.iter().map(|chunk| sizes[*chunk as usize]).sum::<u64>();
        let mut groups = vec![BTreeSet::new(); 3];
        let mut seen = 0;
        for (chunk, bytes) in retained.chunks() {
            let dominated = plain.dominated(chunk);
            prop_assert_eq!(bytes, sum(&dominated), "of {}", chunk);
            if let Some(kind) = kinds[chunk as usize] {
                groups[kind].extend(dominated);
            }
            seen += 1;
        }
        prop_assert_eq!(seen, plain.used.iter().filter(|used| **used).count());
        let naive: Vec<u64> = groups.iter().map(sum).collect();
        prop_assert_eq!(retained.groups(3, |chunk| kinds[chunk as usize], &|| false), Some(naive));
    }
}

/// A chain takes no stack, whatever its length.
#[test]
fn a_long_chain_is_no_deeper_than_a_short_one() {
    let count = 1_000_000u32;
    let arrows = Arrows { first: (0..count).chain([count - 1]).collect(), ends: (1..count).collect() };
    for roots in [vec![0], vec![], vec![count / 2]] {
        let graph = Graph { arrows: arrows.clone(), roots: Roots::to(&roots.iter().copied().collect()) };
        let dominators = Dominators::of(&graph, |_| true, &|| false).unwrap();
        let retained = Retained::of(&dominators, &vec![24; count as usize]);
        let half = |chunk: u32| roots == [count / 2] && chunk < count / 2;
        for (chunk, bytes) in retained.chunks() {
            let end = if half(chunk) { count / 2 } else { count };
            assert_eq!(bytes, 24 * u64::from(end - chunk));
        }
        assert_eq!(retained.groups(1, |_| Some(0), &|| false), Some(vec![24 * u64::from(count)]));
        assert_eq!(Dominators::of(&graph, |_| true, &|| true), None, "told to stop");
    }
}

#[test]
fn nothing_is_dominated_by_nothing() {
    let dominators = Dominators::of(&Graph::default(), |_| true, &|| false).unwrap();
    assert_eq!(dominators.iter().count(), 0);
    assert_eq!(Retained::of(&dominators, &[]).chunks().count(), 0);
}
