//! References in programs that compilers and linkers made, compared with what the system's own tools see in them.

mod analysis;
#[path = "../common/build.rs"]
mod build;
mod builds;
mod damage;
mod objdump;
mod real;
mod search;
mod thread_local;
