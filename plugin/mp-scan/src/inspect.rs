//! What the debugger debugs, and how its memory is to be read.

use crate::heap_scan::{Registers, ThreadRegisters};
use analysis::place::ThreadStack;
use analysis::{TargetInfo, TargetKind};
use anyhow::{Context as _, Result, bail};
use lldb::{Debugger, Frame, Process, Relay, State, Target};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use target::live::{self, Identity, Patch, Reader};
use target::{AddressSpace, ReadMemory, Region, ThreadState};

/// A target that is ready to be scanned.
pub struct Inspected {
    pub info: TargetInfo,
    pub space: AddressSpace,
    pub stacks: Vec<ThreadStack>,
    /// How it is read from this process.
    pub memory: Arc<dyn ReadMemory>,
    pub access: Access,
    /// Whether it is what somebody has saved of a process: what is not in that file will never be there.
    pub is_saved: bool,
    /// What the user should know, a line each.
    pub warnings: Vec<String>,
    pub target: Target,
    /// The threads of a process that is stopped.
    pub threads: Vec<lldb::Thread>,
    /// Where they are, by the system's ids, as far as this machine's kernel or the core file tells.
    pub states: HashMap<u64, ThreadState>,
    /// The selected frame, if there is a process that is stopped.
    pub frame: Option<Frame>,
}

/// How workers read a target.
pub enum Access {
    /// By themselves, with copies of these descriptors. A live process comes with what tells that it is still the same, a core
    /// file with its path.
    Direct { opened: Box<target::Opened>, identity: Option<Box<Identity>>, core: Option<PathBuf> },
    /// From shared memory, which the debugger's reads fill.
    Relayed(Relay),
}

/// Looks at the debugger's selected target.
///
/// # Errors
/// One line that says what is missing and what to do.
pub fn inspect(debugger: &Debugger) -> Result<Inspected> {
    let Some(target) = debugger.selected_target() else {
        bail!(
            "no target: attach with `process attach --pid PID`, or open a core file with `target create --core FILE`"
        );
    };
    let Some(process) = target.process() else {
        bail!(
            "no process: start it with `process launch`, attach, or open a core file with `target create --core FILE`"
        );
    };
    let forced = forced_reader()?;
    let is_core = process.plugin_name().contains("core");
    let is_minidump = process.plugin_name() == "minidump";
    let direct = match forced {
        Some(Forced::Relay) => Err(anyhow::anyhow!("MP_SCAN_READER=relay")),
        // Its process may be long gone, and another have the number.
        _ if is_minidump => Err(anyhow::anyhow!("a minidump is not understood without it")),
        _ if is_core => open_core(&process),
        Some(Forced::Direct(reader)) => open_live(&target, &process, reader),
        None => open_live(&target, &process, Reader::Auto),
    };
    // A host that handles no events has not noticed that its process runs.
    let stopped = process.state() == State::Stopped && !direct.as_ref().is_ok_and(|direct| direct.runs);
    if !stopped && direct.is_err() {
        let why = direct.err().map(|error| format!("{error:#}")).unwrap_or_default();
        bail!("the process is running, and cannot be read directly ({why}): stop it with `process interrupt`");
    }
    if let (Some(Forced::Direct(_)), Err(why)) = (&forced, &direct)
        && !is_core
        && !is_minidump
    {
        bail!("MP_SCAN_READER allows no other way, and {why:#}");
    }
    let threads = if stopped { process.threads() } else { Vec::new() };
    let states = direct.as_ref().map(|direct| direct.states(&threads)).unwrap_or_default();
    let stack = |thread: &lldb::Thread| {
        let known = states.get(&thread.id()).map(|state| state.stack_pointer);
        let stack_pointer = known.or_else(|| thread.stack_pointer())?;
        Some(ThreadStack { thread: u64::from(thread.index()), stack_pointer })
    };
    let stacks = threads.iter().filter_map(stack).collect();
    let executable = target.executable().map(|path| path.to_string_lossy().into_owned());
    let mut info = TargetInfo {
        kind: if is_core { TargetKind::Core } else { TargetKind::Live },
        pid: Some(process.id()).filter(|pid| *pid != 0 && *pid != u64::MAX),
        executable,
        stop_id: stopped.then(|| process.stop_id()),
        ran: !stopped,
    };
    let frame = process.selected_thread().filter(|_| stopped).and_then(|thread| thread.selected_frame());
    match direct {
        Ok(Direct { mut opened, identity, core, .. }) => Ok(Inspected {
            info,
            space: std::mem::take(&mut opened.space),
            stacks,
            memory: opened.memory()?,
            is_saved: is_core,
            warnings: std::mem::take(&mut opened.warnings),
            access: Access::Direct { opened: Box::new(opened), identity, core },
            target,
            threads,
            states,
            frame,
        }),
        Err(why) => {
            info.kind = TargetKind::Relayed;
            let relay = Relay::new(&process);
            let space = AddressSpace { layout: target.layout(), regions: relayed_regions(&process, &why)? };
            let memory = Arc::new(relay.clone());
            let access = Access::Relayed(relay);
            let warnings = match forced {
                Some(_) => Vec::new(),
                None if is_minidump => vec!["a minidump is read through the debugger, at its speed".to_owned()],
                None => vec![format!("read through the debugger, at its speed: {why:#}")],
            };
            let is_saved = is_core || is_minidump;
            Ok(Inspected { info, space, stacks, memory, access, is_saved, warnings, target, threads, states, frame })
        }
    }
}

impl Inspected {
    /// The registers of each thread that may hold pointers.
    pub fn registers(&self) -> Registers {
        let in_core: HashMap<u64, &target::Thread> =
            self.threads_in_core().iter().map(|thread| (thread.id.into(), thread)).collect();
        let values = |thread: &lldb::Thread| match in_core.get(&thread.id()).and_then(|thread| thread.named()) {
            Some(named) => named.filter(|(name, _)| POINTERS.contains(name)).collect(),
            None => [&POINTERS[..], &POINTERS_OF_ARM]
                .into_iter()
                .map(|names| thread.registers(names))
                .find(|values| !values.is_empty())
                .unwrap_or_default(),
        };
        let registers = |thread: &lldb::Thread| ThreadRegisters {
            thread: u64::from(thread.index()),
            values: values(thread).into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        };
        Registers(self.threads.iter().map(registers).collect())
    }

    /// The threads that a core file tells of; none of a process.
    pub fn threads_in_core(&self) -> &[target::Thread] {
        match &self.access {
            Access::Direct { opened, .. } => &opened.process.threads,
            Access::Relayed(_) => &[],
        }
    }
}

/// The registers of x86-64 and of AArch64 that may hold pointers, as LLDB calls them.
const POINTERS: [&str; 19] = [
    "rax", "rbx", "rcx", "rdx", "rdi", "rsi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
    "rip", "fs_base", "gs_base",
];
const POINTERS_OF_ARM: [&str; 33] = [
    "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15", "x16", "x17",
    "x18", "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27", "x28", "fp", "lr", "sp", "pc",
];

enum Forced {
    Direct(Reader),
    Relay,
}

/// The environment variable `MP_SCAN_READER`, with which one way of reading is forced.
fn forced_reader() -> Result<Option<Forced>> {
    match std::env::var("MP_SCAN_READER").as_deref() {
        Err(_) | Ok("") => Ok(None),
        Ok("vm") => Ok(Some(Forced::Direct(Reader::Vm))),
        Ok("mem") => Ok(Some(Forced::Direct(Reader::Mem))),
        Ok("relay") => Ok(Some(Forced::Relay)),
        Ok(other) => bail!("MP_SCAN_READER is vm, mem or relay, not '{other}'"),
    }
}

/// A target that workers can read by themselves.
struct Direct {
    opened: target::Opened,
    identity: Option<Box<Identity>>,
    /// The file, if it is a core file.
    core: Option<PathBuf>,
    /// Whether it runs, whatever the debugger has noticed.
    runs: bool,
}

impl Direct {
    /// Where threads are, as the core file or the kernel tells. The debugger takes ten times as long to tell less.
    fn states(&self, threads: &[lldb::Thread]) -> HashMap<u64, ThreadState> {
        let in_core = self.opened.process.threads.iter();
        let in_core = in_core.filter_map(|thread| Some((thread.id.into(), thread.state()?)));
        let live = threads.iter().filter_map(|thread| {
            let (id, identity) = (thread.id(), self.identity.as_ref()?);
            Some((id, live::thread_state(identity.pid, u32::try_from(id).ok()?)?))
        });
        in_core.chain(live).collect()
    }
}

fn open_core(process: &Process) -> Result<Direct> {
    let path: PathBuf = process.core_file().context("this LLDB does not say which core file it has opened")?;
    let opened = target::core::open(&path, &target::core::Options::default())?;
    let core = Some(std::path::absolute(&path).unwrap_or(path));
    Ok(Direct { opened, identity: None, core, runs: false })
}

/// Opens the process with the debugger's id on this machine, if it is certain that it is the debugger's: a session with
/// another machine looks the same, and its id may exist here.
fn open_live(target: &Target, process: &Process, reader: Reader) -> Result<Direct> {
    let pid = u32::try_from(process.id()).context("it has no process id of this machine")?;
    let identity = live::identity(pid)?;
    let ours = live::tracer(pid).is_some_and(|tracer| live::is_descendant(tracer, std::process::id()));
    let plain = live::open(pid, &live::Options { reader, patches: Vec::new() })?;
    let same = same_memory(&identity, process, &*plain.memory()?)?;
    let mut patches = Vec::new();
    // Of a process that runs the debugger reads nothing; then only that it traces it is known.
    if same.is_none() && !ours {
        bail!("process {pid} of this machine is not traced by this debugger");
    }
    if same.is_some() {
        if !ours && !same_regions(&plain.space.regions, &process.regions()) {
            bail!("the mappings of process {pid} of this machine are not those that the debugger sees");
        }
        patches = original_bytes(target, process);
    }
    // The address space is read once more, after all that the debugger was asked for.
    let opened = live::open(pid, &live::Options { reader, patches })?;
    Ok(Direct { opened, identity: Some(Box::new(identity)), core: None, runs: same.is_none() })
}

/// A process that is being resumed runs after this.
const SETTLING: Duration = Duration::from_millis(100);

/// Makes sure that the debugger sees, where this machine's process has its auxiliary vector and random bytes, the same;
/// `None` if it sees nothing, as of a process that runs.
fn same_memory(identity: &Identity, process: &Process, memory: &dyn ReadMemory) -> Result<Option<()>> {
    let other = || format!("process {} of this machine is not the one that is debugged", identity.pid);
    let (address, random) = identity.random.with_context(other)?;
    let copy = identity.auxv_copy(memory).map(|copy| (copy.address, copy.bytes));
    for (address, bytes) in [(address, random.to_vec())].into_iter().chain(copy) {
        let mut seen = vec![0; bytes.len()];
        let mut patience = SETTLING;
        loop {
            match process.read_memory(address, &mut seen) {
                Ok(read) if read == bytes.len() && seen == bytes => break,
                Ok(_) => bail!(other()),
                Err(_) if process.state() != State::Stopped || live::runs(identity.pid) => return Ok(None),
                // One that the debugger is just letting go runs in a moment. What is still stopped then, and cannot be
                // read where this one can, is another.
                Err(_) if patience.is_zero() => bail!(other()),
                Err(_) => {
                    std::thread::sleep(SETTLING / 20);
                    patience = patience.saturating_sub(SETTLING / 20);
                }
            }
        }
    }
    Ok(Some(()))
}

/// Whether two views of an address space have the same mappings. What the kernel maps is named in different ways.
fn same_regions(ours: &[Region], debuggers: &[Region]) -> bool {
    let edges = |regions: &[Region]| {
        let mut joined: Vec<(u64, u64, target::Permissions)> = Vec::new();
        for region in regions {
            match joined.last_mut() {
                Some(last) if last.1 == region.range.start && last.2 == region.permissions => last.1 = region.range.end,
                _ => joined.push((region.range.start, region.range.end, region.permissions)),
            }
        }
        joined
    };
    edges(ours) == edges(debuggers)
}

/// The bytes that the debugger has written breakpoints over, as it gives them back.
fn original_bytes(target: &Target, process: &Process) -> Vec<Patch> {
    let read = |address: u64| {
        let mut byte = [0];
        process.read_memory(address, &mut byte).ok().map(|_| Patch { address, bytes: byte.to_vec() })
    };
    target.breakpoint_sites().into_iter().filter_map(read).collect()
}

fn relayed_regions(process: &Process, why: &anyhow::Error) -> Result<Vec<Region>> {
    let regions = process.regions();
    if regions.is_empty() {
        bail!("the process cannot be read directly ({why:#}), and the debugger does not say what is mapped in it");
    }
    Ok(regions)
}

impl std::fmt::Debug for Inspected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inspected").field("info", &self.info).finish_non_exhaustive()
    }
}
