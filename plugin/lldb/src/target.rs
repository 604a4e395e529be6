//! SBTarget.

use crate::class::sb_class;
use crate::symbol::{self, Symbol};
use crate::value::{self, Value};
use crate::{Error, Module, Process, file_spec, text};
use lldb_sys as sys;
use std::path::PathBuf;
use target::{ByteOrder, Layout};

/// How far down internal breakpoints are looked for. LLDB counts them from -1; those that stay are set as a process
/// starts, so they have small numbers.
const INTERNAL_BREAKPOINTS: i32 = 1024;

sb_class! {
    /// A program, or a core file, with what LLDB knows of its modules; it may have a process.
    Target(SBTargetRef, DisposeSBTarget)
}

impl Target {
    pub(crate) fn reference(&self) -> sys::SBTargetRef {
        self.reference
    }

    /// Whether it is still there.
    pub fn is_valid(&self) -> bool {
        // SAFETY: the target is ours.
        unsafe { sys::SBTargetIsValid(self.reference) }
    }

    /// The program's file.
    pub fn executable(&self) -> Option<PathBuf> {
        // SAFETY: the target is ours, and so is what comes back.
        unsafe { file_spec::take_path(sys::SBTargetGetExecutable(self.reference)) }
    }

    /// `x86_64-unknown-linux-gnu`.
    pub fn triple(&self) -> String {
        // SAFETY: the target is ours, and the text is copied at once.
        unsafe { text::copy(sys::SBTargetGetTriple(self.reference)) }.unwrap_or_default()
    }

    /// The size of its pointers and the order of its bytes.
    pub fn layout(&self) -> Layout {
        // SAFETY: the target is ours.
        let (order, size) =
            unsafe { (sys::SBTargetGetByteOrder(self.reference), sys::SBTargetGetAddressByteSize(self.reference)) };
        let byte_order = if order == sys::ByteOrder::Big { ByteOrder::Big } else { ByteOrder::Little };
        Layout { pointer_size: if size == 4 { 4 } else { 8 }, byte_order }
    }

    /// Its process, live or of a core file, running or not; `None` before it has run and after it has ended.
    pub fn process(&self) -> Option<Process> {
        // SAFETY: the target is ours, and so is what comes back.
        let process = unsafe { Process::from_owned(sys::SBTargetGetProcess(self.reference)) };
        process.is_alive().then_some(process)
    }

    /// Its modules; the executable is the first, as a rule.
    pub fn modules(&self) -> Vec<Module> {
        // SAFETY: the target is ours, and so is what comes back.
        unsafe {
            let count = sys::SBTargetGetNumModules(self.reference);
            (0..count).map(|index| Module::from_owned(sys::SBTargetGetModuleAtIndex(self.reference, index))).collect()
        }
    }

    /// Where breakpoints are set in the process's code now, in address order: those of the user, and LLDB's own. There
    /// memory itself holds a trap; [`Process::read_memory`] reads what was there before.
    pub fn breakpoint_sites(&self) -> Vec<u64> {
        let mut sites = Vec::new();
        // SAFETY: the target is ours, and so is every breakpoint that comes back, which `enabled_sites` disposes of.
        unsafe {
            for index in 0..sys::SBTargetGetNumBreakpoints(self.reference) {
                enabled_sites(sys::SBTargetGetBreakpointAtIndex(self.reference, index), &mut sites);
            }
            for id in 1..=INTERNAL_BREAKPOINTS {
                enabled_sites(sys::SBTargetFindBreakpointByID(self.reference, -id), &mut sites);
            }
        }
        sites.sort_unstable();
        sites.dedup();
        sites
    }

    /// All symbols of that name, in all modules. LLDB reads the symbol tables for it.
    pub fn symbols(&self, name: &str) -> Vec<Symbol> {
        let name = text::c_string(name);
        // SAFETY: the target is ours, and so is the list that comes back.
        unsafe {
            let list = sys::SBTargetFindSymbols(self.reference, name.as_ptr(), sys::SymbolType::Any);
            symbol::take_list(list, self)
        }
    }

    /// Evaluates an expression without a frame, as [`Frame::evaluate`](crate::Frame::evaluate) does with one.
    ///
    /// # Errors
    /// What LLDB says of it.
    pub fn evaluate(&self, expression: &str) -> Result<Value, Error> {
        let expression = text::c_string(expression);
        value::with_safe_options(|options| {
            // SAFETY: target and options are valid, and the value that comes back ours.
            unsafe { Value::checked(sys::SBTargetEvaluateExpression(self.reference, expression.as_ptr(), options)) }
        })
    }
}

/// Adds the load addresses at which a breakpoint is set, and disposes of it.
///
/// # Safety
/// `breakpoint` is an SBBreakpoint that the caller owns and gives away; it may be invalid.
unsafe fn enabled_sites(breakpoint: sys::SBBreakpointRef, sites: &mut Vec<u64>) {
    // SAFETY: the caller vouches for it; locations are ours, and disposed of once.
    unsafe {
        if sys::SBBreakpointIsValid(breakpoint) && sys::SBBreakpointIsEnabled(breakpoint) {
            for index in 0..sys::SBBreakpointGetNumLocations(breakpoint) {
                let Ok(index) = u32::try_from(index) else { break };
                let location = sys::SBBreakpointGetLocationAtIndex(breakpoint, index);
                if sys::SBBreakpointLocationIsEnabled(location) && sys::SBBreakpointLocationIsResolved(location) {
                    sites.extend(valid(sys::SBBreakpointLocationGetLoadAddress(location)));
                }
                sys::DisposeSBBreakpointLocation(location);
            }
        }
        sys::DisposeSBBreakpoint(breakpoint);
    }
}

/// LLDB's address, which is all ones where there is none.
pub fn valid(address: u64) -> Option<u64> {
    (address != u64::MAX).then_some(address)
}
