//! Safe wrappers over LLDB's SB API, for a plugin that loads into any LLDB.
//!
//! The plugin is linked to no liblldb: its SB names are bound lazily to those of the host that loads it. [`plugin!`]
//! makes the entry point, which finds that host ([`Host`]) before the first SB call.
//!
//! One class a file, under Rust names. What LLDB hands out as text is copied at once, lossily; objects are disposed of
//! when their wrappers are dropped, but for commands, which LLDB owns.

pub mod address;
mod class;
mod command;
mod command_return;
mod core_file;
mod debugger;
mod entry;
mod error;
mod exit;
mod file_spec;
mod frame;
mod host;
mod interpreter;
mod memory_cache;
mod module;
mod optional;
mod output_file;
mod platform;
mod process;
mod progress;
mod relay;
mod symbol;
mod target;
mod text;
mod thread;
mod value;

pub use command::{CommandGroup, Handler, Help};
pub use command_return::CommandReturn;
pub use debugger::Debugger;
pub use entry::initialize;
pub use error::Error;
pub use exit::at_exit;
pub use frame::Frame;
pub use host::{Host, HostError};
pub use interpreter::CommandInterpreter;
pub use module::Module;
pub use output_file::OutputFile;
pub use platform::Platform;
pub use process::{Process, State};
pub use progress::Progress;
pub use relay::{Relay, Server};
pub use symbol::Symbol;
pub use target::Target;
pub use thread::{Call, Thread};
pub use value::Value;

#[doc(hidden)]
pub use lldb_sys as sys;
