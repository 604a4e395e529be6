//! Ctrl-C, cancellation and progress in the commands that look at modules' files.

use nix::sys::signal::Signal;
use serde_json::json;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tests::{Dap, Leftovers, Process, Product, Terminal, host, root, scratch};

/// A library with much code and many symbols.
const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/libLLVM.so.22.1";

/// A search for symbols that takes long: there is no literal to look for, and much to try at each letter.
const SYMBOLS: &str = r"mp-scan symbols '[a-z].{20,60}[0-9].{20,60}Q[0-9]$|[A-Z].{30,90}_$' --workers 1";

/// No type is called so, but there is no telling without reading each of them.
const TYPES: &str = "mp-scan types '[^ -~]' --workers 1";

/// References to so much that all of the code has to be decoded.
const XREFS: &str = "mp-scan xrefs 0x2000000..0x8000000 --workers 1";

/// So many modules are alike, so that there is enough to do.
const MODULES: usize = 8;

/// A prompt that takes longer to come back has been waited for, whatever else the machine does.
const LONG: Duration = Duration::from_secs(10);

/// Ctrl-C is pressed at so many points of a command.
const POINTS: usize = 8;

/// Half of the times, the prompt is back sooner, on a machine that does much else as well. A quiet one takes less than a tenth of this.
const MEDIAN: Duration = Duration::from_secs(1);

/// So many times it may come just as a command is read or has ended, and be the prompt's.
const LOST: usize = 2;

/// A key that comes just after the end of a command is a matter of the prompt's: LLDB forgets the line that is typed then.
const SETTLING: Duration = Duration::from_millis(300);

/// Builds `fixtures/large.s` in a folder, under several names.
fn large(folder: &Path) -> Vec<PathBuf> {
    let paths = names(folder, "large");
    let status = Command::new("cc").arg("-o").arg(&paths[0]).arg(root().join("fixtures/large.s")).status();
    assert!(status.expect("cc runs").success());
    paths[1..].iter().for_each(|path| symlink(&paths[0], path).expect("the folder can be written to"));
    paths
}

/// The library, under several names.
fn library(folder: &Path) -> Vec<PathBuf> {
    let paths = names(folder, "library");
    paths.iter().for_each(|path| symlink(LIBRARY, path).expect("the folder can be written to"));
    paths
}

fn names(folder: &Path, name: &str) -> Vec<PathBuf> {
    (0..MODULES).map(|number| folder.join(format!("{name}{number}"))).collect()
}

/// The commands that make a target of modules.
fn open(paths: &[PathBuf]) -> Vec<String> {
    let mut commands = vec![format!("target create {}", paths[0].display())];
    commands.extend(paths[1..].iter().map(|path| format!("target modules add {}", path.display())));
    commands
}

/// A look-up of one function in each of them. LLDB is not asked where it is: it would read all debug information first.
fn look_up(paths: &[PathBuf]) -> String {
    let output = Command::new("nm").arg(&paths[0]).output().expect("nm runs: binutils");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let address = text.lines().find_map(|line| line.strip_suffix(" T main")).expect("it has a main");
    let place = |path: &PathBuf| format!(" {}+0x{address}", path.file_name().expect("a file").to_string_lossy());
    format!("mp-scan lookup{} --workers 1", paths.iter().map(place).collect::<String>())
}

/// A terminal in which no command is faster for what an earlier one has found out.
fn terminal() -> Terminal {
    let mut terminal = Terminal::start();
    terminal.run("script import os; os.environ['MP_SCAN_CACHE'] = ''");
    terminal
}

/// How much the next progress line says is done.
fn progress(terminal: &mut Terminal) -> String {
    terminal.expect("scanned ");
    terminal.expect(" of ")
}

/// Types a command, and Ctrl-C once its progress is seen to go on.
fn interrupt(terminal: &mut Terminal, line: &str) {
    terminal.type_line(line);
    let first = progress(terminal);
    while progress(terminal) == first {}
    let printed = terminal.interrupt(line, LONG);
    assert!(printed.contains("cut short"), "{line}: {printed}");
    // The next command is as ever.
    let printed = terminal.run("mp-scan symbols ^no_such_name$");
    assert!(printed.contains("no symbols"), "{printed}");
}

#[test]
fn ctrl_c_gives_the_prompt_back_from_each_command() {
    let mut terminal = terminal();
    let folder = scratch();
    let paths = large(folder.path());
    terminal.run("settings set target.preload-symbols false");
    for command in open(&paths) {
        terminal.run(&command);
    }
    interrupt(&mut terminal, TYPES);
    interrupt(&mut terminal, "mp-scan lines large --workers 1");
    interrupt(&mut terminal, &look_up(&paths));
    for command in open(&library(folder.path())) {
        terminal.run(&command);
    }
    interrupt(&mut terminal, SYMBOLS);
    interrupt(&mut terminal, XREFS);
    terminal.quit();
}

#[test]
fn ctrl_c_gives_the_prompt_back_whenever_it_is_pressed() {
    let mut terminal = terminal();
    let folder = scratch();
    let paths = &large(folder.path())[..1];
    terminal.run("settings set target.preload-symbols false");
    for command in open(paths).into_iter().chain(open(&library(folder.path())[..1])) {
        terminal.run(&command);
    }
    terminal.until_idle();
    let looked_up = look_up(paths).replace(" --workers 1", "");
    for (target, command) in [
        (0, TYPES.trim_end_matches(" --workers 1")),
        (0, "mp-scan lines large"),
        (0, &*looked_up),
        (1, SYMBOLS.trim_end_matches(" --workers 1")),
        (1, "mp-scan xrefs 0x2000000..0x8000000 --limit 10"),
    ] {
        terminal.type_line(&format!("target select {target}"));
        terminal.until_idle();
        for workers in [0, 2] {
            let line = format!("{command} --workers {workers}");
            let started = Instant::now();
            terminal.type_line(&line);
            terminal.until_idle();
            let whole = started.elapsed();
            let mut waited: Vec<Duration> = Vec::new();
            for point in 0..POINTS as u32 {
                terminal.type_line(&line);
                std::thread::sleep(whole * point / POINTS as u32);
                waited.extend(terminal.press(LONG));
                std::thread::sleep(SETTLING);
                terminal.until_idle();
            }
            waited.sort_unstable();
            assert!(
                waited.len() + LOST >= POINTS,
                "{line}: there was no prompt after some of {POINTS} presses: {waited:?}"
            );
            let (median, longest) = (waited[waited.len() / 2], waited[waited.len() - 1]);
            assert!(longest < LONG && median < MEDIAN, "{line}, {whole:.3?} in all: {waited:?}");
        }
        // The next one is whole.
        let printed = terminal.run("mp-scan symbols ^no_such_name$");
        assert!(printed.contains("no symbols"), "{printed}");
    }
    terminal.quit();
}

#[test]
fn ctrl_c_ends_a_long_list_of_addresses_while_it_is_printed() {
    let mut terminal = Terminal::start();
    let folder = scratch();
    let program = tests::compile("values.c");
    let main = look_up(std::slice::from_ref(&program));
    let address = main.split_once('+').expect("it names an address").1.split(' ').next().expect("so it does");
    let file = folder.path().join("addresses");
    std::fs::write(&file, format!("{address}\n").repeat(400_000)).expect("the folder can be written to");
    terminal.run("settings set target.preload-symbols false");
    terminal.run(&format!("target create {}", program.display()));
    terminal.type_line(&format!("mp-scan lookup --file {}", file.display()));
    terminal.expect("  main");
    terminal.type_key('\x03');
    let printed = terminal.expect("interrupted");
    assert!(printed.contains("cut short"), "{}", &printed[printed.len().saturating_sub(2000)..]);
    let rows = printed.matches("  main").count();
    assert!(rows < 399_000, "{rows} rows were printed");
    terminal.expect("(lldb) ");
    // What was not printed is not lost where it is asked for again.
    let output = folder.path().join("rows");
    terminal.run(&format!("mp-scan lookup --file {} --format json --output {}", file.display(), output.display()));
    let report: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&output).expect("it is there")).expect("JSON");
    assert_eq!(report["results"].as_array().expect("rows").len(), 400_000);
    terminal.quit();
}

#[test]
fn ctrl_c_gives_the_prompt_back_while_no_worker_answers() {
    let mut terminal = Terminal::start();
    terminal.run("settings set target.preload-symbols false");
    terminal.run(&format!("target create {}", tests::compile("values.c").display()));
    for command in ["symbols main", "types .", "lines values", "lookup values+0x1", "xrefs main"] {
        terminal.run("mp-scan symbols ^no_such_name$ --workers 2");
        let workers = terminal.workers();
        assert_eq!(workers.len(), 2);
        workers.iter().for_each(|worker| worker.signal(Signal::SIGSTOP));
        terminal.type_line(&format!("mp-scan {command} --workers 2"));
        // Whatever there is to do, so much of it is done.
        terminal.expect(" of ");
        terminal.interrupt(command, LONG);
        // Others have taken their place, or take it when it is their turn.
        let printed = terminal.run("mp-scan symbols ^main$ --workers 2");
        assert!(printed.contains("1 symbol; "), "{printed}");
        workers.iter().for_each(|worker| worker.signal(Signal::SIGCONT));
    }
    terminal.quit();
}

#[test]
fn ctrl_c_ends_a_flood_of_results_and_keeps_them() {
    let mut terminal = Terminal::start();
    let folder = scratch();
    terminal.run("settings set target.preload-symbols false");
    for command in open(&library(folder.path())) {
        terminal.run(&command);
    }
    terminal.type_line("mp-scan symbols '' --limit 10000000");
    terminal.expect("0x00");
    terminal.type_key('\x03');
    terminal.expect(" more results were found by then: ");
    let command = terminal.expect("\r");
    terminal.expect("interrupted");
    terminal.expect("(lldb) ");
    let printed = terminal.run(&format!("{command} --limit 2"));
    assert!(printed.contains("0x00") && printed.contains("cut short"), "{printed}");
    terminal.quit();
}

/// Waits until the progress of a command is shown and goes on. Returns its number.
fn progress_event(dap: &mut Dap, command: &str) -> serde_json::Value {
    loop {
        // The debugger has progresses of its own.
        let start = dap.event("progressStart");
        if start["title"].as_str().is_some_and(|title| title.contains(command)) {
            let progress = start["progressId"].clone();
            while dap.event("progressUpdate")["progressId"] != progress {}
            return progress;
        }
    }
}

#[test]
fn an_editor_shows_the_progress_of_each_command_and_cancels_it() {
    let Some(mut command) = host("lldb-dap-22") else { return };
    let mut leftovers = Leftovers::before();
    let folder = scratch();
    let paths = large(folder.path());
    command.env("XDG_CONFIG_HOME", folder.path()).env("TMPDIR", folder.path()).env("MP_SCAN_CACHE", "");
    let mut dap = Dap::start(command);
    let settings = "settings set target.preload-symbols false".to_owned();
    dap.launch(&tests::compile("values.c"), &[settings, Product::built().load()]);
    for line in open(&paths).into_iter().chain(open(&library(folder.path()))) {
        dap.evaluate(&format!("`{line}"));
    }
    // The debuggee is the first target.
    for (target, line) in
        [(1, TYPES), (1, "mp-scan lines large --workers 1"), (1, &*look_up(&paths)), (2, SYMBOLS), (2, XREFS)]
    {
        dap.evaluate(&format!("`target select {target}"));
        let scan = dap.send("evaluate", Dap::command(&format!("`{line}")));
        let name = line.split(' ').take(2).collect::<Vec<_>>().join(" ");
        let progress = progress_event(&mut dap, &name);
        dap.ok("cancel", json!({"requestId": scan}));
        assert_eq!(dap.answer(scan)["message"], "cancelled", "{line}");
        while dap.event("progressEnd")["progressId"] != progress {}
        dap.output("cut short");
    }
    let found = dap.evaluate("`mp-scan symbols ^no_such_name$");
    assert!(found.contains("no symbols"), "{found}");
    leftovers.expect_end_of(Process::children(dap.host().pid, "mp-worker"));
    dap.quit();
    leftovers.check();
}
