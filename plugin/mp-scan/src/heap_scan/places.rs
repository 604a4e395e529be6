//! How places in the target are told.

use super::{Known, Registers};
use crate::course::{Ground, Stages};
use crate::naming::Namer;
use crate::stack_scan::frames;
use analysis::describe::Describer;
use analysis::heap::refs::{Place, Pointer};
use analysis::{Match, SymbolOffset, TargetKind, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

impl Ground {
    /// What is shown of pointers: where they lie, in what, and what that is.
    pub fn describe(
        &self,
        stages: &mut Stages,
        known: &Known,
        registers: &Registers,
        pointers: &[&Pointer],
    ) -> Vec<Match> {
        let describer =
            Describer { space: &self.space, stacks: &self.stacks, memory: &*stages.reading.memory, context: 0 };
        let describe = |pointer: &&Pointer| {
            let found = match &pointer.place {
                Place::Memory { address, .. } => {
                    Match { allocation: known.allocation(*address), ..describer.place(*address, 8, 0) }
                }
                Place::Register { thread, name } => {
                    Match { register: Some(name.clone()), thread: Some(*thread), size: 8, ..Match::default() }
                }
            };
            Match { value: Some(Value::Pointer(pointer.value)), ..found }
        };
        let mut found: Vec<Match> = pointers.iter().map(describe).collect();
        let mut namer = self.namer(stages);
        namer.name(&self.space, &*stages.reading.memory, &mut found);
        stages.notes.extend(namer.note());
        frames::name(stages, self, &registers.of_threads(), &mut found);
        found
    }

    /// Whether an address lies in the stack of a thread.
    pub fn is_stack(&self, address: u64) -> bool {
        let region = self.space.region_at(address);
        region.is_some_and(|region| self.stacks.iter().any(|stack| region.range.contains(stack.stack_pointer)))
    }

    /// The symbols that addresses lie in, of those that lie in any, and whether all were looked up.
    pub fn symbols(
        &self,
        stages: &mut Stages,
        addresses: impl Iterator<Item = u64>,
    ) -> (BTreeMap<u64, SymbolOffset>, bool) {
        let mut found: Vec<Match> = addresses.map(|address| Match { address, ..Match::default() }).collect();
        let mut namer = self.namer(stages);
        namer.name(&self.space, &*stages.reading.memory, &mut found);
        let symbols = found.into_iter().filter_map(|found| Some((found.address, found.symbol?))).collect();
        let note = namer.note();
        let complete = note.is_none();
        stages.notes.extend(note);
        (symbols, complete)
    }

    fn namer(&self, stages: &Stages) -> Namer {
        let pid = self.info.pid.filter(|_| self.info.kind == TargetKind::Live);
        Namer::new(stages.force.as_ref().map(|force| Arc::clone(&force.pool)), pid)
    }
}
