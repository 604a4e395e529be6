//! An analysis as a function of the pool.

use analysis::Analysis;
use analysis::remote::{Answer, Request, Setup};
use multiprocessing::codec::Descriptor;
use multiprocessing::{Context, Function};
use std::sync::Arc;
use target::relayed::Relay;
use target::{Access, ReadMemory, Source};

/// One job of an analysis in this worker.
pub struct Scan<A: Analysis> {
    analysis: A,
    scanner: A::Scanner,
    memory: Memory,
}

enum Memory {
    Direct(Arc<dyn ReadMemory>),
    /// What a task may read comes with it.
    Relayed(Relay),
    /// On another machine, where this is why it is not seen: a task has to bring it.
    Unseen(String),
}

impl<A: Analysis<Input = dyn ReadMemory>> Function for Scan<A> {
    const NAME: &'static str = A::NAME;
    /// How the source is read, and the descriptors that it is read through.
    type Setup = (Setup<A>, Vec<Descriptor>);
    type Argument = Request;
    type Value = Answer<A::Partial>;

    fn open((setup, descriptors): Self::Setup) -> Result<Self, String> {
        let descriptors = descriptors.into_iter().map(Descriptor::into_inner).collect();
        let scanner = setup.analysis.scanner()?;
        let memory = match &setup.source {
            Source::Relayed(relayed) => relayed.open(descriptors).map(Memory::Relayed),
            source => match source.open(descriptors, Access::Mapped) {
                Err(error) if matches!(source, Source::Streamed(_)) => Ok(Memory::Unseen(error.to_string())),
                opened => opened.map(Memory::Direct),
            },
        };
        Ok(Self { analysis: setup.analysis, scanner, memory: memory.map_err(|error| error.to_string())? })
    }

    fn call(&mut self, request: Request, context: &Context<'_>) -> Result<Self::Value, String> {
        let stop = || context.cancelled();
        if let Some(carried) = &request.carried {
            let scanned = carried.scan(&self.analysis, &mut self.scanner, &request.task, &stop);
            return scanned.map(Answer::Scanned).map_err(|error| error.to_string());
        }
        let relayed;
        let memory: &dyn ReadMemory = match (&self.memory, &request.filled) {
            (Memory::Direct(memory), _) => &**memory,
            (Memory::Relayed(relay), Some(filled)) => {
                relayed = relay.memory(filled).map_err(|error| error.to_string())?;
                &relayed
            }
            (Memory::Unseen(why), _) => return Ok(Answer::Unseen(why.clone())),
            (Memory::Relayed(_), None) => return Err("a task without the memory that was read for it".into()),
        };
        Ok(Answer::Scanned(self.analysis.scan(&mut self.scanner, &request.task, memory, &stop)))
    }
}
