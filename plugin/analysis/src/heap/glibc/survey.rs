//! All that is to be known of a heap, on the calling thread.

use super::{Check, Findings, FreeLists, FreeListsMerge, Locate, Located, Walk, WalkMerge};
use crate::heap::{Index, Segments, View, table};
use crate::{Analysis, Cut, InProcess, Serial, Sink, Stop, run};
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
        let view = view(memory, self.index.clone());
        let checked = serial(&Check::new(&self.located, space), &view);
        Findings::new(&self.located, &self.walked, &self.free, &checked, &**memory, &self.index.lookup())
    }
}

/// Where malloc has its memory in `memory`, by a search on so many threads of this process. `None` if told to stop: a process that
/// does not use it is searched to its last byte.
pub fn located(
    memory: &Arc<dyn ReadMemory>,
    space: &AddressSpace,
    threads: usize,
    stop: &dyn Fn() -> bool,
) -> Option<Located> {
    let (plan, view) = (Arc::new(Locate::new(space)), Arc::new(view(memory, Index::default())));
    let mut executor = InProcess::new(Arc::clone(&plan), Arc::clone(&view), threads);
    let outcome = run(&*plan, &mut executor, &view, Cut::default(), &mut Until(stop));
    outcome.stopped.is_none().then_some(outcome.merge)
}

/// Takes nothing, and ends it when told to.
struct Until<'a>(&'a dyn Fn() -> bool);

impl Sink<()> for Until<'_> {
    fn found(&mut self, _: Vec<()>) {}

    fn stop(&mut self) -> Option<Stop> {
        (self.0)().then_some(Stop::Cancelled)
    }
}

fn view(memory: &Arc<dyn ReadMemory>, index: Index) -> View {
    View { memory: Arc::clone(memory), index, tables: Vec::new() }
}

/// Surveys the heap in `memory`, one task after the other, on this thread.
pub fn survey(memory: &Arc<dyn ReadMemory>, space: &AddressSpace) -> Heap {
    let located = serial(&Locate::new(space), &view(memory, Index::default()));
    let segments = Arc::new(Segments::new(located.segments.clone()));
    let index = Index::new(Arc::clone(&segments), table(Index::words(&segments)));
    let view = view(memory, index);
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
