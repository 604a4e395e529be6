//! The bytes that a debugger has overwritten with breakpoints, laid over what is read.

use crate::AddressRange;
use serde::{Deserialize, Serialize};

/// What belongs at `address`, where the process's memory holds something of the debugger's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patch {
    pub address: u64,
    pub bytes: Vec<u8>,
}

impl Patch {
    fn range(&self) -> AddressRange {
        AddressRange::sized(self.address, self.bytes.len() as u64)
    }
}

pub(super) fn sorted(mut patches: Vec<Patch>) -> Vec<Patch> {
    patches.sort_by_key(|patch| patch.address);
    patches
}

/// Patches in address order.
#[derive(Debug)]
pub(super) struct Patches {
    sorted: Vec<Patch>,
    longest: u64,
}

impl Patches {
    pub(super) fn new(patches: &[Patch]) -> Self {
        let longest = patches.iter().map(|patch| patch.bytes.len() as u64).max().unwrap_or(0);
        Self { sorted: sorted(patches.to_vec()), longest }
    }

    /// Puts what belongs there into `bytes`, which were read at `address`.
    pub(super) fn lay_over(&self, address: u64, bytes: &mut [u8]) {
        let read = AddressRange::sized(address, bytes.len() as u64);
        let first = self.sorted.partition_point(|patch| patch.address < address.saturating_sub(self.longest));
        let near = self.sorted[first..].iter().take_while(|patch| patch.address < read.end);
        for patch in near {
            if let Some(common) = patch.range().intersect(read) {
                let within = |base: u64| (common.start - base) as usize..(common.end - base) as usize;
                bytes[within(address)].copy_from_slice(&patch.bytes[within(patch.address)]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn lays_over_what_a_bytewise_twin_lays_over(
            patches in prop::collection::vec((0_u64..64, prop::collection::vec(1_u8.., 0..6)), 0..8),
            address in 0_u64..64,
            length in 0_usize..64,
        ) {
            let patches: Vec<_> = patches.into_iter().map(|(address, bytes)| Patch { address, bytes }).collect();
            let mut bytes = vec![0; length];
            Patches::new(&patches).lay_over(address, &mut bytes);

            let mut memory = [0; 256];
            for patch in sorted(patches) {
                for (offset, byte) in patch.bytes.iter().enumerate() {
                    memory[patch.address as usize + offset] = *byte;
                }
            }
            prop_assert_eq!(&bytes, &memory[address as usize..][..length]);
        }
    }
}
