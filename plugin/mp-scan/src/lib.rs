//! The LLDB plugin: `plugin load libmp_scan.so` registers the `mp-scan` commands.
#![forbid(unsafe_code)]

mod arguments;
mod commands;
pub mod interrupt;
pub mod output;
pub mod session;

lldb::plugin!(commands::register);
