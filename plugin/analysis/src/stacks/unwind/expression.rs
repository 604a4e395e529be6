//! DWARF expressions in call frame information.

use super::super::{End, Registers};
use super::row::State;
use super::window::Window;
use gimli::{Encoding, EndianSlice, EvaluationResult, Format, LittleEndian, UnitOffset, Value};

/// An expression has fewer operations than these; the longest that compilers and assemblers write have a dozen.
const MOST_STEPS: u32 = 256;

/// No longer ones are evaluated, in bytes.
const LONGEST: usize = 4096;

/// How words are, where expressions are evaluated.
const ENCODING: Encoding = Encoding { address_size: 8, format: Format::Dwarf32, version: 5 };

/// An expression that gives a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expression {
    code: Box<[u8]>,
    /// What is added to addresses in it to get those of the target.
    bias: u64,
}

impl Expression {
    /// `None` if it is too long.
    pub(super) fn new(code: &[u8], bias: u64) -> Option<Self> {
        (code.len() <= LONGEST).then(|| Self { code: code.into(), bias })
    }

    /// The address that lies `offset` bytes above the stack pointer, or the word there.
    pub(super) fn from_stack_pointer(offset: u8, word: bool) -> Self {
        // A signed LEB128 number of two bytes has room for a byte.
        let [low, high] = [offset & 0x7f | 0x80, offset >> 7];
        let code = [gimli::DW_OP_breg7.0, low, high, gimli::DW_OP_deref.0];
        Self { code: code[..3 + usize::from(word)].into(), bias: 0 }
    }

    /// Its value, for these registers; `first` lies on its stack to begin with.
    ///
    /// # Errors
    /// [`End::Malformed`] if it has no value, or not after 256 operations; those of registers and of memory that it asks for.
    pub(super) fn evaluate(&self, first: Option<u64>, registers: &State, stack: &mut Window<'_>) -> Result<u64, End> {
        let malformed = |_| End::Malformed;
        let mut evaluation = gimli::Evaluation::new(EndianSlice::new(&self.code, LittleEndian), ENCODING);
        evaluation.set_max_iterations(MOST_STEPS);
        if let Some(first) = first {
            evaluation.set_initial_value(first);
        }
        let mut wanted = evaluation.evaluate().map_err(malformed)?;
        loop {
            wanted = match wanted {
                EvaluationResult::Complete => break,
                EvaluationResult::RequiresMemory { address, size, space: None, base_type: UnitOffset(0) } => {
                    evaluation.resume_with_memory(Value::Generic(stack.number(address, size)?))
                }
                EvaluationResult::RequiresRegister { register, base_type: UnitOffset(0) }
                    if register.0 <= Registers::PC =>
                {
                    evaluation.resume_with_register(Value::Generic(registers.get(register.0)?))
                }
                EvaluationResult::RequiresRelocatedAddress(address) => {
                    evaluation.resume_with_relocated_address(address.wrapping_add(self.bias))
                }
                _ => return Err(End::Malformed),
            }
            .map_err(malformed)?;
        }
        let value = evaluation.value_result().ok_or(End::Malformed)?;
        value.to_u64(u64::MAX).map_err(malformed)
    }
}
