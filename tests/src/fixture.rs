//! Debuggees: programs of `fixtures/` that say what is in their memory.

use crate::processes::{Process, until};
use crate::{root, scratch, target_folder};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The bytes that `fixtures/common.h` calls a needle.
pub fn needle() -> [u8; 16] {
    std::array::from_fn(|index| 0x80 | ((index as u8).wrapping_mul(29).wrapping_add(7) & 0x7f))
}

/// Compiles `fixtures/NAME` (a `.c`, `.cpp` or `.rs` file) with debug information, unless that was done already.
pub fn compile(name: &str) -> PathBuf {
    let folder = root().join("fixtures");
    let source = folder.join(name);
    let mut hasher = DefaultHasher::new();
    for file in [&source, &folder.join("common.h"), &folder.join("heap.h")] {
        std::fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display())).hash(&mut hasher);
    }
    let (stem, language) = name.rsplit_once('.').expect("the name of a source file");
    let folder = target_folder().join("fixtures").join(format!("{stem}-{:016x}", hasher.finish()));
    let program = folder.join(stem);
    if program.exists() {
        return program;
    }
    std::fs::create_dir_all(&folder).expect("the target folder can be written to");
    let (compiler, options): (_, &[_]) = match language {
        "c" => ("cc", &["-O0", "-Wall", "-Wextra", "-Werror", "-pthread"]),
        "cpp" => ("c++", &["-O0", "-Wall", "-Wextra", "-Werror", "-pthread"]),
        "rs" => ("rustc", &["--edition=2024", "-Copt-level=1", "-Dwarnings"]),
        _ => panic!("{name}: in which language is it?"),
    };
    // Several tests may compile it at the same time, so each makes its own and then gives it its name. A compiler takes what follows a dot
    // for an extension, and names files of its own without it.
    let part = folder.join(format!("{stem}-{}-{:?}", std::process::id(), std::thread::current().id()));
    let status = Command::new(compiler)
        .arg("-g")
        .args(options)
        .arg("-o")
        .args([&part, &source])
        .status()
        .unwrap_or_else(|error| panic!("{compiler}: {error}"));
    assert!(status.success(), "{} does not compile", source.display());
    std::fs::rename(part, &program).expect("a file can be renamed");
    program
}

/// What a debuggee says is in its memory: lines of a kind, a label, and an address.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    lines: Vec<(String, String, u64)>,
}

impl Truth {
    /// Reads the file that a debuggee wrote.
    pub fn read(file: &Path) -> Self {
        let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let parse = |line: &str| {
            let mut words = line.split(' ');
            let kind = words.next()?.to_owned();
            let label = words.next()?.to_owned();
            Some((kind, label, u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok()?))
        };
        let lines = text.lines().map(|line| parse(line).unwrap_or_else(|| panic!("'{line}' is no line of truth")));
        Self { lines: lines.collect() }
    }

    /// The addresses of one kind, in order.
    pub fn addresses(&self, kind: &str) -> Vec<u64> {
        self.labelled(kind, |_| true)
    }

    /// The addresses of one kind whose label is wanted, in order.
    pub fn labelled(&self, kind: &str, wanted: impl Fn(&str) -> bool) -> Vec<u64> {
        let lines = self.lines.iter().filter(|(line, label, _)| line == kind && wanted(label));
        let mut addresses: Vec<u64> = lines.map(|line| line.2).collect();
        addresses.sort_unstable();
        addresses
    }

    /// What is said of one kind: labels and addresses, in the order of the addresses.
    pub fn of_kind(&self, kind: &str) -> Vec<(&str, u64)> {
        let lines = self.lines.iter().filter(|line| line.0 == kind);
        let mut found: Vec<_> = lines.map(|line| (line.1.as_str(), line.2)).collect();
        found.sort_unstable_by_key(|line| line.1);
        found
    }

    /// The one address of this kind with this label.
    #[track_caller]
    pub fn address(&self, kind: &str, label: &str) -> u64 {
        let found = self.labelled(kind, |candidate| candidate == label);
        assert_eq!(found.len(), 1, "{kind} {label}");
        found[0]
    }

    /// What it says of an address, for the message of a failed test.
    pub fn label(&self, address: u64) -> Option<&str> {
        let is_it = |line: &&(String, String, u64)| line.0 != "edge" && line.2 == address;
        self.lines.iter().find(is_it).map(|line| line.1.as_str())
    }
}

/// A debuggee that runs without a debugger, waiting. It ends with this value.
#[derive(Debug)]
pub struct Debuggee {
    pub program: PathBuf,
    pub truth: Truth,
    child: Child,
    folder: tempfile::TempDir,
}

impl Debuggee {
    /// Starts `fixtures/NAME` and waits until its memory is as it says.
    pub fn start(name: &str, arguments: &[&str]) -> Self {
        let program = compile(name);
        Self::run(Command::new(&program), program, arguments)
    }

    /// The same with a program that a test has built of its own from there.
    pub fn start_program(program: PathBuf, arguments: &[&str]) -> Self {
        Self::run(Command::new(&program), program, arguments)
    }

    /// The same as [`start`](Self::start), where everything lies at the addresses that it has under a debugger.
    pub fn start_at_fixed_addresses(name: &str, arguments: &[&str]) -> Self {
        let program = compile(name);
        let mut command = Command::new("setarch");
        command.arg("--addr-no-randomize").arg(&program);
        Self::run(command, program, arguments)
    }

    fn run(mut command: Command, program: PathBuf, arguments: &[&str]) -> Self {
        let folder = scratch();
        let truth = folder.path().join("truth");
        let child = command
            .arg(&truth)
            .args(arguments)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let mut debuggee = Self { program, truth: Truth::default(), child, folder };
        until("the debuggee's truth", Duration::from_secs(60), || {
            assert!(debuggee.child.try_wait().expect("a child can be waited for").is_none(), "the debuggee ended");
            truth.exists().then_some(())
        });
        debuggee.truth = Truth::read(&truth);
        debuggee
    }

    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Has its core file hold all of its memory, that of files too.
    pub fn dump_everything(&self) {
        std::fs::write(format!("/proc/{}/coredump_filter", self.pid()), "0x7f").expect("it is our process");
    }

    /// The folder that it runs in, for files of its own.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn process(&self) -> Process {
        Process::of(self.pid()).expect("the debuggee runs")
    }
}

impl Drop for Debuggee {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Has gdb write a core file of a process into `folder`.
pub fn gcore(pid: i32, folder: &Path) -> PathBuf {
    let core = folder.join("core");
    let output = Command::new("gdb")
        .args(["--nx", "--batch", "-p", &pid.to_string(), "-ex"])
        .arg(format!("generate-core-file {}", core.display()))
        .env_remove("DEBUGINFOD_URLS")
        .stdin(Stdio::null())
        .output()
        .expect("gdb runs");
    assert!(core.is_file(), "gdb wrote no core file: {}", String::from_utf8_lossy(&output.stderr));
    core
}
