//! Stacks by hostile call frame information, on hostile stacks, from hostile registers.

#![no_main]

use analysis::stacks::{CUT, Registers, Unwind, View};
use analysis::{Serial, run};
use libfuzzer_sys::fuzz_target;
use std::sync::Arc;
use target::modules::{FileSet, Files, Module, Search, survey};
use target::{Access, Fault, FaultReason, ReadMemory};

/// Where the module is loaded, and where the stack is: the module's bytes again, the first of them last.
const BASE: u64 = 0x10_0000;
const STACK: u64 = 0x7f00_0000;

struct Memory {
    module: Vec<u8>,
    stack: Vec<u8>,
}

impl ReadMemory for Memory {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<usize, Fault> {
        for (start, bytes) in [(BASE, &self.module), (STACK, &self.stack)] {
            let offset = address.checked_sub(start).and_then(|offset| usize::try_from(offset).ok());
            let rest = offset.and_then(|offset| bytes.get(offset..)).unwrap_or_default();
            if !rest.is_empty() {
                let length = rest.len().min(buffer.len());
                buffer[..length].copy_from_slice(&rest[..length]);
                return Ok(length);
            }
        }
        Err(Fault { address, reason: FaultReason::Unreadable })
    }
}

fuzz_target!(|bytes: &[u8]| {
    if bytes.len() > 1 << 16 {
        return;
    }
    let there = Module { path: "file".into(), base: Some(BASE), image: Some(bytes.to_vec()), ..Module::default() };
    // The same without a file, from memory.
    let missing = Module { path: "/no/such/file".into(), base: Some(BASE), ..Module::default() };
    let surveyed = survey(&there, &Search::default());
    let bias = surveyed.bias.unwrap_or(BASE);
    let code = surveyed.code().first().map_or(bias, |code| code.start.wrapping_add(bias));
    let words = bytes.rchunks(8).map(|word| word.iter().fold(0_u64, |word, byte| word << 8 | u64::from(*byte)));
    // Words of the stack that lead back into the code, so that there are many frames.
    let stack = words.flat_map(|word| {
        if word % 2 == 0 { code.wrapping_add(word >> 1 & 0xff).to_le_bytes() } else { word.to_le_bytes() }
    });
    let stack: Vec<u8> = stack.collect();
    let thread = |number: u64| {
        let mut registers = Registers::default();
        for register in 0..16 {
            registers.set(
                register,
                (number + u64::from(register) != 7).then_some(STACK + 8 * (number + u64::from(register))),
            );
        }
        registers.set(Registers::PC, Some(code.wrapping_add(5 * number)));
        registers
    };
    let threads: Vec<Registers> = (0..8).map(thread).collect();
    for module in [there, missing] {
        let set = FileSet::new(vec![survey(&module, &Search::default())]);
        let memory = Arc::new(Memory { module: bytes.to_vec(), stack: stack.clone() });
        let view = View { memory, files: Files::new(set.clone(), Vec::new(), Access::Pread, None) };
        let plan = Unwind::new(set, threads.clone());
        let mut nothing: Vec<()> = Vec::new();
        let outcome = run(&plan, &mut Serial::new(&plan, &view), &view, CUT, &mut nothing);
        assert_eq!(outcome.merge.len(), threads.len());
        for (stack, thread) in outcome.merge.iter().zip(&threads) {
            assert_eq!(stack.frames.first().map(|frame| frame.pc), thread.get(Registers::PC));
            assert!(stack.frames.len() <= 1 << 14);
        }
    }
});
