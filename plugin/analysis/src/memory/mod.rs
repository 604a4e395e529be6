//! How analyses go through memory.

mod blocks;
mod buffer;

pub(crate) use blocks::{Walk, Window};
pub(crate) use buffer::Buffer;
