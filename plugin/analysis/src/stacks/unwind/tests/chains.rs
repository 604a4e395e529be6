//! Stacks as a program makes them, call by call: the unwinder has to find the same frames.

use super::module::{BASE, Cfi, Kind, Pieces, TEXT};
use super::{there, unwind};
use crate::stacks::{End, Frame, Registers};
use proptest::prelude::*;

/// The stack's lowest and highest address.
const LOWEST: u64 = 0x7ffe_0000_0000;
const HIGHEST: u64 = LOWEST + 0x4000;

/// rbx, rbp, r12 to r15: what a function leaves as it was.
const KEPT: [u16; 6] = [3, 6, 12, 13, 14, 15];

/// A call of a function.
#[derive(Clone, Debug)]
struct Call {
    shape: Shape,
    /// Which of [`KEPT`] it saves and uses for its own.
    saves: [bool; 6],
    /// Words of its frame that are its own.
    room: u64,
    /// What it has in registers that it has saved.
    values: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// Its frame ends so far above the stack pointer.
    Plain,
    /// It ends above rbp.
    Pointer,
    /// Where it ends is in a word below rbp.
    Aligned,
    /// It is a signal handler's return, and its caller was interrupted.
    Signal,
    /// It has the caller's rbx in rbp's place, and rbp on the stack.
    Moved,
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let shape = prop_oneof![
        3 => Just(Shape::Plain),
        3 => Just(Shape::Pointer),
        1 => Just(Shape::Aligned),
        1 => Just(Shape::Signal),
        1 => Just(Shape::Moved),
    ];
    let call = (shape, any::<[bool; 6]>(), 0..20_u64, any::<u64>());
    let call = call.prop_map(|(shape, saves, room, values)| Call { shape, saves, room, values });
    prop::collection::vec(call, 1..24)
}

/// A machine that makes the calls, and writes down the rules of each function.
struct Machine {
    registers: [u64; 16],
    memory: Vec<u8>,
    cfi: Cfi,
    frames: Vec<Frame>,
}

const SP: usize = 7;
const RBP: usize = 6;

impl Machine {
    fn new(kind: Kind) -> Self {
        let mut registers = [0xdead_0000; 16];
        registers[SP] = HIGHEST;
        Self { registers, memory: vec![0xaa; (HIGHEST - LOWEST) as usize], cfi: Cfi::new(kind), frames: Vec::new() }
    }

    fn put(&mut self, at: u64, word: u64) {
        self.memory[(at - LOWEST) as usize..][..8].copy_from_slice(&word.to_le_bytes());
    }

    fn push(&mut self, word: u64) {
        self.registers[SP] -= 8;
        self.put(self.registers[SP], word);
    }

    /// Calls the function number `number`, from the one before. It is at its eighth byte then.
    fn call(&mut self, number: u64, call: &Call) {
        let caller = BASE + TEXT + 16 * number - 8;
        let cfa = self.registers[SP];
        let mut rules: Vec<u8> = vec![0x0c, 7, 8, 0x90, 1];
        let mut is_signal = false;
        match call.shape {
            Shape::Signal => {
                // All registers are saved in the order of their numbers, and the frame ends where that of the interrupted begins.
                is_signal = true;
                let saved = self.registers;
                self.push(caller);
                for register in (0..16).rev() {
                    self.push(saved[register]);
                }
                rules = vec![0x0f, 4, 0x77, 8 * 7, 0x06, 0x96];
                for register in (0..16).filter(|register| *register != 7) {
                    let offset = 8 * register;
                    let [low, high] = [offset & 0x7f | 0x80, offset >> 7];
                    rules.extend([0x10, register, 3, 0x77, low, high]);
                }
                rules.extend([0x10, 16, 3, 0x77, 0x80, 1]);
            }
            _ => self.push(caller),
        }
        let mut saved_at = |machine: &mut Self, register: u16| {
            machine.push(machine.registers[usize::from(register)]);
            let words = (cfa - machine.registers[SP]) / 8;
            rules.extend([0x80 | register as u8, words as u8]);
        };
        match call.shape {
            Shape::Signal => self.registers[RBP] = call.values,
            Shape::Plain => {}
            Shape::Pointer => {
                saved_at(self, 6);
                self.registers[RBP] = self.registers[SP];
                rules.extend([0x0d, 6, 0x0e, 16]);
            }
            Shape::Aligned => {
                // rbp is saved where rbp points to, and the end of the frame 8 below.
                let rbp = self.registers[RBP];
                self.registers[SP] = self.registers[SP] / 64 * 64;
                self.push(rbp);
                self.registers[RBP] = self.registers[SP];
                self.push(cfa);
                rules.extend([0x0f, 3, 0x76, 0x78, 0x06, 0x10, 6, 2, 0x76, 0]);
            }
            Shape::Moved => {
                saved_at(self, 6);
                self.registers[RBP] = self.registers[3];
                self.registers[3] = call.values;
                rules.extend([0x09, 3, 6]);
            }
        }
        if call.shape != Shape::Signal {
            let mut saved_at = |machine: &mut Self, register: u16| {
                machine.push(machine.registers[usize::from(register)]);
                let words = (cfa - machine.registers[SP]) / 8;
                rules.extend([0x80 | register as u8, words as u8]);
            };
            for (register, saves) in KEPT.into_iter().zip(call.saves) {
                let taken = call.shape != Shape::Plain && matches!(register, 3 | 6);
                if saves && !taken {
                    saved_at(self, register);
                    self.registers[usize::from(register)] = call.values.rotate_left(u32::from(register));
                }
            }
        }
        self.registers[SP] -= 8 * call.room;
        if matches!(call.shape, Shape::Plain | Shape::Moved) {
            let size = cfa - self.registers[SP];
            rules.extend([0x0e, (size & 0x7f) as u8 | 0x80, (size >> 7) as u8]);
        } else if call.shape == Shape::Signal {
            // What it is at lies on top.
            self.registers[SP] += 8 * call.room;
        }
        let common = self.cfi.common(is_signal, 16, &[]);
        self.cfi.function(common, TEXT + 16 * number, 16, &rules);
        let frame = Frame { pc: BASE + TEXT + 16 * number + 8, cfa, interrupted: is_signal };
        if is_signal && let Some(interrupted) = self.frames.last_mut() {
            interrupted.interrupted = true;
        }
        self.frames.push(frame);
    }
}

proptest! {
    #[test]
    fn the_frames_of_a_program_are_found(calls in calls(), table: bool, debug: bool) {
        let kind = if debug { Kind::DebugFrame } else if table { Kind::EhFrameAndTable } else { Kind::EhFrame };
        let mut machine = Machine::new(kind);
        let common = machine.cfi.common(false, 16, &[0x0c, 7, 8, 0x07, 16]);
        machine.cfi.function(common, TEXT, 16, &[]);
        machine.frames.push(Frame { pc: BASE + TEXT + 8, cfa: HIGHEST + 8, interrupted: false });
        for (number, call) in calls.iter().enumerate() {
            machine.call(number as u64 + 1, call);
        }
        let Machine { registers, memory, cfi, mut frames, .. } = machine;
        frames.reverse();
        frames[0].interrupted = true;
        let memory = Pieces([(LOWEST, memory)].into());

        let mut known = Registers::default();
        known.set(Registers::PC, Some(frames[0].pc));
        let mut all = known;
        for (number, value) in (0..).zip(registers) {
            all.set(number, Some(value));
        }
        let found = unwind(there(&cfi), memory.clone(), all);
        prop_assert_eq!(found.end, End::Outermost);
        prop_assert_eq!(&found.frames, &frames);

        // With the registers alone that it asks for, one after another, it comes to the same.
        for _ in 0..17 {
            let found = unwind(there(&cfi), memory.clone(), known);
            let End::Needs(register) = found.end else {
                prop_assert_eq!(found.end, End::Outermost);
                prop_assert_eq!(&found.frames, &frames);
                return Ok(());
            };
            prop_assert_eq!(known.get(register), None);
            known.set(register, all.get(register));
        }
        prop_assert!(false, "it asks for ever");
    }
}
