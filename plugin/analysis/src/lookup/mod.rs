//! `lookup`: what is at an address: module, symbol, the functions that were inlined there, the place in the source.

pub mod functions;
pub mod part;
pub mod rows;
pub mod wanted;
