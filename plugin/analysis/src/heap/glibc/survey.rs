//! All that is to be known of a heap, on the calling thread.

use super::{Check, Findings, FreeLists, FreeListsMerge, Locate, Located, Walk, WalkMerge};
use crate::heap::{Index, Segments, View, table};
use crate::{Analysis, Cut, Serial, run};
use std::sync::Arc;
use target::{AddressSpace, ReadMemory};

/// A heap that is located, walked and indexed.
#[derive(Clone, Debug)]
pub struct Heap {
    pub located: Located,
    pub walked: WalkMerge,
    pub free: FreeListsMerge,
    /// Complete.
    pub index: Index,
}

impl Heap {
    /// Checks all of it, and puts together what is wrong.
    pub fn check(&self, memory: &Arc<dyn ReadMemory>, space: &AddressSpace) -> Findings {
        let view = View { memory: Arc::clone(memory), index: self.index.clone(), tables: Vec::new() };
        let checked = serial(&Check::new(&self.located, space), &view);
        Findings::new(&self.located, &self.walked, &self.free, &checked, &**memory, &self.index.lookup())
    }
}

/// Where malloc has its memory in `memory`, by a search on this thread.
pub fn located(memory: &Arc<dyn ReadMemory>, space: &AddressSpace) -> Located {
    let view = View { memory: Arc::clone(memory), index: Index::default(), tables: Vec::new() };
    serial(&Locate::new(space), &view)
}

/// Surveys the heap in `memory`, one task after the other, on this thread.
pub fn survey(memory: &Arc<dyn ReadMemory>, space: &AddressSpace) -> Heap {
    let located = located(memory, space);
    let segments = Arc::new(Segments::new(located.segments.clone()));
    let index = Index::new(Arc::clone(&segments), table(Index::words(&segments)));
    let view = View { memory: Arc::clone(memory), index, tables: Vec::new() };
    let walk = Walk::new(&located, space);
    let mut walked = serial(&walk, &view);
    walk.finish(&mut walked, &view.index);
    let free = serial(&FreeLists::new(&located, &walked), &view);
    view.index.complete();
    Heap { located, walked, free, index: view.index }
}

fn serial<A: Analysis<Input = View>>(analysis: &A, view: &View) -> A::Merge {
    run(analysis, &mut Serial::new(analysis, view), view, Cut::default(), &mut Vec::new()).merge
}
