//! Unwinding stacks as a function of the pool.

use analysis::stacks::{Setup, Stack, Unwind, UnwindScanner, View};
use analysis::{Analysis, Scanned, Task};
use multiprocessing::codec::Descriptor;
use multiprocessing::{Context, Function};
use target::Access;
use target::modules::Files;

/// One job of it in this worker.
pub struct UnwindStacks {
    analysis: Unwind,
    scanner: UnwindScanner,
    view: View,
}

impl Function for UnwindStacks {
    const NAME: &'static str = Unwind::NAME;
    /// With the descriptors that the source is read through.
    type Setup = (Setup, Vec<Descriptor>);
    type Argument = Task;
    type Value = Scanned<Vec<Stack>>;

    fn open((setup, descriptors): Self::Setup) -> Result<Self, String> {
        let Setup { analysis, source } = setup;
        let descriptors = descriptors.into_iter().map(Descriptor::into_inner).collect();
        let memory = source.open(descriptors, Access::Mapped).map_err(|error| error.to_string())?;
        let files = Files::new(analysis.set().clone(), Vec::new(), Access::Mapped, None);
        Ok(Self { scanner: analysis.scanner()?, analysis, view: View { memory, files } })
    }

    fn call(&mut self, task: Task, context: &Context<'_>) -> Result<Self::Value, String> {
        Ok(self.analysis.scan(&mut self.scanner, &task, &self.view, &|| context.cancelled()))
    }
}
