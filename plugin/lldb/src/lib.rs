//! Safe wrappers over LLDB's SB API, for a plugin that loads into any LLDB.
//!
//! The plugin is linked to no liblldb: its SB names are bound lazily to those of the host that loads it. [`plugin!`]
//! makes the entry point, which finds that host ([`Host`]) before the first SB call.
//!
//! One class a file, under Rust names. What LLDB hands out as text is copied at once, lossily; objects are disposed of

mod command;
mod command_return;
mod debugger;
mod entry;
mod error;
mod host;
mod interpreter;
mod optional;
mod output_file;
mod text;

pub use command::{CommandGroup, Handler, Help};
pub use command_return::CommandReturn;
pub use debugger::Debugger;
pub use entry::initialize;
pub use error::Error;
pub use host::{Host, HostError};
pub use interpreter::CommandInterpreter;
pub use output_file::OutputFile;

#[doc(hidden)]
pub use lldb_sys as sys;
