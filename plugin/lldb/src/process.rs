//! SBProcess.

use crate::class::sb_class;
use crate::{Debugger, Error, Host, Thread, core_file, file_spec, text};
use lldb_sys as sys;
use std::path::PathBuf;
use target::{AddressRange, Backing, Permissions, Region};

sb_class! {
    /// A debuggee: a live process, or what a core file holds of one.
    Process(SBProcessRef, DisposeSBProcess)
}

/// What a process is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It can be examined.
    Stopped,
    /// It runs, or LLDB is starting it or stepping through it.
    Running,
    /// It has ended, was detached from, or has not begun.
    Gone,
}

impl Process {
    /// Another wrapper of the same process.
    pub(crate) fn duplicate(&self) -> Self {
        // SAFETY: the process is ours, and so is the copy.
        unsafe { Self::from_owned(sys::CloneSBProcess(self.reference)) }
    }

    /// The debugger that it is debugged in.
    pub(crate) fn debugger(&self) -> Debugger {
        // SAFETY: the process is ours, and so is what comes back: the target is disposed of once.
        unsafe {
            let target = sys::SBProcessGetTarget(self.reference);
            let debugger = Debugger::from_owned(sys::SBTargetGetDebugger(target));
            sys::DisposeSBTarget(target);
            debugger
        }
    }

    /// What it is doing.
    pub fn state(&self) -> State {
        // SAFETY: the process is ours, if maybe invalid, which has a state too.
        match unsafe { sys::SBProcessGetState(self.reference) } {
            sys::StateType::Stopped | sys::StateType::Crashed | sys::StateType::Suspended => State::Stopped,
            sys::StateType::Running
            | sys::StateType::Stepping
            | sys::StateType::Launching
            | sys::StateType::Attaching => State::Running,
            _ => State::Gone,
        }
    }

    /// Whether it is there, stopped or running.
    pub fn is_alive(&self) -> bool {
        self.state() != State::Gone
    }

    /// Its process id, where it runs; for a core file, the id that it had.
    pub fn id(&self) -> u64 {
        // SAFETY: the process is ours.
        unsafe { sys::SBProcessGetProcessID(self.reference) }
    }

    /// Its number among all that this LLDB has had: another run of the same program is another one.
    pub fn unique_id(&self) -> u32 {
        // SAFETY: the process is ours.
        unsafe { sys::SBProcessGetUniqueID(self.reference) }
    }

    /// Which stop this is: it grows each time that the process has run, but not for expressions.
    pub fn stop_id(&self) -> u32 {
        // SAFETY: the process is ours.
        unsafe { sys::SBProcessGetStopID(self.reference, false) }
    }

    /// The number of its stop, counting those that it has made for expressions: what is known of it is true until this changes.
    pub fn moment(&self) -> u32 {
        // SAFETY: the process is ours.
        unsafe { sys::SBProcessGetStopID(self.reference, true) }
    }

    /// How LLDB debugs it: `gdb-remote`, also for processes on this machine, `elf-core`, `minidump`, ….
    pub fn plugin_name(&self) -> String {
        // SAFETY: the process is ours, and the text is copied at once.
        unsafe { text::copy(sys::SBProcessGetPluginName(self.reference)) }.unwrap_or_default()
    }

    /// Reads memory through the debugger, with the bytes that breakpoints hide. Returns how many bytes were read, at
    /// least 1; fewer than asked for if what follows cannot be read.
    ///
    /// # Errors
    /// If the byte at `address` cannot be read, or the process runs.
    pub fn read_memory(&self, address: u64, buffer: &mut [u8]) -> Result<usize, Error> {
        let mut filled = 0;
        while filled < buffer.len() {
            let (Some(at), rest) = (address.checked_add(filled as u64), &mut buffer[filled..]) else { break };
            // SAFETY: the process is ours, the buffer as long as said, and the error ours, which `take` disposes of.
            let (read, outcome) = unsafe {
                let error = sys::CreateSBError();
                let read = sys::SBProcessReadMemory(self.reference, at, rest.as_mut_ptr().cast(), rest.len(), error);
                (read.min(rest.len()), Error::take(error))
            };
            // LLDB may stop short where more can be read, so it is asked again until it reads nothing.
            if read == 0 {
                return if filled > 0 {
                    Ok(filled)
                } else {
                    Err(outcome.err().unwrap_or_else(|| Error::new(format!("cannot read memory at {address:#x}"))))
                };
            }
            filled += read;
        }
        Ok(filled)
    }

    /// Its mappings as the debugger sees them, in address order, contiguous ones of a kind as one. Nothing is known of
    /// how files are mapped but their paths: offsets are 0. Empty where the debugger cannot tell.
    pub fn regions(&self) -> Vec<Region> {
        let mut regions: Vec<Region> = Vec::new();
        // SAFETY: the process is ours, and so are the list and the one region that each in turn is copied to.
        unsafe {
            let list = sys::SBProcessGetMemoryRegions(self.reference);
            let info = sys::CreateSBMemoryRegionInfo();
            for index in 0..sys::SBMemoryRegionInfoListGetSize(list) {
                if !sys::SBMemoryRegionInfoListGetMemoryRegionAtIndex(list, index, info) {
                    continue;
                }
                let Some(region) = region(info) else { continue };
                match regions.last_mut().filter(|last| continues(last, &region)) {
                    Some(last) => last.range.end = region.range.end,
                    None => regions.push(region),
                }
            }
            sys::DisposeSBMemoryRegionInfo(info);
            sys::DisposeSBMemoryRegionInfoList(list);
        }
        regions.sort_unstable_by_key(|region| region.range);
        // Who names the mappings that have a name leaves only anonymous ones without.
        if regions.iter().any(|region| region.backing != Backing::Unknown) {
            for region in regions.iter_mut().filter(|region| region.backing == Backing::Unknown) {
                region.backing = Backing::Anonymous { name: None };
            }
        }
        regions
    }

    /// Its threads.
    pub fn threads(&self) -> Vec<Thread> {
        // SAFETY: the process is ours, and so is what comes back.
        unsafe {
            let count = usize::try_from(sys::SBProcessGetNumThreads(self.reference)).unwrap_or(0);
            (0..count)
                .map(|index| Thread::from_owned(sys::SBProcessGetThreadAtIndex(self.reference, index)))
                .filter(Thread::is_valid)
                .collect()
        }
    }

    /// The thread that the user looks at.
    pub fn selected_thread(&self) -> Option<Thread> {
        // SAFETY: the process is ours, and so is what comes back.
        let thread = unsafe { Thread::from_owned(sys::SBProcessGetSelectedThread(self.reference)) };
        thread.is_valid().then_some(thread)
    }

    /// The core file that it was read from; `None` for a live process, and where it is not certain.
    pub fn core_file(&self) -> Option<PathBuf> {
        let Some((core_file, destroy)) = Host::current().optional().core_file else {
            return if self.plugin_name() == "elf-core" { core_file::mapped_here(self) } else { None };
        };
        let mut file = [0; 2];
        // SAFETY: LLDB constructs an SBFileSpec in `file`, which has room for one, and which is destroyed once.
        unsafe {
            core_file(&raw mut file, self.reference);
            let path = file_spec::path((&raw mut file).cast());
            destroy(&raw mut file);
            path
        }
    }
}

/// A mapping; `None` for a gap between mappings, and an empty one.
///
/// # Safety
/// `info` is an SBMemoryRegionInfo.
unsafe fn region(info: sys::SBMemoryRegionInfoRef) -> Option<Region> {
    // SAFETY: the caller vouches for it, and the name is copied at once.
    let (range, mapped, permissions, name) = unsafe {
        let start = sys::SBMemoryRegionInfoGetRegionBase(info);
        let flag = |set: bool, permission: Permissions| if set { permission } else { Permissions::empty() };
        (
            AddressRange::new(start, sys::SBMemoryRegionInfoGetRegionEnd(info)),
            sys::SBMemoryRegionInfoIsMapped(info),
            flag(sys::SBMemoryRegionInfoIsReadable(info), Permissions::READ)
                | flag(sys::SBMemoryRegionInfoIsWritable(info), Permissions::WRITE)
                | flag(sys::SBMemoryRegionInfoIsExecutable(info), Permissions::EXECUTE),
            text::copy(sys::SBMemoryRegionInfoGetName(info)).unwrap_or_default(),
        )
    };
    let backing = match name.as_str() {
        "" => Backing::Unknown,
        "[heap]" => Backing::Heap,
        "[stack]" => Backing::Stack,
        _ if name.starts_with('[') => Backing::Special { name },
        _ => Backing::File { path: name, offset: 0, deleted: false },
    };
    (mapped && !range.is_empty()).then_some(Region { range, permissions, backing, shared: false, userfault: false })
}

/// Whether `next` is more of the same as `last`.
fn continues(last: &Region, next: &Region) -> bool {
    last.range.end == next.range.start && last.permissions == next.permissions && last.backing == next.backing
}
