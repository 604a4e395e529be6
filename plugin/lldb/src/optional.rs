//! Names that only some versions of LLDB have. Each is used where it is there, whatever the version.

use libloading::os::unix::Library;
use lldb_sys as sys;
use std::ffi::{c_char, c_void};

/// What LLDB returns by value: two words hold any SB object.
pub type ByValue = [usize; 2];

/// `SBCommand SBCommand::AddCommand(name, implementation, help, syntax)`.
pub type AddCommand = unsafe extern "C" fn(
    *mut ByValue,
    sys::SBCommandRef,
    *const c_char,
    sys::SBCommandPluginInterfaceRef,
    *const c_char,
    *const c_char,
);
/// `bool SBDebugger::InterruptRequested()`.
pub type InterruptRequested = unsafe extern "C" fn(sys::SBDebuggerRef) -> bool;
/// `FILE *SBDebugger::GetOutputFileHandle()`.
pub type OutputFileHandle = unsafe extern "C" fn(sys::SBDebuggerRef) -> *mut libc::FILE;
/// `SBValue SBFrame::GetValueForVariablePath(path, dynamic)`, up to LLDB 22, and with a further mode from 23 on, which
/// the older function leaves in its register.
pub type VariablePath =
    unsafe extern "C" fn(*mut ByValue, sys::SBFrameRef, *const c_char, sys::DynamicValueType, DilMode);
/// `SBValue::~SBValue()`.
pub type ValueDrop = unsafe extern "C" fn(*mut ByValue);
/// `SBFileSpec SBProcess::GetCoreFile()`.
pub type CoreFile = unsafe extern "C" fn(*mut ByValue, sys::SBProcessRef);
/// `SBFileSpec::~SBFileSpec()`.
pub type FileSpecDrop = unsafe extern "C" fn(*mut ByValue);
/// `SBProgress::SBProgress(title, details, total, debugger)`.
pub type ProgressNew = unsafe extern "C" fn(*mut ByValue, *const c_char, *const c_char, u64, sys::SBDebuggerRef);
/// `void SBProgress::Increment(amount, description)`.
pub type ProgressIncrement = unsafe extern "C" fn(*mut ByValue, u64, *const c_char);
/// `SBProgress::~SBProgress()`.
pub type ProgressDrop = unsafe extern "C" fn(*mut ByValue);

/// `lldb::DILMode`: how much of an expression a variable path may be.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub enum DilMode {
    /// Names, numbers, `.`, `->`, `*`, `&` and `[]`: nothing that computes, and nothing that assigns.
    Legacy = 1,
}

/// The functions, where the host has them.
#[derive(Clone, Copy, Debug)]
pub struct Optional {
    pub add_command: Option<AddCommand>,
    pub interrupt_requested: Option<InterruptRequested>,
    pub output_file_handle: Option<OutputFileHandle>,
    pub variable_path: Option<(VariablePath, ValueDrop)>,
    pub core_file: Option<(CoreFile, FileSpecDrop)>,
    pub progress: Option<(ProgressNew, ProgressIncrement, ProgressDrop)>,
}

impl Optional {
    pub fn look_up(library: &Library) -> Self {
        // SAFETY: each name is looked up with the type of the C++ function that it is mangled from, in the Itanium ABI:
        // what is returned by value and has a destructor goes to the address in the first argument, `this` follows.
        unsafe {
            Self {
                add_command: get(library, "_ZN4lldb9SBCommand10AddCommandEPKcPNS_24SBCommandPluginInterfaceES2_S2_"),
                interrupt_requested: get(library, "_ZN4lldb10SBDebugger18InterruptRequestedEv"),
                output_file_handle: get(library, "_ZN4lldb10SBDebugger19GetOutputFileHandleEv"),
                variable_path: get(
                    library,
                    "_ZN4lldb7SBFrame23GetValueForVariablePathEPKcNS_16DynamicValueTypeENS_7DILModeE",
                )
                .or_else(|| get(library, "_ZN4lldb7SBFrame23GetValueForVariablePathEPKcNS_16DynamicValueTypeE"))
                .zip(get(library, "_ZN4lldb7SBValueD1Ev")),
                core_file: get(library, "_ZN4lldb9SBProcess11GetCoreFileEv")
                    .zip(get(library, "_ZN4lldb10SBFileSpecD1Ev")),
                progress: get(library, "_ZN4lldb10SBProgressC1EPKcS2_mRNS_10SBDebuggerE")
                    .zip(get(library, "_ZN4lldb10SBProgress9IncrementEmPKc"))
                    .zip(get(library, "_ZN4lldb10SBProgressD1Ev"))
                    .map(|((new, increment), drop)| (new, increment, drop)),
            }
        }
    }

    /// Which are there, for `version`.
    pub fn present(&self) -> [(&'static str, bool); 6] {
        [
            ("AddCommand with syntax", self.add_command.is_some()),
            ("InterruptRequested", self.interrupt_requested.is_some()),
            ("GetOutputFileHandle", self.output_file_handle.is_some()),
            ("GetValueForVariablePath", self.variable_path.is_some()),
            ("GetCoreFile", self.core_file.is_some()),
            ("SBProgress", self.progress.is_some()),
        ]
    }
}

/// # Safety
/// `F` is the type of the function of that name.
unsafe fn get<F: Copy>(library: &Library, name: &str) -> Option<F> {
    const { assert!(size_of::<F>() == size_of::<*const c_void>()) };
    // SAFETY: the caller vouches for the type.
    unsafe { library.get::<F>(name.as_bytes()) }.ok().map(|symbol| *symbol)
}
