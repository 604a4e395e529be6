//! The LLDB plugin.
