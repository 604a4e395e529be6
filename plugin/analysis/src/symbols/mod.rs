//! Symbols of modules: which names match, and which symbol an address lies in.

pub mod demangle;
mod naming;

pub use demangle::{Demangler, demangled};
pub use naming::{FUNCTION, HEAD, ModuleAddresses, Request, by_module, look_up, look_up_in};
