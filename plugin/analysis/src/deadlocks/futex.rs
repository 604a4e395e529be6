//! What a thread waits for in the kernel: a futex, as its system call says.

use super::reader::Reader;
use crate::stacks::SystemCall;

/// A word that a thread waits for to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Futex {
    pub address: u64,
    pub operation: Operation,
    /// What was in the word when the thread began to wait; 0 where the kernel is not told.
    pub expected: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Operation {
    /// Without a time, or for so long.
    Wait,
    /// Until a time, as glibc waits where it may be given one.
    Until,
    /// For a lock whose owner inherits the priority of those that wait.
    Inheriting,
}

/// futex(2): the call's number on x86-64, and of its operations those that wait. FUTEX_PRIVATE_FLAG and FUTEX_CLOCK_REALTIME may
/// be added (`include/uapi/linux/futex.h` of Linux).
pub(super) const FUTEX: u64 = 202;
const OPERATION: u64 = 0x7f;
const WAIT: u64 = 0;
const LOCK_PI: u64 = 6;
const WAIT_BITSET: u64 = 9;
const WAIT_REQUEUE_PI: u64 = 11;
const LOCK_PI2: u64 = 13;

/// Bits of the operation that say more of it.
const PRIVATE: u64 = 0x80;
const FLAGS: u64 = 0x180;

/// restart_syscall(2) goes on with a call that has a time after a signal, and the registers still hold that one's arguments. It may
/// be another one than futex(2): what nanosleep(2) and poll(2) have in the place of the operation has not its bits.
const RESTART: u64 = 219;

/// futex_waitv(2) waits for any of some words, futex_wait(2) for one.
const WAITV: u64 = 449;
const WAIT2: u64 = 455;

/// What a system call waits for; `None` if it is another one.
pub(super) fn futex(call: &SystemCall, reader: Reader<'_>) -> Option<Futex> {
    let [address, second, third, ..] = call.arguments;
    let wait = |operation, expected: u64| Some(Futex { address, operation, expected: expected as u32 });
    match call.number {
        RESTART if second & PRIVATE == 0 => None,
        FUTEX | RESTART if second <= OPERATION | FLAGS => match second & OPERATION {
            WAIT => wait(Operation::Wait, third),
            WAIT_BITSET | WAIT_REQUEUE_PI => wait(Operation::Until, third),
            LOCK_PI | LOCK_PI2 => wait(Operation::Inheriting, 0),
            _ => None,
        },
        // The first of them stands for all: what value is expected there, and where it is.
        WAITV => {
            let [expected, first] = reader.words(address)?;
            Some(Futex { address: first, operation: Operation::Until, expected: expected as u32 })
        }
        WAIT2 => wait(Operation::Until, second),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestMemory;

    #[test]
    fn system_calls_tell_what_they_wait_for() {
        let mut bytes = vec![0; 32];
        bytes[0] = 7;
        bytes[8..16].copy_from_slice(&0x5678_u64.to_le_bytes());
        let memory = TestMemory::plain(0x1000, bytes);
        let of = |number, arguments: [u64; 3]| {
            let [first, second, third] = arguments;
            futex(&SystemCall { number, arguments: [first, second, third, 0, 0, 0] }, Reader(&memory))
                .map(|futex| (futex.address, futex.operation, futex.expected))
        };
        assert_eq!(of(202, [0x40, 0x80, 2]), Some((0x40, Operation::Wait, 2)));
        assert_eq!(of(202, [0x40, 0, 2]), Some((0x40, Operation::Wait, 2)));
        assert_eq!(of(202, [0x40, 0x189, 0xffff_ffff_8000_0001]), Some((0x40, Operation::Until, 0x8000_0001)));
        assert_eq!(of(202, [0x40, 0x86, 5]), Some((0x40, Operation::Inheriting, 0)));
        assert_eq!(of(219, [0x40, 0x80, 2]), Some((0x40, Operation::Wait, 2)));
        assert_eq!(of(219, [0x7fff_0040, 0, 0]), None, "nanosleep, which is not told where to write what remains");
        assert_eq!(of(219, [0x7fff_0040, 0x7fff_0080, 0]), None, "nanosleep, which is");
        assert_eq!(of(202, [0x40, 0x81, 1]), None, "it wakes others");
        assert_eq!(of(449, [0x1000, 1, 0]), Some((0x5678, Operation::Until, 7)));
        assert_eq!(of(449, [0x9000, 1, 0]), None, "its list cannot be read");
        assert_eq!(of(455, [0x40, 3, 0]), Some((0x40, Operation::Until, 3)));
        assert_eq!(of(0, [0x40, 0x80, 2]), None);
    }
}
