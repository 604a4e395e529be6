//! Tests of this crate from outside: real processes, core files, and what is foreign and hostile.

mod builder;
mod core;
mod debuggee;
mod gdb;
mod live;
mod maps;
mod modules;
mod relayed;
mod streamed;
