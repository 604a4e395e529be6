//! What is debugged, as data: its address space ([`AddressSpace`]), and how its bytes are read ([`ReadMemory`]), be it a
//! live process, a core file, or something that only a debugger can read and relays to us.
//!
//! The process that holds the debugger opens a source and keeps its descriptors; a worker gets the source's
//! serialized form with copies of the descriptors, and opens the same memory from them. So a worker needs no
//! permissions of its own.
//!
//! This crate knows nothing of analyses, of LLDB, or of worker pools.

mod address;
pub mod auxv;
pub mod cache;
pub mod copied;
pub mod core;
pub mod live;
pub mod maps;
mod memory;
pub mod modules;
pub mod pagemap;
mod region;
pub mod relayed;
pub mod room;
mod source;
pub mod streamed;

pub use address::{AddressRange, ByteOrder, Layout};
pub use memory::{Fault, FaultReason, Populated, ReadMemory, Residency};
pub use region::{AddressSpace, Backing, Permissions, Region};
pub use source::{Access, OpenError, Opened, Process, Source, Thread, ThreadState};
