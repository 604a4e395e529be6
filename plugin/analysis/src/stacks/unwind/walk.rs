//! One stack, frame by frame.

use super::super::{End, Frame, Registers, Stack};
use super::View;
use super::code::Code;
use super::frames::BUDGET;
use super::row::{Rule, State};
use super::window::Window;

/// As many frames of a stack are looked at: a stack of 8 MiB that has overflowed has fewer.
pub(super) const MOST_FRAMES: usize = 1 << 18;

/// A stack is left for another one, or interrupted, so often at most.
const MOST_RUNS: usize = 256;

/// Unwinds the stack of a thread. `gone` is told if the process has ended meanwhile.
pub(super) fn unwind(code: &mut Code, view: &View, registers: &Registers, gone: &mut bool) -> Stack {
    let mut frames = Vec::new();
    let mut stack = Window::new(&*view.memory);
    code.allow(BUDGET);
    let end = match walk(code, view, registers, &mut stack, &mut frames) {
        Ok(end) | Err(end) => end,
    };
    *gone |= stack.is_gone();
    Stack { frames, end }
}

/// Adds frames until there are no more, and says why.
fn walk(
    code: &mut Code,
    view: &View,
    registers: &Registers,
    stack: &mut Window<'_>,
    frames: &mut Vec<Frame>,
) -> Result<End, End> {
    let mut state = State::new(registers);
    let mut interrupted = true;
    let mut runs = Runs::new(state.stack_pointer().unwrap_or_default());
    loop {
        let pc = state.pc()?;
        if frames.len() >= MOST_FRAMES {
            return Ok(End::Deep);
        }
        frames.push(Frame { pc, cfa: 0, interrupted });
        if let Some(stack_pointer) = state.stack_pointer() {
            stack.frame(stack_pointer);
        }
        let row = code.row(view, pc, interrupted, stack)?;
        let cfa = state.cfa(row, stack)?;
        // What was interrupted while it had its return address in a register has nothing on the stack.
        let is_bare = interrupted && matches!(row.pc, Rule::In(_));
        if !runs.go_on(cfa, row.is_signal, is_bare) {
            // It is its callee that is the last one.
            if frames.len() > 1 {
                frames.pop();
            }
            return Ok(End::Loop);
        }
        if let Some(frame) = frames.last_mut() {
            frame.cfa = cfa;
            // The kernel has put its address where a handler returns to, and no call precedes it.
            frame.interrupted |= row.is_signal;
        }
        interrupted = row.is_signal;
        match state.caller(row, cfa, stack)? {
            // What was interrupted may have jumped to 0.
            Some(caller) if interrupted || caller.pc()? != 0 => state = caller,
            _ => return Ok(End::Outermost),
        }
    }
}

/// The parts of stacks that have been gone through, each upwards. One ends where a signal came, or where code went over to another
/// stack, which may lie anywhere.
struct Runs {
    /// Each from the stack pointer that it began with to its last canonical frame address.
    runs: Vec<(u64, u64)>,
}

impl Runs {
    fn new(stack_pointer: u64) -> Self {
        Self { runs: vec![(stack_pointer, stack_pointer)] }
    }

    /// Goes on to a frame; `false` if a caller cannot lie there, because one of its callees does, unless that is bare, or one lies
    /// higher on the same stack.
    fn go_on(&mut self, cfa: u64, is_signal: bool, is_bare: bool) -> bool {
        let Some(((low, high), before)) = self.runs.split_last_mut() else { return false };
        if is_bare && cfa == *high {
            return true;
        }
        let been = |(low, high): &(u64, u64)| *low < cfa && cfa <= *high;
        if before.iter().any(been) {
            return false;
        }
        if cfa > *high && !is_signal {
            *high = cfa;
            return true;
        }
        if (*low <= cfa && cfa <= *high && !is_signal) || been(&(*low, *high)) || self.runs.len() >= MOST_RUNS {
            return false;
        }
        self.runs.push((cfa, cfa));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_lies_higher_on_the_same_stack() {
        let mut runs = Runs::new(0x1000);
        assert!(runs.go_on(0x1008, false, false));
        assert!(runs.go_on(0x1040, false, false));
        for cfa in [0x1040, 0x1020, 0x1008, 0x1000] {
            assert!(!runs.go_on(cfa, false, false), "{cfa:#x}");
        }
        assert!(runs.go_on(0x1048, false, false));
    }

    #[test]
    fn another_stack_may_lie_below_and_none_is_gone_through_twice() {
        let mut runs = Runs::new(0x9000);
        assert!(runs.go_on(0x9100, false, false));
        // A signal handler's own stack lies above what was interrupted.
        assert!(runs.go_on(0x1000, true, false));
        assert!(runs.go_on(0x1040, false, false));
        assert!(!runs.go_on(0x9080, false, false));
        assert!(!runs.go_on(0x9080, true, false));
        // Interrupted on the same stack.
        assert!(runs.go_on(0x1100, true, false));
        assert!(runs.go_on(0x1108, false, false));
        assert!(!runs.go_on(0x1030, true, false));
    }

    #[test]
    fn a_function_without_a_frame_lies_where_its_caller_does() {
        let mut runs = Runs::new(0x1000);
        assert!(!runs.go_on(0x1000, false, false));
        assert!(runs.go_on(0x1000, false, true));
        assert!(runs.go_on(0x1040, false, false));
        assert!(!runs.go_on(0x1020, false, true), "its caller would lie lower");
        // Interrupted.
        assert!(runs.go_on(0x2000, true, false));
        assert!(runs.go_on(0x2000, false, true));
        assert!(runs.go_on(0x2008, false, false));
    }

    #[test]
    fn stacks_are_not_changed_for_ever() {
        let mut runs = Runs::new(u64::MAX);
        let changes =
            (0..10 * MOST_RUNS as u64).take_while(|change| runs.go_on(u64::MAX - 16 * (change + 1), false, false));
        assert!(changes.count() < MOST_RUNS);
    }
}
