//! The heap of real processes, and of cores of them.

#[path = "../common/build.rs"]
mod build;
mod debuggee;
mod graph;
mod large;
mod malloc;
