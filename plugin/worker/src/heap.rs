//! An analysis of the heap as a function of the pool.

use analysis::heap::{Index, Setup, Table, View};
use analysis::{Analysis, Scanned, Task};
use multiprocessing::codec::Descriptor;
use multiprocessing::{Context, Function, SharedMemory};
use std::sync::Arc;
use target::Access;

/// One job of an analysis in this worker.
pub struct HeapScan<A: Analysis> {
    analysis: A,
    scanner: A::Scanner,
    view: View,
}

impl<A: Analysis<Input = View>> Function for HeapScan<A> {
    const NAME: &'static str = A::NAME;
    /// With the words of the index and of the tables, and the descriptors that the source is read through.
    type Setup = (Setup<A>, SharedMemory, Vec<SharedMemory>, Vec<Descriptor>);
    type Argument = Task;
    type Value = Scanned<A::Partial>;

    fn open((setup, index, tables, descriptors): Self::Setup) -> Result<Self, String> {
        let descriptors = descriptors.into_iter().map(Descriptor::into_inner).collect();
        let memory = setup.source.open(descriptors, Access::Mapped).map_err(|error| error.to_string())?;
        let tables = tables.into_iter().map(|table| Arc::new(table) as Table).collect();
        let view = View { memory, index: Index::new(setup.segments, Arc::new(index)), tables };
        Ok(Self { scanner: setup.analysis.scanner()?, analysis: setup.analysis, view })
    }

    fn call(&mut self, task: Task, context: &Context<'_>) -> Result<Self::Value, String> {
        Ok(self.analysis.scan(&mut self.scanner, &task, &self.view, &|| context.cancelled()))
    }
}
