//! Threads that wait for threads: where that goes round, and where it ends.

/// Whom each thread waits for, by places among all threads.
pub(super) type Edges = Vec<Vec<usize>>;

/// The strongly connected components of a graph, each before those that lead to it (Tarjan's algorithm, without recursion: chains
/// may be as long as there are threads). The threads of each are in order.
pub(super) fn components(edges: &Edges) -> Vec<Vec<usize>> {
    const NEW: usize = usize::MAX;
    let count = edges.len();
    let (mut number, mut low, mut on_stack) = (vec![NEW; count], vec![0; count], vec![false; count]);
    let (mut stack, mut found, mut next) = (Vec::new(), Vec::new(), 0);
    for root in 0..count {
        if number[root] != NEW {
            continue;
        }
        // A thread, and how many of those that it waits for have been gone to.
        let mut path = vec![(root, 0)];
        while let Some((thread, done)) = path.last_mut() {
            let thread = *thread;
            if *done == 0 {
                (number[thread], low[thread], on_stack[thread]) = (next, next, true);
                stack.push(thread);
                next += 1;
            }
            if let Some(to) = edges[thread].get(*done) {
                *done += 1;
                if number[*to] == NEW {
                    path.push((*to, 0));
                } else if on_stack[*to] {
                    low[thread] = low[thread].min(number[*to]);
                }
                continue;
            }
            path.pop();
            if let Some((caller, _)) = path.last() {
                low[*caller] = low[*caller].min(low[thread]);
            }
            if low[thread] == number[thread] {
                let start = stack.iter().rposition(|member| *member == thread).unwrap_or(0);
                let mut component = stack.split_off(start);
                component.iter().for_each(|member| on_stack[*member] = false);
                component.sort_unstable();
                found.push(component);
            }
        }
    }
    found
}

/// Whether threads of a component wait for each other, or the only one for itself.
pub(super) fn is_cycle(component: &[usize], edges: &Edges) -> bool {
    component.len() > 1 || edges[component[0]].contains(&component[0])
}

/// The threads of a component from the first one on, each followed by one that it waits for, as far as there is one that has not come
/// yet.
pub(super) fn around(component: &[usize], edges: &Edges) -> Vec<usize> {
    let (mut order, mut seen) = (Vec::new(), std::collections::BTreeSet::new());
    let mut open = vec![component[0]];
    while let Some(thread) = open.pop() {
        if !seen.insert(thread) {
            continue;
        }
        order.push(thread);
        open.extend(edges[thread].iter().rev().filter(|to| component.binary_search(to).is_ok()));
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// Whom each thread leads to, itself only if that goes round.
    fn reachable(edges: &Edges) -> Vec<BTreeSet<usize>> {
        let reach = |thread: usize| {
            let (mut seen, mut open) = (BTreeSet::new(), edges[thread].clone());
            while let Some(to) = open.pop() {
                if seen.insert(to) {
                    open.extend(&edges[to]);
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
            let mut edges: Edges = vec![Vec::new(); count];
            for (from, to) in pairs {
                if from < count && to < count {
                    edges[from].push(to);
                }
            }
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
            let mut edges: Edges = vec![Vec::new(); order.len()];
            for (at, thread) in order.iter().enumerate() {
                edges[*thread].push(order[(at + 1) % order.len()]);
            }
            let found = components(&edges);
            prop_assert_eq!(found.len(), 1);
            let shown = around(&found[0], &edges);
            for (at, thread) in shown.iter().enumerate() {
                prop_assert_eq!(&edges[*thread], &vec![shown[(at + 1) % shown.len()]]);
            }
        }
    }

    #[test]
    fn a_chain_of_very_many_ends() {
        let edges: Edges =
            (0..200_000_usize).map(|thread| (thread < 199_999).then_some(thread + 1).into_iter().collect()).collect();
        let found = components(&edges);
        assert_eq!(found.len(), 200_000);
        assert_eq!(found[0], [199_999]);
    }
}
