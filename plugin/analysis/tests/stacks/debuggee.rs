//! A process with threads in all kinds of places, its core, and what gdb says of its stacks.

use crate::build::Build;
use analysis::stacks::Registers;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use target::modules::{FileSet, Module, Search, survey};
use target::{Backing, Opened, ReadMemory, core, live};

/// Writes a core, and then the pc of every frame of every thread, a line each that begins with the thread's id.
const SCRIPT: &str = r#"
import gdb
gdb.execute("set pagination off")
gdb.execute("set backtrace past-main on")
gdb.execute("set backtrace past-entry on")
gdb.execute("set backtrace limit unlimited")
gdb.execute("generate-core-file core")
with open("stacks", "w") as out:
    for thread in gdb.selected_inferior().threads():
        thread.switch()
        pcs, frame = [], gdb.newest_frame()
        while frame is not None:
            if frame.type() not in (gdb.INLINE_FRAME, gdb.TAILCALL_FRAME):
                pcs.append("%x" % frame.pc())
            frame = frame.older()
        out.write(" ".join([str(thread.ptid[1])] + pcs) + "\n")
"#;

pub struct Debuggee {
    child: Child,
    pub build: Build,
    /// For each thread's id, its place.
    pub places: BTreeMap<u64, String>,
}

impl Debuggee {
    pub fn start(options: &str, threads: usize) -> Self {
        let build = Build::new();
        let program = build.compile("g++", "stacks.cpp", "program", &format!("-std=c++17 -pthread {options}"));
        let path = build.path("truth");
        let child =
            Command::new(program).arg(&path).arg(format!("threads={threads}")).stdin(Stdio::null()).spawn().unwrap();
        let mut debuggee = Self { child, build, places: BTreeMap::new() };
        let start = Instant::now();
        while !path.exists() {
            assert!(debuggee.child.try_wait().unwrap().is_none(), "it has ended");
            assert!(start.elapsed() < Duration::from_secs(120), "it is never ready");
            std::thread::sleep(Duration::from_millis(5));
        }
        let line = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            (u64::from_str_radix(words[2].trim_start_matches("0x"), 16).unwrap(), words[1].to_owned())
        };
        debuggee.places = std::fs::read_to_string(path).unwrap().lines().map(line).collect();
        debuggee
    }

    pub fn live(&self) -> Opened {
        live::open(self.child.id(), &live::Options::default()).unwrap()
    }

    /// The stack pointer and the pc of each thread that is in a system call, as the kernel tells them.
    pub fn waiting(&self) -> Vec<(u64, Registers)> {
        let folder = format!("/proc/{}/task", self.child.id());
        let ids = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let thread = |id: String| {
            let call = std::fs::read_to_string(format!("{folder}/{id}/syscall")).unwrap();
            let words: Vec<&str> = call.split_whitespace().collect();
            let [.., stack_pointer, pc] = words[..] else { return None };
            let number = |word: &str| u64::from_str_radix(word.trim_start_matches("0x"), 16).ok();
            let registers = [("rsp", number(stack_pointer)?), ("rip", number(pc)?)];
            (words.len() == 9).then(|| (id.parse().unwrap(), registers.into_iter().collect()))
        };
        ids.filter_map(thread).collect()
    }

    /// A core of it, and for each thread's id where gdb says that its frames are.
    pub fn core(&self) -> (Opened, BTreeMap<u64, Vec<u64>>) {
        std::fs::write(self.build.path("script.py"), SCRIPT).unwrap();
        self.build.run("gdb", &format!("-nx --batch -p {} -x script.py", self.child.id()));
        let stacks = std::fs::read_to_string(self.build.path("stacks")).unwrap();
        let line = |line: &str| {
            let mut words = line.split_whitespace();
            let id = words.next().unwrap().parse().unwrap();
            (id, words.map(|pc| u64::from_str_radix(pc, 16).unwrap()).collect())
        };
        let stacks = stacks.lines().map(line).collect();
        (open_core(&self.build.path("core")), stacks)
    }
}

impl Drop for Debuggee {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn open_core(path: &Path) -> Opened {
    core::open(path, &core::Options::default()).unwrap()
}

/// The modules of a process or a core, as a debugger knows them.
pub fn modules(opened: &Opened, memory: &dyn ReadMemory) -> FileSet {
    const AT_SYSINFO_EHDR: u64 = 33;
    let mut modules: Vec<Module> = Vec::new();
    for region in &opened.space.regions {
        let Backing::File { path, offset: 0, .. } = &region.backing else { continue };
        let mut head = [0; 4];
        let is_module = memory.read(region.range.start, &mut head) == Ok(4) && head == *b"\x7fELF";
        if is_module && modules.last().is_none_or(|last| last.path != *path) {
            modules.push(Module { path: path.clone(), base: Some(region.range.start), ..Module::default() });
        }
    }
    let vdso = opened.process.auxv.iter().find(|(kind, _)| *kind == AT_SYSINFO_EHDR).map(|(_, value)| *value);
    if let Some(region) = vdso.and_then(|vdso| opened.space.region_at(vdso)) {
        let mut image = vec![0; region.range.len() as usize];
        memory.read(region.range.start, &mut image).unwrap();
        modules.push(Module {
            path: "[vdso]".into(),
            base: Some(region.range.start),
            image: Some(image),
            ..Module::default()
        });
    }
    FileSet::new(modules.iter().map(|module| survey(module, &Search::default())).collect())
}

/// The registers of a core's threads, by their ids.
pub fn registers(opened: &Opened) -> Vec<(u64, Registers)> {
    /// The order of Linux's `user_regs_struct`.
    const ORDER: [&str; 20] = [
        "r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi",
        "orig_rax", "rip", "cs", "eflags", "rsp",
    ];
    let threads = opened.process.threads.iter();
    threads
        .map(|thread| (u64::from(thread.id), ORDER.into_iter().zip(thread.registers.iter().copied()).collect()))
        .collect()
}
