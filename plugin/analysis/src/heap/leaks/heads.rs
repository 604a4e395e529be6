//! Under which heads leaks come.

/// Which leaks point to which others; leaks are numbered in address order.
#[derive(Debug, Default)]
pub(super) struct Graph {
    /// Where the targets of each begin, and behind them, where all end.
    begins: Vec<usize>,
    targets: Vec<u32>,
}

/// Leaks and their heads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Heads {
    /// The head of each.
    pub of: Vec<u32>,
    /// Whether no other points to it.
    pub unreferenced: Vec<bool>,
}

impl Graph {
    /// Of leaks with these numbers of `count` chunks, in ascending order, and pairs of these numbers in the order of their
    /// first. A pair of which one is no leak is left out.
    pub(super) fn new(numbers: impl ExactSizeIterator<Item = u32>, pairs: Vec<(u32, u32)>, count: u64) -> Self {
        let leaks = numbers.len();
        let ranks = Ranks::new(numbers, count);
        let mut graph = Self { begins: Vec::with_capacity(leaks + 1), targets: Vec::with_capacity(pairs.len()) };
        for (source, target) in pairs {
            let (Some(source), Some(target)) = (ranks.of(source), ranks.of(target)) else { continue };
            if source == target || graph.begins.len() > source as usize + 1 {
                continue;
            }
            graph.begins.resize(source as usize + 1, graph.targets.len());
            graph.targets.push(target);
        }
        graph.begins.resize(leaks + 1, graph.targets.len());
        graph
    }

    fn len(&self) -> usize {
        self.begins.len().saturating_sub(1)
    }

    fn targets(&self, leak: u32) -> &[u32] {
        let leak = leak as usize;
        &self.targets[self.begins[leak]..self.begins[leak + 1]]
    }
}

/// The places of ascending numbers among themselves.
struct Ranks {
    bits: Vec<u64>,
    /// How many come before each word of `bits`.
    before: Vec<u32>,
}

impl Ranks {
    fn new(numbers: impl Iterator<Item = u32>, count: u64) -> Self {
        let mut bits = vec![0; count.div_ceil(64) as usize];
        for number in numbers {
            if let Some(word) = bits.get_mut(number as usize / 64) {
                *word |= 1_u64 << (number % 64);
            }
        }
        let ones = bits.iter().scan(0, |sum, word: &u64| {
            let before = *sum;
            *sum += word.count_ones();
            Some(before)
        });
        let before = ones.collect();
        Self { bits, before }
    }

    fn of(&self, number: u32) -> Option<u32> {
        let word = self.bits.get(number as usize / 64)?;
        let bit = 1_u64 << (number % 64);
        (word & bit != 0).then(|| self.before[number as usize / 64] + (word & (bit - 1)).count_ones())
    }
}

/// As many steps are taken before `stop` is asked again.
const STEPS: u32 = 1 << 16;

/// Asks now and then whether to stop.
struct Patience<'a> {
    stop: &'a dyn Fn() -> bool,
    steps: u32,
}

impl Patience<'_> {
    fn step(&mut self) -> Option<()> {
        self.steps += 1;
        (!self.steps.is_multiple_of(STEPS) || !(self.stop)()).then_some(())
    }
}

/// Finds the heads of all leaks; `None` if it was told to stop.
pub(super) fn heads(graph: &Graph, stop: &dyn Fn() -> bool) -> Option<Heads> {
    let mut patience = Patience { stop, steps: 0 };
    let count = graph.len() as u32;
    let mut unreferenced = vec![true; graph.len()];
    for target in &graph.targets {
        unreferenced[*target as usize] = false;
    }
    const NONE: u32 = u32::MAX;
    let mut of = vec![NONE; graph.len()];
    let plain = (0..count).filter(|leak| unreferenced[*leak as usize]).collect::<Vec<_>>();
    for head in &plain {
        reach(graph, *head, &mut of, &mut patience)?;
    }
    let rest: Vec<bool> = of.iter().map(|head| *head == NONE).collect();
    let rings = if rest.contains(&true) { rings(graph, &rest, &mut patience)? } else { Vec::new() };
    if !rings.is_empty() {
        // What is reached by both is held by the one that comes first.
        let mut all = [plain, rings].concat();
        all.sort_unstable();
        of.fill(NONE);
        for head in all {
            reach(graph, head, &mut of, &mut patience)?;
        }
    }
    Some(Heads { of, unreferenced })
}

/// Puts what `head` reaches under it, unless it is under another.
fn reach(graph: &Graph, head: u32, of: &mut [u32], patience: &mut Patience<'_>) -> Option<()> {
    // No head reaches another one: nothing points to one, or only its own ring.
    let mut stack = vec![head];
    of[head as usize] = head;
    while let Some(leak) = stack.pop() {
        patience.step()?;
        for target in graph.targets(leak) {
            if of[*target as usize] == u32::MAX {
                of[*target as usize] = head;
                stack.push(*target);
            }
        }
    }
    Some(())
}

/// The first leak of each strongly connected component that no other one points to, of those that are in `rest`: Tarjan's
/// algorithm, with a stack of its own.
fn rings(graph: &Graph, rest: &[bool], patience: &mut Patience<'_>) -> Option<Vec<u32>> {
    let count = graph.len();
    // When each was come to, counted from 1; and the component of each that is in one.
    let (mut order, mut lowest, mut component) = (vec![0_u32; count], vec![0_u32; count], vec![u32::MAX; count]);
    let (mut path, mut open, mut firsts) = (Vec::<(u32, usize)>::new(), Vec::<u32>::new(), Vec::<u32>::new());
    let mut next = 0;
    for start in 0..count as u32 {
        if !rest[start as usize] || order[start as usize] != 0 {
            continue;
        }
        path.push((start, 0));
        while let Some((leak, edge)) = path.pop() {
            patience.step()?;
            let at = leak as usize;
            if edge == 0 {
                next += 1;
                (order[at], lowest[at]) = (next, next);
                open.push(leak);
            } else {
                // It has come back from there.
                let target = graph.targets(leak)[edge - 1] as usize;
                lowest[at] = lowest[at].min(lowest[target]);
            }
            let mut further = None;
            for (index, target) in graph.targets(leak).iter().enumerate().skip(edge) {
                let to = *target as usize;
                if !rest[to] || component[to] != u32::MAX {
                    continue;
                }
                if order[to] == 0 {
                    further = Some((index + 1, *target));
                    break;
                }
                lowest[at] = lowest[at].min(order[to]);
            }
            if let Some((edge, target)) = further {
                path.push((leak, edge));
                path.push((target, 0));
                continue;
            }
            if lowest[at] == order[at] {
                let mut first = leak;
                while let Some(member) = open.pop() {
                    component[member as usize] = firsts.len() as u32;
                    first = first.min(member);
                    if member == leak {
                        break;
                    }
                }
                firsts.push(first);
            }
        }
    }
    let mut is_source = vec![true; firsts.len()];
    for leak in (0..count as u32).filter(|leak| rest[*leak as usize]) {
        for target in graph.targets(leak).iter().filter(|target| rest[**target as usize]) {
            let (from, to) = (component[leak as usize], component[*target as usize]);
            if from != to {
                is_source[to as usize] = false;
            }
        }
    }
    Some(firsts.into_iter().zip(is_source).filter_map(|(first, source)| source.then_some(first)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn graph(count: u32, mut pairs: Vec<(u32, u32)>) -> Graph {
        pairs.sort_unstable();
        // Numbers with gaps between them, in which there is no leak.
        let number = |leak: u32| 3 * leak + leak % 2;
        let pairs = pairs.into_iter().map(|(from, to)| (number(from), number(to))).collect();
        let numbers: Vec<u32> = (0..count).map(number).collect();
        Graph::new(numbers.into_iter(), pairs, 4 * u64::from(count) + 9)
    }

    /// By which leaks reach which others.
    fn naive(count: u32, pairs: &[(u32, u32)]) -> Heads {
        let count = count as usize;
        let mut reaches = vec![vec![false; count]; count];
        for (from, to) in pairs.iter().filter(|(from, to)| from != to) {
            reaches[*from as usize][*to as usize] = true;
        }
        let unreferenced = (0..count).map(|leak| (0..count).all(|from| !reaches[from][leak])).collect::<Vec<_>>();
        for middle in 0..count {
            for from in 0..count {
                for to in 0..count {
                    reaches[from][to] |= reaches[from][middle] && reaches[middle][to];
                }
            }
        }
        let is_head = |leak: usize| {
            let others = (0..count).filter(|other| *other != leak && reaches[*other][leak]).collect::<Vec<_>>();
            others.iter().all(|other| reaches[leak][*other] && leak < *other)
        };
        let heads: Vec<usize> = (0..count).filter(|leak| is_head(*leak)).collect();
        let head = |leak: usize| *heads.iter().find(|head| **head == leak || reaches[**head][leak]).unwrap() as u32;
        Heads { of: (0..count).map(head).collect(), unreferenced }
    }

    proptest! {
        #[test]
        fn heads_are_those_that_a_plain_twin_finds(
            (count, pairs) in (1..40_u32).prop_flat_map(|count| {
                (Just(count), prop::collection::vec((0..count, 0..count), 0..count as usize * 2))
            }),
        ) {
            let expected = naive(count, &pairs);
            prop_assert_eq!(heads(&graph(count, pairs), &|| false), Some(expected));
        }
    }

    #[test]
    fn deep_structures_need_no_recursion_and_can_be_stopped() {
        const COUNT: u32 = 1_000_000;
        let chain: Vec<(u32, u32)> = (1..COUNT).map(|leak| (leak - 1, leak)).collect();
        let found = heads(&graph(COUNT, chain.clone()), &|| false).unwrap();
        assert!(found.of.iter().all(|head| *head == 0));
        assert_eq!(found.unreferenced.iter().filter(|unreferenced| **unreferenced).count(), 1);
        let ring = [chain, vec![(COUNT - 1, 0)]].concat();
        let found = heads(&graph(COUNT, ring.clone()), &|| false).unwrap();
        assert!(found.of.iter().all(|head| *head == 0) && !found.unreferenced.contains(&true));
        assert_eq!(heads(&graph(COUNT, ring), &|| true), None);
    }

    #[test]
    fn edges_to_what_is_no_leak_are_left_out() {
        let graph = Graph::new([2, 5].into_iter(), vec![(1, 2), (2, 4), (2, 5), (5, 900)], 8);
        assert_eq!((graph.len(), graph.targets(0), graph.targets(1)), (2, &[1][..], &[][..]));
    }
}
