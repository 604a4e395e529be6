//! What a thread has in its registers.

use serde::{Deserialize, Serialize};

/// A register by its DWARF number (System V ABI for x86-64, figure 3.36): 0 to 15 are the general ones, 16 the return address,
/// which is the program counter here.
pub type Register = u16;

/// The registers of x86-64 that call frame information tells of, as far as they are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registers([Option<u64>; 17]);

impl Registers {
    /// The stack pointer, rsp.
    pub const SP: Register = 7;
    /// rip.
    pub const PC: Register = 16;

    /// The names of those registers, in the order of their numbers.
    pub const NAMES: [&'static str; 17] = [
        "rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
        "rip",
    ];

    /// What a register holds; `None` if that is not known, or there is no such register.
    pub fn get(&self, register: Register) -> Option<u64> {
        self.0.get(usize::from(register)).copied().flatten()
    }

    /// What the register of a name holds; `None` if that is not known, or there is no such register.
    pub fn named(&self, name: &str) -> Option<u64> {
        let number = Self::NAMES.iter().position(|known| *known == name)?;
        self.0[number]
    }

    /// What those hold that are known.
    pub fn values(&self) -> impl Iterator<Item = u64> {
        self.0.into_iter().flatten()
    }

    /// Says what it holds. One that there is not is left out.
    pub fn set(&mut self, register: Register, value: Option<u64>) {
        if let Some(known) = self.0.get_mut(usize::from(register)) {
            *known = value;
        }
    }
}

impl Registers {
    /// Takes over what `other` knows and these do not. Returns whether there was anything.
    pub fn complete(&mut self, other: &Self) -> bool {
        let before = *self;
        for (own, other) in self.0.iter_mut().zip(other.0) {
            *own = own.or(other);
        }
        *self != before
    }
}

impl<'a> FromIterator<(&'a str, u64)> for Registers {
    /// By their names; others are left out.
    fn from_iter<I: IntoIterator<Item = (&'a str, u64)>>(named: I) -> Self {
        let mut registers = Self::default();
        for (name, value) in named {
            if let Some(number) = Self::NAMES.iter().position(|known| *known == name) {
                registers.0[number] = Some(value);
            }
        }
        registers
    }
}
