//! Locks and the like, between threads and between real processes, which are killed.

#[path = "../common/leftovers.rs"]
mod leftovers;
mod threads;
