//! SBModule.

use crate::class::sb_class;
use crate::symbol::{self, Symbol};
use crate::target::valid;
use crate::{Target, file_spec, text};
use lldb_sys as sys;
use std::path::PathBuf;

sb_class! {
    /// An executable or a shared library in a target.
    Module(SBModuleRef, DisposeSBModule)
}

impl Module {
    /// Its file, as LLDB found it on this machine.
    pub fn path(&self) -> Option<PathBuf> {
        // SAFETY: the module is ours, and so is what comes back.
        unsafe { file_spec::take_path(sys::SBModuleGetFileSpec(self.reference)) }
    }

    /// Its file's name without the folder, as users name it.
    pub fn name(&self) -> Option<String> {
        Some(self.path()?.file_name()?.to_string_lossy().into_owned())
    }

    /// Its build id in upper-case hex with hyphens, as LLDB shows it.
    pub fn uuid(&self) -> Option<String> {
        // SAFETY: the module is ours, and the text is copied at once.
        unsafe { text::copy(sys::SBModuleGetUUIDString(self.reference)) }
    }

    /// Where the start of its file is loaded in the target's process.
    pub fn load_address(&self, target: &Target) -> Option<u64> {
        // SAFETY: both are valid, and the address that comes back is ours.
        unsafe {
            let address = sys::SBModuleGetObjectFileHeaderAddress(self.reference);
            let loaded = sys::SBAddressGetLoadAddress(address, target.reference());
            sys::DisposeSBAddress(address);
            valid(loaded)
        }
    }

    /// All symbols of that name in it.
    pub fn symbols(&self, name: &str, target: &Target) -> Vec<Symbol> {
        let name = text::c_string(name);
        // SAFETY: the module is ours, and so is the list that comes back.
        unsafe {
            let list = sys::SBModuleFindSymbols(self.reference, name.as_ptr(), sys::SymbolType::Any);
            symbol::take_list(list, target)
        }
    }
}
