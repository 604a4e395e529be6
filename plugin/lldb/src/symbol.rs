//! SBSymbol, found by name.

use crate::target::valid;
use crate::{Module, Target, text};
use lldb_sys as sys;

/// A symbol that was found by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbol {
    pub name: String,
    /// The name of its module's file.
    pub module: String,
    /// Where it lies in its module's own address space.
    pub file_address: u64,
    /// Where it is loaded, if the target has a process.
    pub load_address: Option<u64>,
}

/// The symbols with an address in a list, each once, in the list's order; the list is disposed of.
///
/// # Safety
/// `list` is an SBSymbolContextList that the caller owns and gives away.
pub unsafe fn take_list(list: sys::SBSymbolContextListRef, target: &Target) -> Vec<Symbol> {
    let mut found = Vec::new();
    // SAFETY: the caller vouches for the list; contexts are ours, and disposed of once.
    unsafe {
        for index in 0..sys::SBSymbolContextListGetSize(list) {
            let context = sys::SBSymbolContextListGetContextAtIndex(list, index);
            if let Some(symbol) = in_context(context, target).filter(|symbol| !found.contains(symbol)) {
                found.push(symbol);
            }
            sys::DisposeSBSymbolContext(context);
        }
        sys::DisposeSBSymbolContextList(list);
    }
    found
}

/// # Safety
/// `context` is an SBSymbolContext; it stays the caller's.
unsafe fn in_context(context: sys::SBSymbolContextRef, target: &Target) -> Option<Symbol> {
    // SAFETY: the caller vouches for the context; what comes back of it is ours, and disposed of once.
    unsafe {
        let module = Module::from_owned(sys::SBSymbolContextGetModule(context));
        let symbol = sys::SBSymbolContextGetSymbol(context);
        // Undefined symbols have no address; a name that leads elsewhere is not where the thing is.
        let usable = sys::SBSymbolIsValid(symbol)
            && !matches!(sys::SBSymbolGetType(symbol), sys::SymbolType::Undefined | sys::SymbolType::Trampoline);
        let found = usable.then(|| {
            let address = sys::SBSymbolGetStartAddress(symbol);
            let found = valid(sys::SBAddressGetFileAddress(address)).map(|file_address| Symbol {
                name: text::copy(sys::SBSymbolGetName(symbol)).unwrap_or_default(),
                module: module.name().unwrap_or_default(),
                file_address,
                load_address: valid(sys::SBAddressGetLoadAddress(address, target.reference())),
            });
            sys::DisposeSBAddress(address);
            found
        });
        sys::DisposeSBSymbol(symbol);
        found.flatten()
    }
}
