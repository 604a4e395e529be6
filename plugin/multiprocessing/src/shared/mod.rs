//! Plain values and slices that processes share.

mod lent;
mod received;
mod segments;
mod slice;
mod value;

pub use segments::{Segment, Segments, SegmentsError};
pub use slice::{SharedSlice, SharedSliceGuard};
pub use value::{Shared, SharedGuard};

use crate::memory::OutOfBounds;
use crate::sync::region::Region;
use std::sync::atomic::Ordering;

/// Data that is its bytes and nothing else: numbers, arrays of them, and structs without gaps that derive [`bytemuck`]'s
/// `Pod`. Another process may write the bytes, so each pattern of bits must be a value.
pub trait Plain: bytemuck::NoUninit + bytemuck::AnyBitPattern {}

impl<T: bytemuck::NoUninit + bytemuck::AnyBitPattern> Plain for T {}

/// Reads a value. One of four or eight bytes is whole, whoever writes it at the same time.
fn load<T: Plain>(region: &Region, offset: usize) -> Result<T, OutOfBounds> {
    let mut value = T::zeroed();
    let bytes = bytemuck::bytes_of_mut(&mut value);
    region.cells(offset, bytes.len())?;
    match bytes.len() {
        4 if offset.is_multiple_of(4) => {
            bytes.copy_from_slice(&region.atomic_u32(offset).load(Ordering::Relaxed).to_ne_bytes());
        }
        8 if offset.is_multiple_of(8) => {
            bytes.copy_from_slice(&region.atomic_u64(offset).load(Ordering::Relaxed).to_ne_bytes());
        }
        _ => region.read(offset, bytes)?,
    }
    Ok(value)
}

/// Writes a value, as [`load`] reads it.
fn store<T: Plain>(region: &Region, offset: usize, value: &T) -> Result<(), OutOfBounds> {
    let bytes = bytemuck::bytes_of(value);
    region.cells(offset, bytes.len())?;
    if offset.is_multiple_of(4)
        && let Ok(word) = bytes.try_into()
    {
        region.atomic_u32(offset).store(u32::from_ne_bytes(word), Ordering::Relaxed);
    } else if offset.is_multiple_of(8)
        && let Ok(word) = bytes.try_into()
    {
        region.atomic_u64(offset).store(u64::from_ne_bytes(word), Ordering::Relaxed);
    } else {
        region.write(offset, bytes)?;
    }
    Ok(())
}
