//! Callables that the `std::function`s of libstdc++ hold in the heap.
//!
//! Such a function is four words (bits/std_function.h): two for the callable, then the function that copies and destroys it, its manager, and
//! the one that calls it. The first word points to the callable only if that is large; a small one lies in these words itself, and may begin
//! with a pointer to anything. So the manager's code has to allocate as many bytes as the chunk was asked for. It does that itself only
//! where the compiler has optimized it; other programs' callables are not found.

use super::codes::Code;
use super::modules::Modules;
use super::probe::{Holder, Probe, fits};
use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};
use rustc_hash::FxHashMap;

/// As much of a manager's code is looked at.
const LONGEST: usize = 1 << 10;

/// As many of its instructions are.
const MOST_DECODED: usize = 256;

/// Of so many managers it is kept what they allocate.
const MOST_KEPT: usize = 1 << 16;

/// What managers allocate, in one worker.
#[derive(Debug, Default)]
pub(super) struct Callables {
    known: FxHashMap<u64, Vec<u64>>,
}

impl Callables {
    /// Whether the holder's words are a function that has its callable in the chunk; then the chunk is marked. What has been learnt is
    /// which function calls it, and its manager.
    pub(super) fn held(
        &mut self,
        probe: &mut Probe<'_>,
        modules: &Modules,
        holder: &Holder<'_>,
        granule: u64,
    ) -> Option<(u64, u64)> {
        let (manager, invoker) = (holder.word(2)?, holder.word(3)?);
        if manager == invoker || !modules.is_code(manager) || !modules.is_code(invoker) {
            return None;
        }
        let slot = modules.slot(invoker - invoker % 8)?;
        let chunk = probe.lookup.chunk(granule)?;
        if !self.allocated(probe, manager)?.iter().any(|size| fits(&chunk, *size)) {
            return None;
        }
        probe.codes.raise(probe.lookup.number(granule), Code::Callable(slot));
        Some((invoker, manager))
    }

    /// The sizes that a manager allocates.
    fn allocated(&mut self, probe: &mut Probe<'_>, manager: u64) -> Option<&[u64]> {
        if !self.known.contains_key(&manager) {
            if self.known.len() >= MOST_KEPT {
                return None;
            }
            let mut code = vec![0; LONGEST];
            let filled = probe.pages.read(probe.memory, manager, &mut code);
            self.known.insert(manager, allocated(&code[..filled], manager));
        }
        self.known.get(&manager).map(|sizes| &**sizes)
    }
}

/// The sizes that a function at `address` passes to functions that it calls, as constants, as their first argument.
fn allocated(code: &[u8], address: u64) -> Vec<u64> {
    let mut sizes = Vec::new();
    let mut seen = Vec::new();
    let mut open = vec![address];
    let mut decoder = Decoder::with_ip(64, code, address, DecoderOptions::NONE);
    let mut instruction = Instruction::default();
    while let Some(start) = open.pop() {
        let Some(at) = start.checked_sub(address).and_then(|at| usize::try_from(at).ok()) else { continue };
        if seen.contains(&start) || decoder.set_position(at).is_err() {
            continue;
        }
        decoder.set_ip(start);
        seen.push(start);
        let mut argument = None;
        while decoder.can_decode() && seen.len() < MOST_DECODED {
            decoder.decode_out(&mut instruction);
            seen.push(instruction.ip());
            let near = instruction.op0_kind() == OpKind::NearBranch64;
            match instruction.mnemonic() {
                Mnemonic::Call => sizes.extend(argument.take()),
                Mnemonic::Jmp => {
                    open.extend(near.then(|| instruction.near_branch_target()));
                    break;
                }
                Mnemonic::Ret | Mnemonic::Ud2 | Mnemonic::Int3 | Mnemonic::Hlt | Mnemonic::INVALID => break,
                _ if near => open.push(instruction.near_branch_target()),
                _ => argument = first_argument(&instruction, argument),
            }
        }
    }
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

/// The constant that the register of the first argument has after an instruction.
fn first_argument(instruction: &Instruction, before: Option<u64>) -> Option<u64> {
    if !matches!(instruction.op0_register(), Register::EDI | Register::RDI) {
        return before;
    }
    let constant = instruction.mnemonic() == Mnemonic::Mov && instruction.op1_kind() == OpKind::Immediate32;
    constant.then(|| u64::from(instruction.immediate32()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_a_function_allocates_is_in_its_code() {
        // cmp edx, 2; je over; mov edi, 64; ret; over: mov edi, 40; mov rbx, rsi; call far; mov [rbx], rax; ret;
        // behind it: mov edi, 99; call far
        let code = [
            &[0x83, 0xfa, 2, 0x74, 6, 0xbf, 64, 0, 0, 0, 0xc3][..],
            &[0xbf, 40, 0, 0, 0, 0x48, 0x89, 0xf3, 0xe8, 0, 1, 0, 0, 0x48, 0x89, 3, 0xc3],
            &[0xbf, 99, 0, 0, 0, 0xe8, 0, 1, 0, 0],
        ]
        .concat();
        assert_eq!(allocated(&code, 0x1000), [40]);
        // mov edi, 40; mov edi, eax; call far
        assert_eq!(allocated(&[0xbf, 40, 0, 0, 0, 0x89, 0xc7, 0xe8, 0, 1, 0, 0, 0xc3], 0x1000), []);
        // jmp to itself
        assert_eq!(allocated(&[0xeb, 0xfe], 0x1000), []);
    }

    proptest! {
        #[test]
        fn any_bytes_come_to_an_end(code in prop::collection::vec(any::<u8>(), 0..2000), address in any::<u64>()) {
            prop_assert!(allocated(&code, address).len() <= MOST_DECODED);
        }
    }
}
