//! What users of editors get: long commands that give way, cancellation, and progress.

use serde_json::{Value, json};
use std::time::Duration;
use tests::{Dap, Leftovers, Process, Product, Truth, host, scratch, until};

const PATIENCE: Duration = Duration::from_secs(60);

/// A search that takes one worker seconds: this regex has no literal to look for. It finds the needles, too.
const SLOW: &str = r"mp-scan find --regex '\x87\xa4\xc1\xde|[a-m][n-z]{2}[0-9]' --workers 1 --in anonymous";

/// Memory that `SLOW` takes seconds to search, with a needle near its start, one in its middle, and one at its end.
const LARGE: &[&str] = &["mapped=3072", "fill=41"];

/// The same, where the search is waited for: it takes longer than the least `foreground`.
const MEDIUM: &[&str] = &["mapped=400", "fill=41"];

/// Memory that takes about a second to read through the debugger.
const RELAYED: &[&str] = &["mapped=80", "fill=41"];

/// And memory that takes many.
const RELAYED_LONG: &[&str] = &["mapped=600", "fill=41"];

/// An editor's session with a debuggee that is stopped where its memory is as it says.
struct Editor {
    dap: Dap,
    /// What marks a command in the editor's console.
    mark: &'static str,
    truth: Truth,
    leftovers: Leftovers,
    _folder: tempfile::TempDir,
}

impl Editor {
    /// `None` where that adapter is left out.
    fn start(adapter: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Option<Self> {
        let mut command = host(adapter)?;
        let leftovers = Leftovers::before();
        let folder = scratch();
        // The settings of whoever runs the tests are not theirs.
        command.env("XDG_CONFIG_HOME", folder.path()).env("TMPDIR", folder.path()).envs(variables.iter().copied());
        let mark = if adapter.starts_with("lldb-dap") { "`" } else { "" };
        let mut dap = Dap::start(command);
        let truth = dap.launch_until_ready("memory.c", arguments, &[Product::built().load()], folder.path());
        Some(Self { dap, mark, truth, leftovers, _folder: folder })
    }

    /// The arguments of `evaluate` for a command.
    fn command(&self, line: &str) -> Value {
        Dap::command(&format!("{}{line}", self.mark))
    }

    /// Starts a command, and does not wait for it.
    fn send(&mut self, line: &str) -> u64 {
        let command = self.command(line);
        self.dap.send("evaluate", command)
    }

    /// Runs a command to its end, where its output is the answer.
    #[track_caller]
    fn evaluate(&mut self, line: &str) -> String {
        let line = format!("{}{line}", self.mark);
        self.dap.evaluate(&line)
    }

    /// Runs a command to its end, where its output comes as events. Returns it up to `text`, which it must have.
    #[track_caller]
    fn printed(&mut self, line: &str, text: &str) -> String {
        let command = self.command(line);
        self.dap.ok("evaluate", command);
        self.dap.output(text)
    }

    /// Waits until a search's progress is shown and goes on. Returns its number.
    #[track_caller]
    fn progress(&mut self) -> Value {
        loop {
            // The debugger has progresses of its own.
            let start = self.dap.event("progressStart");
            if start["title"].as_str().is_some_and(|title| title.contains("mp-scan find")) {
                let progress = &start["progressId"];
                while self.dap.event("progressUpdate")["progressId"] != *progress {}
                return progress.clone();
            }
        }
    }

    /// Waits until a progress goes away.
    #[track_caller]
    fn end_of(&mut self, progress: &Value) {
        while self.dap.event("progressEnd")["progressId"] != *progress {}
    }

    /// Where the needles are, as text shows it.
    fn needles(&self) -> Vec<String> {
        self.truth.addresses("needle").iter().map(|address| format!("{address:#018x}")).collect()
    }

    #[track_caller]
    fn quit(mut self) {
        let workers = Process::children(self.dap.host().pid, "mp-worker");
        assert!(!workers.is_empty(), "the test's own ground");
        self.leftovers.expect_end_of(workers);
        self.dap.quit();
        self.leftovers.check();
    }
}

/// In CodeLLDB nothing reaches a command until it ends, so a long one goes on without the editor.
#[test]
fn codelldb_gets_a_long_command_back_as_a_job() {
    let Some(mut editor) = Editor::start("codelldb", LARGE, &[]) else { return };
    let needles = editor.needles();
    let printed = editor.printed(SLOW, "still running as job 1: mp-scan jobs wait 1");
    assert!(printed.contains(&needles[0]), "{printed}");
    // The editor is answered while the job goes on.
    let threads = editor.dap.ok("threads", json!({}));
    editor.dap.ok("stackTrace", json!({"threadId": threads["threads"][0]["id"]}));
    let listed = editor.printed("mp-scan jobs list", "find --regex");
    assert!(listed.contains("running"), "{listed}");
    let ended = editor.printed("mp-scan jobs cancel 1", "cut short");
    assert!(ended.contains("job 1: "), "{ended}");
    // What had been found by then is kept.
    let report = editor.printed("mp-scan jobs show 1", "cut short");
    assert!(report.contains(&needles[0]), "{report}");
    editor.quit();
}

#[test]
fn codelldb_gets_it_back_as_soon_as_the_user_says() {
    let Some(mut editor) = Editor::start("codelldb", MEDIUM, &[]) else { return };
    let needles = editor.needles();
    editor.printed("mp-scan pool set foreground=0.1", "foreground");
    editor.printed(SLOW, "still running as job 1: mp-scan jobs wait 1");
    for command in ["wait", "show"] {
        let report = editor.printed(&format!("mp-scan jobs {command} 1"), "3 matches; ");
        assert!(needles.iter().all(|needle| report.contains(needle)), "{report}");
    }
    // What is for a program to read stays, and so does everything when the user says so.
    let document = editor.printed(&format!("{SLOW} --format json"), "\"results\"");
    assert!(!document.contains("still running"), "{document}");
    editor.printed("mp-scan pool set foreground=0", "foreground");
    let report = editor.printed(SLOW, "3 matches; ");
    assert!(!report.contains("still running"), "{report}");
    editor.quit();
}

/// What only the debugger can read, it reads on for a job that nobody waits for, and for one that somebody waits for.
#[test]
fn codelldb_reads_on_for_a_job_that_it_relays() {
    let Some(mut editor) = Editor::start("codelldb", RELAYED, &[("MP_SCAN_READER", "relay")]) else { return };
    let needles = editor.needles();
    editor.printed("mp-scan pool set foreground=0.1", "foreground");
    for (job, workers) in [(1, 1), (2, 0)] {
        let slow = SLOW.replace("--workers 1", &format!("--workers {workers}"));
        editor.printed(&slow, &format!("still running as job {job}: mp-scan jobs wait {job}"));
        // The editor itself reads memory meanwhile.
        let address = editor.truth.address("edge", "start") + 8;
        let memory = json!({"memoryReference": format!("{address:#x}"), "count": 3});
        assert_eq!(editor.dap.ok("readMemory", memory)["data"], "QUFB");
        let threads = editor.dap.ok("threads", json!({}));
        editor.dap.ok("stackTrace", json!({"threadId": threads["threads"][0]["id"]}));
        let report = editor.printed(&format!("mp-scan jobs wait {job}"), "3 matches; ");
        assert!(needles.iter().all(|needle| report.contains(needle)), "{report}");
    }
    editor.quit();
}

#[test]
fn adapters_end_with_a_relayed_job_running() {
    for adapter in ["codelldb", "lldb-dap-22"] {
        let variables = [("MP_SCAN_READER", "relay")];
        let Some(mut editor) = Editor::start(adapter, RELAYED_LONG, &variables) else { continue };
        let command = editor.command(&format!("{SLOW} --background"));
        editor.dap.ok("evaluate", command);
        editor.quit();
    }
}

/// Where only the debugger can read the target, threads' stacks are read by the command's own thread: lldb-dap holds LLDB's lock
/// meanwhile.
#[test]
fn stacks_are_read_through_lldb_dap() {
    let variables = [("MP_SCAN_READER", "relay")];
    let Some(mut editor) = Editor::start("lldb-dap-22", &["mapped=16"], &variables) else { return };
    let shown = editor.evaluate("mp-scan stacks --state");
    assert!(shown.contains("1 thread: 1") && shown.contains("main"), "{shown}");
    // It is not known whether it is in a system call.
    assert!(shown.contains("unknown") && !shown.contains("running"), "{shown}");
    let shown = editor.evaluate("mp-scan deadlocks");
    assert!(shown.contains("read through the debugger"), "{shown}");
    editor.quit();
}

/// `cancel` ends a command with what it has found, and with its progress.
#[test]
fn lldb_dap_shows_progress_and_cancels_a_search() {
    for variables in [&[][..], &[("MP_SCAN_READER", "relay")]] {
        let memory = if variables.is_empty() { LARGE } else { RELAYED_LONG };
        let Some(mut editor) = Editor::start("lldb-dap-22", memory, variables) else { return };
        let search = editor.send(SLOW);
        let progress = editor.progress();
        editor.dap.ok("cancel", json!({"requestId": search}));
        assert_eq!(editor.dap.answer(search)["message"], "cancelled");
        editor.end_of(&progress);
        let printed = editor.dap.output("cut short");
        let needles = editor.needles();
        assert!(printed.contains(&needles[0]) && !printed.contains(&needles[2]), "{printed}");

        let report: Value = serde_json::from_str(&editor.evaluate("mp-scan jobs show 1 --format json")).expect("JSON");
        assert_eq!((&report["truncated"], &report["stopped"]), (&json!(true), &json!("cancelled")), "{report}");
        // The next one is as ever.
        let found = editor.evaluate("mp-scan find --string nowhere-to-be-found --in stack");
        assert!(found.contains("no matches; "), "{found}");

        // A job that nobody waits for shows its progress as well.
        let answer = editor.evaluate(&format!("{SLOW} --background"));
        assert!(answer.contains("job 3 is under way"), "{answer}");
        let progress = editor.progress();
        let ended = editor.evaluate("mp-scan jobs cancel 3");
        assert!(ended.contains("cut short"), "{ended}");
        editor.end_of(&progress);
        editor.quit();
    }
}

/// A script in an editor gets one document, also after a job has ended behind it.
#[test]
fn json_in_an_editor_is_one_document() {
    let Some(mut editor) = Editor::start("lldb-dap-22", &["mapped=16"], &[]) else { return };
    editor.evaluate("mp-scan find --string nowhere-to-be-found --background");
    until("the job's end", PATIENCE, || {
        let jobs = editor.evaluate("mp-scan jobs list --format json");
        (!jobs.contains("\"running\"")).then_some(())
    });
    let answer = editor.evaluate("mp-scan find --bytes 87a4c1de --format json");
    let report: Value = serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer}"));
    assert_eq!((&report["command"], &report["total"]), (&json!("find"), &json!(3)), "{report}");
    // That was not the place to tell of the job's end.
    let version = editor.evaluate("mp-scan version");
    assert!(version.starts_with("job 1 (find --string nowhere-to-be-found --background) finished"), "{version}");
    editor.quit();
}
