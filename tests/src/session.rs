//! A debugger that lives in a Python host, as long as a test needs it.

use crate::fixture::{Debuggee, Truth, compile};
use crate::leftovers::Leftovers;
use crate::processes::{Process, until};
use crate::product::Product;
use crate::{root, scratch};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How long one command may take before the test fails: not a measure of speed, only of life.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a command answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Whether the command's status is a success.
    pub ok: bool,
    /// All that it put into its return object.
    pub output: String,
    pub error: String,
    pub seconds: f64,
}

/// A command that was sent and not yet waited for.
#[derive(Debug)]
pub struct Pending {
    id: u64,
    line: String,
    maps: Option<String>,
}

/// A host process with a debugger in it.
///
/// When it ends, at the latest when it is dropped, the test fails if a worker or a file of it is left.
#[derive(Debug)]
pub struct Session {
    host: Child,
    requests: Option<ChildStdin>,
    answers: Receiver<Value>,
    early: RefCell<HashMap<u64, Value>>,
    next: u64,
    leftovers: Leftovers,
    debuggee: Option<Process>,
    folder: tempfile::TempDir,
    kept: Vec<tempfile::TempDir>,
}

impl Session {
    /// A debugger with the plugin loaded.
    pub fn start() -> Self {
        Self::with_environment([] as [(&str, &str); 0])
    }

    /// A debugger with the plugin loaded, in a host with these environment variables.
    pub fn with_environment<K: AsRef<OsStr>, V: AsRef<OsStr>>(variables: impl IntoIterator<Item = (K, V)>) -> Self {
        let mut session = Self::without_plugin(variables);
        session.ok(&Product::built().load());
        session
    }

    /// A debugger, and no plugin.
    pub fn without_plugin<K: AsRef<OsStr>, V: AsRef<OsStr>>(variables: impl IntoIterator<Item = (K, V)>) -> Self {
        let leftovers = Leftovers::before();
        let folder = scratch();
        let temporary = folder.path().join("tmp");
        let configuration = folder.path().join("config");
        for path in [&temporary, &configuration] {
            std::fs::create_dir(path).expect("a new folder can be made");
        }
        let mut host = Command::new("/usr/bin/python3")
            .arg(root().join("tests/driver.py"))
            .arg(folder.path().join("screen"))
            .env("PYTHONPATH", python_path())
            .env("LLDB_DEBUGSERVER_PATH", "/usr/lib/llvm-22/bin/lldb-server")
            .env("TMPDIR", &temporary)
            // The settings of whoever runs the tests are not theirs.
            .env("XDG_CONFIG_HOME", &configuration)
            .envs(variables)
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("/usr/bin/python3 runs");
        let requests = host.stdin.take();
        let lines = BufReader::new(host.stdout.take().expect("stdout is a pipe")).lines();
        let (sender, answers) = channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let answer =
                    serde_json::from_str(&line).unwrap_or_else(|error| panic!("the host said {line}: {error}"));
                if sender.send(answer).is_err() {
                    break;
                }
            }
        });
        let early = RefCell::default();
        Self { host, requests, answers, early, next: 0, leftovers, debuggee: None, folder, kept: Vec::new() }
    }

    fn request(&mut self, mut request: Value) -> u64 {
        self.next += 1;
        request["id"] = self.next.into();
        let requests = self.requests.as_mut().expect("the session has not ended");
        writeln!(requests, "{request}").expect("the host takes requests");
        self.next
    }

    #[track_caller]
    fn answer(&self, id: u64, what: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(answer) = self.early.borrow_mut().remove(&id) {
                return answer;
            }
            match self.answers.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(answer) => {
                    let id = answer["id"].as_u64().expect("every answer has an id");
                    self.early.borrow_mut().insert(id, answer);
                }
                Err(RecvTimeoutError::Timeout) => panic!("no answer within {PATIENCE:?}: {what}"),
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("the host ended during: {what}\nit had printed: {}", self.screen())
                }
            }
        }
    }

    /// Sends a command and does not wait for it.
    pub fn send(&mut self, line: &str) -> Pending {
        self.send_to(0, line)
    }

    /// Sends a command to another debugger of this host (`new_debugger()` in [`python`](Self::python) makes one).
    pub fn send_to(&mut self, debugger: usize, line: &str) -> Pending {
        let maps = self.maps_if_stopped();
        let id = self.request(json!({"command": line, "debugger": debugger}));
        Pending { id, line: line.to_owned(), maps }
    }

    /// Waits for a command. If the debuggee was stopped from its beginning to its end, its address space must be as
    /// it was.
    #[track_caller]
    pub fn wait(&mut self, pending: Pending) -> Answer {
        let answer = self.answer(pending.id, &pending.line);
        if let (true, Some(before), Some(after)) =
            (pending.line.starts_with("mp-scan"), &pending.maps, self.maps_if_stopped())
        {
            assert_eq!(before, &after, "'{}' changed the debuggee's address space", pending.line);
        }
        assert_eq!(answer["exception"], Value::Null, "{}", pending.line);
        let text = |field: &str| answer[field].as_str().unwrap_or_default().to_owned();
        let seconds = answer["seconds"].as_f64().unwrap_or_default();
        Answer { ok: answer["ok"] == true, output: text("output"), error: text("error"), seconds }
    }

    fn maps_if_stopped(&self) -> Option<String> {
        let debuggee = self.debuggee?;
        (debuggee.state()? == 't').then(|| debuggee.maps())
    }

    /// Runs a command.
    #[track_caller]
    pub fn run(&mut self, line: &str) -> Answer {
        let pending = self.send(line);
        self.wait(pending)
    }

    /// Runs a command that must succeed, and returns what it printed.
    #[track_caller]
    pub fn ok(&mut self, line: &str) -> String {
        let answer = self.run(line);
        assert!(answer.ok, "{line}\n{}{}", answer.output, answer.error);
        answer.output
    }

    /// Runs a command that must fail, and returns its one line of error.
    #[track_caller]
    pub fn fails(&mut self, line: &str) -> String {
        let answer = self.run(line);
        assert!(!answer.ok, "{line} succeeded:\n{}", answer.output);
        let error = answer.error.trim_end().trim_start_matches("error: ").to_owned();
        assert!(!error.is_empty() && !error.contains('\n'), "{line}: not one line: '{}'", answer.error);
        error
    }

    /// Runs a command with `--format json`; what it answers must be one document and nothing else.
    #[track_caller]
    pub fn json(&mut self, line: &str) -> Value {
        let before = self.screen();
        let output = self.ok(&format!("{line} --format json"));
        assert_eq!(self.screen(), before, "'{line}' printed beside its document");
        serde_json::from_str(&output).unwrap_or_else(|error| panic!("{line}: {error} in:\n{output}"))
    }

    /// Runs Python statements in the host, between two commands, and returns their `answer`.
    #[track_caller]
    pub fn python(&mut self, statements: &str) -> Value {
        let id = self.request(json!({"python": statements}));
        let answer = self.answer(id, statements);
        assert_eq!(answer["exception"], Value::Null, "{statements}");
        answer["answer"].clone()
    }

    /// Runs Python statements in the host at once, beside the command that is running there.
    #[track_caller]
    pub fn aside(&mut self, statements: &str) -> Value {
        let id = self.request(json!({"python": statements, "aside": true}));
        let answer = self.answer(id, statements);
        assert_eq!(answer["exception"], Value::Null, "{statements}");
        answer["answer"].clone()
    }

    /// Launches a debuggee, to where its memory is as its truth says.
    #[track_caller]
    pub fn launch(&mut self, name: &str, arguments: &[&str]) -> Truth {
        let program = compile(name);
        let truth = self.folder.path().join(format!("truth-{}", self.next));
        self.ok(&format!("target create {}", program.display()));
        self.ok("breakpoint set --name ready");
        self.ok(&format!(
            "process launch --stdin /dev/null --stdout /dev/null -- {} {}",
            truth.display(),
            arguments.join(" ")
        ));
        self.ok("breakpoint delete --force");
        self.look_at_process();
        Truth::read(&truth)
    }

    /// Attaches to a debuggee that runs, and stops it.
    #[track_caller]
    pub fn attach(&mut self, debuggee: &Debuggee) {
        self.ok(&format!("process attach --pid {}", debuggee.pid()));
        self.look_at_process();
    }

    /// Attaches to a debuggee whose threads come and go: LLDB gives up where one goes as it is attached to.
    #[track_caller]
    pub fn attach_patiently(&mut self, debuggee: &Debuggee) {
        let line = format!("process attach --pid {}", debuggee.pid());
        let mut tries = 0;
        while !self.run(&line).ok {
            tries += 1;
            assert!(tries < 50, "{line} has failed {tries} times");
        }
        self.look_at_process();
    }

    /// Opens a core file of a program.
    #[track_caller]
    pub fn open_core(&mut self, program: Option<&Path>, core: &Path) {
        let program = program.map(|path| path.display().to_string()).unwrap_or_default();
        self.ok(&format!("target create {program} --core {}", core.display()));
        self.debuggee = None;
    }

    /// From now on the selected target's process is the one whose address space is watched.
    pub fn look_at_process(&mut self) {
        let pid = self.python("answer = process.GetProcessID()").as_i64().unwrap_or_default();
        self.debuggee = Process::of(pid as i32);
    }

    /// The debuggee that the last launch or attach gave.
    pub fn debuggee(&self) -> Process {
        self.debuggee.expect("a process is debugged")
    }

    /// The host, in which the debugger and the plugin run.
    pub fn host(&self) -> Process {
        Process::of(self.host.id() as i32).expect("the host runs")
    }

    /// The workers that this host has now.
    pub fn workers(&mut self) -> Vec<Process> {
        let workers = Process::children(self.host.id() as i32, "mp-worker");
        self.leftovers.expect_end_of(workers.iter().copied());
        workers
    }

    /// Whether a command has ended.
    pub fn has_answered(&self, pending: &Pending) -> bool {
        let mut early = self.early.borrow_mut();
        for answer in self.answers.try_iter() {
            early.insert(answer["id"].as_u64().expect("every answer has an id"), answer);
        }
        early.contains_key(&pending.id)
    }

    /// Keeps a folder until the session has ended.
    pub fn keep(&mut self, folder: tempfile::TempDir) {
        self.kept.push(folder);
    }

    /// A folder for files of this test.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where the plugin keeps this session's settings.
    pub fn configuration(&self) -> PathBuf {
        self.folder.path().join("config/mp-scan/config.ron")
    }

    /// What was printed so far, other than into a command's return object.
    pub fn screen(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("screen")).unwrap_or_default()
    }

    /// Ends the host with SIGKILL.
    #[track_caller]
    pub fn kill(mut self) {
        self.workers();
        self.host.kill().expect("the host runs");
        self.host.wait().expect("the host can be waited for");
        self.requests = None;
        self.leftovers.check();
    }

    /// Ends the session as a host that quits does.
    #[track_caller]
    pub fn quit(mut self) {
        self.end();
    }

    #[track_caller]
    fn end(&mut self) {
        self.workers();
        // The end of its input is what makes the host end.
        self.requests = None;
        let status =
            until("the end of the host", PATIENCE, || self.host.try_wait().expect("a child can be waited for"));
        assert!(status.success(), "the host ended with {status}; it had printed: {}", self.screen());
        self.leftovers.check();
        let left: Vec<_> = std::fs::read_dir(self.folder.path().join("tmp"))
            .expect("the folder for temporary files is there")
            .map(|entry| entry.expect("a folder can be read").file_name())
            .filter(|name| name != "lldb")
            .collect();
        assert!(left.is_empty(), "left behind in the folder for temporary files: {left:?}");
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.requests.is_none() || std::thread::panicking() {
            // It has ended, or the test has failed already.
            let _ = self.host.kill();
            let _ = self.host.wait();
        } else {
            self.end();
        }
    }
}

/// Where LLDB's Python module lies.
fn python_path() -> String {
    let output = Command::new("lldb-22").arg("-P").output().expect("lldb-22 is installed");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
