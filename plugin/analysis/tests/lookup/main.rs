//! What is at addresses, as llvm-symbolizer and the compilers tell it.

#[path = "../common/build.rs"]
mod build;
mod builds;
mod damage;
mod large;
mod lines;
mod search;
mod stubs;
mod symbolizer;
mod variables;
