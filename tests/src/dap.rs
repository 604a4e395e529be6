//! A client of the Debug Adapter Protocol, for the adapters that editors start.

use crate::fixture::{Truth, compile};
use crate::processes::{Process, until};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// How long an answer may take before the test fails: not a measure of speed, only of life.
const PATIENCE: Duration = Duration::from_secs(60);

/// A debug adapter on stdio.
#[derive(Debug)]
pub struct Dap {
    adapter: Child,
    requests: Option<ChildStdin>,
    messages: Receiver<Value>,
    next: u64,
    /// Answers and events that came while something else was waited for.
    early: VecDeque<Value>,
}

impl Dap {
    /// Starts an adapter and makes itself known to it, as an editor that shows progress.
    pub fn start(mut command: Command) -> Self {
        let mut adapter = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let requests = adapter.stdin.take();
        let stdout = adapter.stdout.take().expect("stdout is a pipe");
        let (sender, messages) = channel();
        std::thread::spawn(move || read_messages(BufReader::new(stdout), &sender));
        let mut dap = Self { adapter, requests, messages, next: 0, early: VecDeque::new() };
        dap.ok(
            "initialize",
            json!({
                "adapterID": "tests", "clientID": "vscode", "pathFormat": "path", "linesStartAt1": true,
                "columnsStartAt1": true, "supportsProgressReporting": true, "supportsRunInTerminalRequest": false,
            }),
        );
        dap
    }

    /// Launches a program, with commands that the debugger runs first, and waits until it has stopped at its entry.
    #[track_caller]
    pub fn launch(&mut self, program: &Path, init_commands: &[String]) {
        self.launch_with(program, &[], init_commands);
    }

    /// Launches a debuggee of `fixtures/`, and goes on to where its memory is as its truth says, which it writes to
    /// `folder`.
    #[track_caller]
    pub fn launch_until_ready(
        &mut self,
        name: &str,
        arguments: &[&str],
        init_commands: &[String],
        folder: &Path,
    ) -> Truth {
        let truth = folder.join("truth").display().to_string();
        let arguments = [&[&*truth], arguments].concat();
        self.launch_with(&compile(name), &arguments, init_commands);
        self.ok("setFunctionBreakpoints", json!({"breakpoints": [{"name": "ready"}]}));
        let threads = self.ok("threads", json!({}));
        self.ok("continue", json!({"threadId": threads["threads"][0]["id"]}));
        self.event("stopped");
        Truth::read(Path::new(&truth))
    }

    #[track_caller]
    fn launch_with(&mut self, program: &Path, arguments: &[&str], init_commands: &[String]) {
        let launch = self.send(
            "launch",
            json!({
                "name": "test", "type": "lldb", "request": "launch", "program": program, "args": arguments,
                "stopOnEntry": true, "initCommands": init_commands, "terminal": "console",
            }),
        );
        self.event("initialized");
        self.ok("configurationDone", json!({}));
        let answer = self.answer(launch);
        assert_eq!(answer["success"], true, "{answer}");
        self.event("stopped");
    }

    /// Sends a request and does not wait for its answer. Returns its number.
    pub fn send(&mut self, command: &str, arguments: Value) -> u64 {
        self.next += 1;
        let body = json!({"seq": self.next, "type": "request", "command": command, "arguments": arguments}).to_string();
        let requests = self.requests.as_mut().expect("the adapter runs");
        write!(requests, "Content-Length: {}\r\n\r\n{body}", body.len()).expect("the adapter takes requests");
        requests.flush().expect("the adapter takes requests");
        self.next
    }

    /// Waits for the answer to a request.
    #[track_caller]
    pub fn answer(&mut self, request: u64) -> Value {
        self.wait(&format!("the answer to request {request}"), |message| {
            message["type"] == "response" && message["request_seq"] == request
        })
    }

    /// Waits for an event of that name that was not waited for yet, and returns its body.
    #[track_caller]
    pub fn event(&mut self, name: &str) -> Value {
        self.wait(&format!("the event '{name}'"), |message| message["type"] == "event" && message["event"] == name)
            ["body"]
            .take()
    }

    /// Waits until the debugger's output, in whatever pieces it comes, has this text. Returns the pieces.
    #[track_caller]
    pub fn output(&mut self, text: &str) -> String {
        let mut printed = String::new();
        while !printed.contains(text) {
            printed.push_str(self.event("output")["output"].as_str().unwrap_or_default());
        }
        printed
    }

    /// Sends a request that must succeed, and returns the body of its answer.
    #[track_caller]
    pub fn ok(&mut self, command: &str, arguments: Value) -> Value {
        let request = self.send(command, arguments);
        let mut answer = self.answer(request);
        assert_eq!(answer["success"], true, "{command}: {answer}");
        answer["body"].take()
    }

    /// The arguments of `evaluate` for a command of the debugger's.
    pub fn command(line: &str) -> Value {
        json!({"expression": line, "context": "repl"})
    }

    /// Runs a command of the debugger's, and returns what is shown of it.
    #[track_caller]
    pub fn evaluate(&mut self, line: &str) -> String {
        let body = self.ok("evaluate", Self::command(line));
        body["result"].as_str().unwrap_or_else(|| panic!("no result: {body}")).to_owned()
    }

    /// The adapter, in which the debugger and the plugin run.
    pub fn host(&self) -> Process {
        Process::of(self.adapter.id() as i32).expect("the adapter runs")
    }

    #[track_caller]
    fn wait(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        if let Some(index) = self.early.iter().position(&wanted) {
            return self.early.remove(index).expect("it was there");
        }
        loop {
            match self.messages.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(message) if wanted(&message) => return message,
                Ok(message) => self.early.push_back(message),
                Err(RecvTimeoutError::Timeout) => panic!("no {what} within {PATIENCE:?}, but {:?}", self.early),
                Err(RecvTimeoutError::Disconnected) => panic!("the adapter ended before {what}: {:?}", self.early),
            }
        }
    }

    /// Ends the debuggee and the adapter, as an editor does.
    #[track_caller]
    pub fn quit(mut self) {
        let what = format!("the end of the adapter {:?}", self.host().executable());
        self.send("disconnect", json!({"terminateDebuggee": true}));
        self.requests = None;
        until(&what, PATIENCE, || self.adapter.try_wait().expect("it is our child"));
    }
}

impl Drop for Dap {
    fn drop(&mut self) {
        let _ = self.adapter.kill();
        let _ = self.adapter.wait();
    }
}

/// Passes on what the adapter says, until it ends.
fn read_messages(mut stdout: BufReader<ChildStdout>, sender: &Sender<Value>) {
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if !matches!(stdout.read_line(&mut line), Ok(1..)) {
                return;
            }
            let line = line.trim();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("Content-Length:") {
                length = value.trim().parse().expect("a length is a number");
            }
        }
        let mut body = vec![0; length];
        if stdout.read_exact(&mut body).is_err() {
            return;
        }
        let message = serde_json::from_slice(&body).expect("a message is JSON");
        if sender.send(message).is_err() {
            return;
        }
    }
}
