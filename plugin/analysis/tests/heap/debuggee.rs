//! A process that says what is in its heap.

use crate::build::Build;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use target::{Opened, core, live};

pub struct Debuggee {
    child: Child,
    pub build: Build,
    /// What it tells: kind, label and value of each line.
    pub truth: Vec<(String, String, u64)>,
}

impl Debuggee {
    /// Compiles a fixture, and runs it with these arguments and this environment until it is ready.
    pub fn start(source: &str, options: &str, arguments: &str, environment: &[(&str, &str)]) -> Self {
        let build = Build::new();
        let compiler = if source.ends_with(".cpp") { "g++" } else { "gcc" };
        let program = build.compile(compiler, source, "program", options);
        let path = build.path("truth");
        let mut command = Command::new(program);
        command.arg(&path).args(arguments.split_whitespace()).envs(environment.iter().copied());
        let child = command.stdin(Stdio::null()).spawn().unwrap();
        let mut debuggee = Self { child, build, truth: Vec::new() };
        let start = Instant::now();
        while !path.exists() {
            assert!(debuggee.child.try_wait().unwrap().is_none(), "it has ended");
            assert!(start.elapsed() < Duration::from_secs(60), "it is never ready");
            std::thread::sleep(Duration::from_millis(5));
        }
        debuggee.truth = std::fs::read_to_string(path).unwrap().lines().map(line).collect();
        debuggee
    }

    pub fn live(&self) -> Opened {
        live::open(self.child.id(), &live::Options::default()).unwrap()
    }

    /// Has gdb write a core file.
    pub fn core(&self) -> (Opened, PathBuf) {
        let path = self.build.path("core");
        let pid = self.child.id().to_string();
        let command = format!("generate-core-file {}", path.display());
        let output = Command::new("gdb").args(["-nx", "--batch", "-p", &pid, "-ex", &command]).output();
        let output = output.expect("gdb is needed");
        assert!(path.exists(), "{}", String::from_utf8_lossy(&output.stderr));
        (open_core(&path), path)
    }

    pub fn values(&self, kind: &str) -> impl Iterator<Item = u64> {
        self.truth.iter().filter(move |(known, ..)| known == kind).map(|(.., value)| *value)
    }

    pub fn counts(&self) -> BTreeMap<&str, u64> {
        let counts = self.truth.iter().filter(|(kind, ..)| kind == "count");
        counts.map(|(_, label, value)| (label.as_str(), *value)).collect()
    }
}

pub fn open_core(path: &Path) -> Opened {
    core::open(path, &core::Options::default()).unwrap()
}

impl Drop for Debuggee {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn line(line: &str) -> (String, String, u64) {
    let words: Vec<&str> = line.split_whitespace().collect();
    let value = u64::from_str_radix(words[2].trim_start_matches("0x"), 16).unwrap();
    (words[0].to_owned(), words[1].to_owned(), value)
}
