mod chains;
mod module;
mod rules;

use self::module::{BASE, Cfi, Pieces, files};
use super::{CUT, Unwind, View};
use crate::stacks::{Registers, Stack};
use crate::{Serial, run};
use std::sync::Arc;
use target::modules::{Files, Module};

/// Unwinds a stack whose memory is `memory`.
fn unwind(files: Files, memory: Pieces, registers: Registers) -> Stack {
    let plan = Unwind::new(files.set().clone(), vec![registers]);
    let view = View { memory: Arc::new(memory), files };
    let mut nothing: Vec<()> = Vec::new();
    let mut outcome = run(&plan, &mut Serial::new(&plan, &view), &view, CUT, &mut nothing);
    assert_eq!(outcome.merge.len(), 1);
    outcome.merge.remove(0)
}

/// The files of a module that is there.
fn there(cfi: &Cfi) -> Files {
    files(Module { path: "module".into(), base: Some(BASE), image: Some(cfi.module()), ..Module::default() })
}

/// Those of one that is not.
fn missing() -> Files {
    files(Module { path: "/no/such/module".into(), base: Some(BASE), ..Module::default() })
}
