//! Which addresses an instruction has in it.

use iced_x86::{Instruction, Mnemonic, OpKind, Register};

/// How an instruction refers to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// It is called.
    Call,
    /// It is jumped to.
    Jump,
    /// What is called is read from there.
    CallAt,
    /// What is jumped to is read from there.
    JumpAt,
    /// It is read, written or loaded.
    Mention,
    /// It is read or written so far from the thread pointer.
    InThread,
}

/// Calls `found` with each address that an instruction has in it. Absolute ones count only where the code is `fixed`:
/// loaded at the addresses that it was linked for.
pub(crate) fn addresses(instruction: &Instruction, fixed: bool, mut found: impl FnMut(u64, Use)) {
    for operand in 0..instruction.op_count() {
        match instruction.op_kind(operand) {
            OpKind::NearBranch64 => {
                let call = instruction.mnemonic() == Mnemonic::Call;
                found(instruction.near_branch64(), if call { Use::Call } else { Use::Jump });
            }
            OpKind::Memory => {
                let relative = instruction.is_ip_rel_memory_operand();
                let plain = relative
                    || (instruction.memory_base() == Register::None && instruction.memory_index() == Register::None);
                let own = matches!(instruction.segment_prefix(), Register::FS | Register::GS);
                if instruction.segment_prefix() == Register::FS && instruction.memory_displ_size() >= 4 {
                    found(instruction.memory_displacement64(), Use::InThread);
                } else if !own && (relative || fixed && instruction.memory_displ_size() >= 4) {
                    let used = indirect(instruction).filter(|_| plain).unwrap_or(Use::Mention);
                    found(instruction.memory_displacement64(), used);
                }
            }
            OpKind::Immediate32 if fixed => found(instruction.immediate32().into(), Use::Mention),
            OpKind::Immediate32to64 if fixed => found(instruction.immediate32to64() as u64, Use::Mention),
            OpKind::Immediate64 if fixed => found(instruction.immediate64(), Use::Mention),
            _ => {}
        }
    }
}

fn indirect(instruction: &Instruction) -> Option<Use> {
    match instruction.mnemonic() {
        Mnemonic::Call => Some(Use::CallAt),
        Mnemonic::Jmp => Some(Use::JumpAt),
        _ => None,
    }
}
