//! How analyses go through memory.

mod blocks;
mod buffer;
#[cfg(test)]
mod tests;

pub(crate) use blocks::{Walk, Window};
pub(crate) use buffer::Buffer;
