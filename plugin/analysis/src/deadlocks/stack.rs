//! Where the stack of a thread lies that is in use.

use super::ThreadCalls;
use crate::stacks::{End, Registers};
use target::{AddressRange, AddressSpace};

/// Above the calls of a signal handler on a stack of its own lies what the kernel keeps of the interrupted call's registers, which is
/// less than this with the state of all extensions of x86-64.
const SAVED: u64 = 16 << 10;

/// The parts of a thread's stack that are in use, each from its innermost call on, the innermost first. There are several where calls
/// go over from one stack to another, as from a signal handler's. The last one ends with the outermost call, or with its region if the
/// stack is not known to there. None if it is not known where the stack is.
pub(super) fn pieces(thread: &ThreadCalls, space: &AddressSpace) -> Vec<AddressRange> {
    let mut pieces = Vec::new();
    let Some(mut open) = thread.thread.registers.get(Registers::SP).and_then(|start| upwards(start, space)) else {
        return pieces;
    };
    // How far calls are known to reach in it; its start if that is not known.
    let mut end = open.start;
    for frame in &thread.stack.frames {
        let cfa = frame.cfa;
        if open.start < cfa && cfa <= open.end {
            end = end.max(cfa);
        } else if let Some(next) = (cfa != 0).then(|| upwards(cfa, space)).flatten() {
            pieces.push(AddressRange::new(open.start, end.saturating_add(SAVED).min(open.end)));
            (open, end) = (next, next.start);
        } else {
            end = open.start;
        }
    }
    let is_whole = thread.stack.end == End::Outermost && end > open.start;
    pieces.push(if is_whole { AddressRange::new(open.start, end) } else { open });
    pieces
}

/// From an address, or the next one at which a pointer may lie, to the end of its region.
fn upwards(address: u64, space: &AddressSpace) -> Option<AddressRange> {
    let start = address.checked_next_multiple_of(8)?;
    Some(AddressRange::new(start, space.region_at(start)?.range.end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stacks::{Frame, Stack};
    use target::{Backing, Permissions, Region};

    const LOW: AddressRange = AddressRange::new(0x10_0000, 0x18_0000);
    const HIGH: AddressRange = AddressRange::new(0x20_0000, 0x28_0000);

    fn pieces_of(stack_pointer: Option<u64>, cfas: &[u64]) -> Vec<(u64, u64)> {
        pieces_until(stack_pointer, cfas, End::Outermost)
    }

    fn pieces_until(stack_pointer: Option<u64>, cfas: &[u64], end: End) -> Vec<(u64, u64)> {
        let region = |range| Region {
            range,
            permissions: Permissions::READ | Permissions::WRITE,
            backing: Backing::Anonymous { name: None },
            shared: false,
            userfault: false,
        };
        let space = AddressSpace { regions: vec![region(LOW), region(HIGH)], ..AddressSpace::default() };
        let mut thread = ThreadCalls::default();
        thread.thread.registers.set(Registers::SP, stack_pointer);
        let frame = |cfa: &u64| Frame { pc: 0x1234, cfa: *cfa, interrupted: false };
        thread.stack = Stack { frames: cfas.iter().map(frame).collect(), end };
        pieces(&thread, &space).into_iter().map(|piece| (piece.start, piece.end)).collect()
    }

    #[test]
    fn a_stack_reaches_to_its_outermost_call() {
        assert_eq!(pieces_of(Some(0x10_1000), &[0x10_1010, 0x10_1200]), [(0x10_1000, 0x10_1200)]);
        assert_eq!(pieces_of(Some(0x10_1001), &[0x18_0000]), [(0x10_1008, 0x18_0000)]);
    }

    #[test]
    fn a_stack_whose_end_is_not_known_reaches_to_that_of_its_region() {
        for cfas in [&[][..], &[0], &[0x10_1010, 0], &[0x10_1010, 0x50_0000], &[0x10_1010, u64::MAX]] {
            assert_eq!(pieces_of(Some(0x10_1000), cfas), [(0x10_1000, LOW.end)], "{cfas:x?}");
        }
        for end in [End::NoRules, End::Unreadable(0x10_1010), End::Deep] {
            assert_eq!(pieces_until(Some(0x10_1000), &[0x10_1010], end), [(0x10_1000, LOW.end)], "{end:?}");
        }
        // A call in between whose end is not known says nothing of the outermost one.
        assert_eq!(pieces_of(Some(0x10_1000), &[0x10_1010, 0, 0x10_1200]), [(0x10_1000, 0x10_1200)]);
    }

    #[test]
    fn calls_on_two_stacks_are_two_pieces() {
        let handler = (0x20_1000, 0x20_1200 + SAVED);
        assert_eq!(pieces_of(Some(0x20_1000), &[0x20_1200, 0x10_3000, 0x10_3400]), [handler, (0x10_3000, 0x10_3400)]);
        assert_eq!(pieces_of(Some(0x20_1000), &[0x20_1200, 0x10_3000]), [handler, (0x10_3000, LOW.end)]);
        assert_eq!(pieces_of(Some(0x20_1000), &[0x20_1200, 0x10_3000, 0]), [handler, (0x10_3000, LOW.end)]);
        // However many calls there are before it goes over.
        let mut deep: Vec<u64> = (1..1000).map(|depth| 0x20_1000 + 16 * depth).collect();
        deep.extend([0x10_3000, 0x10_3400]);
        assert_eq!(pieces_of(Some(0x20_1000), &deep), [(0x20_1000, deep[998] + SAVED), (0x10_3000, 0x10_3400)]);
        // Both in one region, the other one lower.
        assert_eq!(
            pieces_of(Some(0x10_7000), &[0x17_ff00, 0x10_3000, 0x10_3400]),
            [(0x10_7000, LOW.end), (0x10_3000, 0x10_3400)]
        );
    }

    #[test]
    fn a_stack_that_is_nowhere_has_no_pieces() {
        for stack_pointer in [None, Some(0), Some(0x50_0000), Some(u64::MAX), Some(u64::MAX - 6), Some(LOW.end)] {
            assert_eq!(pieces_of(stack_pointer, &[0x10_1010]), [], "{stack_pointer:x?}");
        }
    }
}
