//! What allocations are: all of them, for who asks for that, and a few, for who only shows them.

use super::known::skip;
use super::{Known, Registers};
use crate::course::{Failure, Ground, Stages};
use analysis::heap::roots::Roots;
use analysis::heap::types::{Glance, HeapTypes, Types};
use analysis::heap::{Chunk, Lookup};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Where no more bytes have to be looked at, the types of all allocations are found for a few of them: it takes less than 0.1 s.
const LITTLE: u64 = 32 << 20;

/// What is larger is taken to be there: it takes too long to ask for each of its pages.
const LARGE: u64 = 1 << 30;

/// So many allocations are looked at for rows that are shown; what more are stays untold.
const MOST: usize = 1 << 14;

/// The types of a few allocations, by what malloc returned: `None` for those that do not tell.
#[derive(Debug, Default)]
pub struct Glimpses(Mutex<HashMap<u64, Option<String>>>);

impl Glimpses {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Option<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// What its allocations are.
    ///
    /// # Errors
    /// As for [`Stages::run`].
    pub fn types(&self, stages: &mut Stages, ground: &Ground) -> Result<Arc<Types>, Failure> {
        self.types_among(stages, ground, None)
    }

    /// The same for who has found the roots already.
    ///
    /// # Errors
    /// As for [`Stages::run`].
    pub fn types_among(
        &self,
        stages: &mut Stages,
        ground: &Ground,
        roots: Option<&Roots>,
    ) -> Result<Arc<Types>, Failure> {
        if let Some((types, skipped)) = self.types.get() {
            skip(stages, skipped);
            return Ok(Arc::clone(types));
        }
        self.copied(stages, ground)?;
        let before = stages.skipped.len();
        let plan = self.plan(stages, ground, roots);
        let codes = stages.tables(&HeapTypes::tables(&self.indexed.index))?;
        let facts = stages.run(&plan, &self.indexed, &codes)?.merge;
        let (symbols, complete) = ground.symbols(stages, facts.unnamed());
        let types = Arc::new(Types::new(&plan, &facts, &symbols, &stages.view(&self.indexed, &codes)));
        stages.takes(types.memory());
        if complete {
            let skipped = stages.skipped[before..].to_vec();
            self.types.get_or_init(|| (Arc::clone(&types), skipped));
        }
        Ok(types)
    }

    fn plan(&self, stages: &Stages, ground: &Ground, roots: Option<&Roots>) -> HeapTypes {
        let own;
        let roots = match roots {
            Some(roots) => roots,
            None => {
                own = self.roots(stages, ground, &Registers::default());
                &own
            }
        };
        HeapTypes::new(&ground.space, self.indexed.index.segments(), &roots.ranges, self.runtimes.languages)
    }

    /// Has [`type_name`](Self::type_name) tell what the allocations at these addresses are. Where that takes little, the types of all are
    /// found; else each is looked at by itself, and what only those who hold it say stays untold.
    ///
    /// # Errors
    /// As for [`Stages::run`].
    pub fn glance(
        &self,
        stages: &mut Stages,
        ground: &Ground,
        addresses: impl IntoIterator<Item = u64>,
    ) -> Result<(), Failure> {
        let wanted = self.untold(addresses);
        if wanted.is_empty() {
            return Ok(());
        }
        stages.aside(|stages| self.look_at(stages, ground, wanted))
    }

    /// Whether something would be found out by [`glance`](Self::glance).
    pub fn is_untold(&self, addresses: impl IntoIterator<Item = u64>) -> bool {
        !self.untold(addresses).is_empty()
    }

    /// The allocations in use at these addresses that nobody has looked at.
    fn untold(&self, addresses: impl IntoIterator<Item = u64>) -> Vec<u64> {
        if self.types.get().is_some() {
            return Vec::new();
        }
        let lookup = self.indexed.index.lookup();
        let told = self.glimpses.lock();
        let room = MOST.saturating_sub(told.len());
        let starts = addresses.into_iter().filter_map(|address| start(&lookup, address));
        let mut untold: Vec<u64> = starts.filter(|start| !told.contains_key(start)).collect();
        untold.sort_unstable();
        untold.dedup();
        untold.truncate(room);
        untold
    }

    fn look_at(&self, stages: &mut Stages, ground: &Ground, wanted: Vec<u64>) -> Result<(), Failure> {
        let roots = self.roots(stages, ground, &Registers::default());
        if self.is_little(stages, &roots) {
            let types = self.types_among(stages, ground, Some(&roots))?;
            let lookup = self.indexed.index.lookup();
            let name = |start: u64| {
                let number = lookup.used_at(start).map(|granule| lookup.number(granule));
                (start, number.and_then(|number| types.name_of(number)))
            };
            // They are not kept for longer if symbols are missing.
            self.glimpses.lock().extend(wanted.into_iter().map(name));
            return Ok(());
        }
        let plan = Glance::new(self.plan(stages, ground, Some(&roots)), wanted.clone());
        let codes = super::tables(&Glance::tables(&self.indexed.index))?;
        let facts = stages.run(&plan, &self.indexed, &codes)?.merge;
        let (symbols, _) = ground.symbols(stages, facts.unnamed());
        let names = plan.names(&facts, &symbols, &stages.view(&self.indexed, &codes));
        self.glimpses.lock().extend(wanted.into_iter().zip(names));
        Ok(())
    }

    /// Whether there is so little to be looked at that nobody would notice.
    fn is_little(&self, stages: &Stages, roots: &Roots) -> bool {
        let memory = &stages.reading.memory;
        let mut left = LITTLE.checked_sub(self.indexed.index.segments().bytes());
        for scan in &roots.ranges {
            // Of stacks, of what is reserved, and of what else nobody has touched, little is there.
            let there = || memory.populated(scan.range, true).runs.iter().map(|run| run.len()).sum();
            let bytes = if scan.sparse && scan.range.len() < LARGE { there() } else { scan.range.len() };
            left = left.and_then(|left| left.checked_sub(bytes));
            if left.is_none() {
                break;
            }
        }
        left.is_some()
    }

    /// The types, if somebody has asked for them before.
    fn known_types(&self) -> Option<&Types> {
        self.types.get().map(|(types, _)| &**types)
    }

    /// What a chunk in use is, as far as somebody has looked.
    pub fn type_name(&self, chunk: &Chunk) -> Option<String> {
        if !chunk.used {
            return None;
        }
        if let Some(types) = self.known_types() {
            let number = self.indexed.index.lookup().number(chunk.granule);
            return types.name_of(number);
        }
        self.glimpses.lock().get(&chunk.address()).cloned().flatten()
    }
}

/// What malloc returned for the chunk in use that an address lies in.
fn start(lookup: &Lookup<'_>, address: u64) -> Option<u64> {
    let granule = lookup.used_at(address)?;
    lookup.chunk(granule).map(|chunk| chunk.address())
}
