//! What is at addresses, as llvm-symbolizer and the compilers tell it.

mod build;
mod builds;
mod damage;
mod large;
mod lines;
mod search;
mod symbolizer;
