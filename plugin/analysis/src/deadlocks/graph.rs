//! Threads that wait for locks, and locks that threads have: where that goes round, and where it ends.
//!
//! A lock is a node of its own between those that wait for it and those that have it: thousands may do both, and the graph has as many
//! edges as there are of them together.

/// Where each node leads: a thread to the lock that it waits for, a lock to its owners.
pub(super) type Edges<'a> = [&'a [usize]];

/// The strongly connected components of a graph, each before those that lead to it (Tarjan's algorithm, without recursion: chains
/// may be as long as there are nodes). The nodes of each are in order.
pub(super) fn components(edges: &Edges<'_>) -> Vec<Vec<usize>> {
    const NEW: usize = usize::MAX;
    let count = edges.len();
    let (mut number, mut low, mut on_stack) = (vec![NEW; count], vec![0; count], vec![false; count]);
    let (mut stack, mut found, mut next) = (Vec::new(), Vec::new(), 0);
    for root in 0..count {
        if number[root] != NEW {
            continue;
        }
        // A node, and how many of those that it leads to have been gone to.
        let mut path = vec![(root, 0)];
        while let Some((node, done)) = path.last_mut() {
            let node = *node;
            if *done == 0 {
                (number[node], low[node], on_stack[node]) = (next, next, true);
                stack.push(node);
                next += 1;
            }
            if let Some(to) = edges[node].get(*done) {
                *done += 1;
                if number[*to] == NEW {
                    path.push((*to, 0));
                } else if on_stack[*to] {
                    low[node] = low[node].min(number[*to]);
                }
                continue;
            }
            path.pop();
            if let Some((caller, _)) = path.last() {
                low[*caller] = low[*caller].min(low[node]);
            }
            if low[node] == number[node] {
                let start = stack.iter().rposition(|member| *member == node).unwrap_or(0);
                let mut component = stack.split_off(start);
                component.iter().for_each(|member| on_stack[*member] = false);
                component.sort_unstable();
                found.push(component);
            }
        }
    }
    found
}

/// Whether nodes of a component lead to each other, or the only one to itself.
pub(super) fn is_cycle(component: &[usize], edges: &Edges<'_>) -> bool {
    component.len() > 1 || edges[component[0]].contains(&component[0])
}

/// The nodes of a component from the first one on, each followed by one that it leads to, as far as there is one that has not come
/// yet.
pub(super) fn around(component: &[usize], edges: &Edges<'_>) -> Vec<usize> {
    let mut order = vec![component[0]];
    let mut seen = std::collections::BTreeSet::from([component[0]]);
    let mut path = vec![edges[component[0]].iter()];
    while let Some(rest) = path.last_mut() {
        match rest.find(|to| component.binary_search(to).is_ok() && !seen.contains(to)) {
            Some(to) => {
                seen.insert(*to);
                order.push(*to);
                path.push(edges[*to].iter());
            }
            None => drop(path.pop()),
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn slices(edges: &[Vec<usize>]) -> Vec<&[usize]> {
        edges.iter().map(Vec::as_slice).collect()
    }

    /// Where each thread leads, to itself only if that goes round.
    fn reachable(edges: &Edges<'_>) -> Vec<BTreeSet<usize>> {
        let reach = |thread: usize| {
            let (mut seen, mut open) = (BTreeSet::new(), edges[thread].to_vec());
            while let Some(to) = open.pop() {
                if seen.insert(to) {
                    open.extend(edges[to]);
                }
            }
            seen
        };
        (0..edges.len()).map(reach).collect()
    }

    proptest! {
        #[test]
        fn components_are_those_who_reach_each_other(
            pairs in prop::collection::vec((0_usize..24, 0_usize..24), 0..60),
            count in 1_usize..24,
        ) {
            let mut edges: Vec<Vec<usize>> = vec![Vec::new(); count];
            for (from, to) in pairs {
                if from < count && to < count {
                    edges[from].push(to);
                }
            }
            let edges = slices(&edges);
            let reach = reachable(&edges);
            let found = components(&edges);
            let mut place = vec![0; count];
            for (index, component) in found.iter().enumerate() {
                component.iter().for_each(|thread| place[*thread] = index);
            }
            prop_assert_eq!(found.iter().map(Vec::len).sum::<usize>(), count);
            for (a, of_a) in reach.iter().enumerate() {
                for (b, of_b) in reach.iter().enumerate() {
                    let together = a == b || of_a.contains(&b) && of_b.contains(&a);
                    prop_assert_eq!(place[a] == place[b], together, "{} and {}", a, b);
                    prop_assert!(!of_a.contains(&b) || place[b] <= place[a], "{} leads to {}", a, b);
                }
                prop_assert_eq!(is_cycle(&found[place[a]], &edges), of_a.contains(&a), "{}", a);
            }
            for component in &found {
                let mut order = around(component, &edges);
                prop_assert_eq!(order[0], component[0]);
                order.sort_unstable();
                prop_assert_eq!(&order, component);
            }
        }

        #[test]
        fn around_a_plain_cycle_each_waits_for_the_next(order in Just((0_usize..12).collect::<Vec<_>>()).prop_shuffle()) {
            let mut edges: Vec<Vec<usize>> = vec![Vec::new(); order.len()];
            for (at, thread) in order.iter().enumerate() {
                edges[*thread].push(order[(at + 1) % order.len()]);
            }
            let edges = slices(&edges);
            let found = components(&edges);
            prop_assert_eq!(found.len(), 1);
            let shown = around(&found[0], &edges);
            for (at, thread) in shown.iter().enumerate() {
                prop_assert_eq!(edges[*thread], [shown[(at + 1) % shown.len()]]);
            }
        }
    }

    #[test]
    fn very_many_that_wait_for_a_lock_of_very_many_are_a_cycle() {
        const MANY: usize = 100_000;
        let nodes: Vec<usize> = (0..2 * MANY + 2).collect();
        let (readers, writers, locks) = (&nodes[..MANY], &nodes[MANY..2 * MANY], &nodes[2 * MANY..]);
        // Each reader waits for what the writers have, and each writer for what the readers have.
        let waits = readers.iter().map(|_| &locks[1..]).chain(writers.iter().map(|_| &locks[..1]));
        let edges: Vec<&[usize]> = waits.chain([readers, writers]).collect();
        assert_eq!(components(&edges), slices(std::slice::from_ref(&nodes)));
        let order = around(&nodes, &edges);
        assert_eq!(order[..4], [0, 2 * MANY + 1, MANY, 2 * MANY]);
        assert_eq!(order.len(), nodes.len());
    }

    #[test]
    fn a_chain_of_very_many_ends() {
        let order: Vec<usize> = (0..200_000).collect();
        let edges: Vec<&[usize]> = (1..=200_000).map(|next| order.get(next..next + 1).unwrap_or_default()).collect();
        let found = components(&edges);
        assert_eq!(found.len(), 200_000);
        assert_eq!(found[0], [199_999]);
    }
}
