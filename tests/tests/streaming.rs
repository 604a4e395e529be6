//! Rows are on the screen as soon as they are certain, while the rest is still looked for.

use nix::sys::signal::Signal;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tests::{Terminal, compile, root, scratch};

/// A library with many symbols.
const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/libLLVM.so.22.1";

/// So many modules come behind the first, so that there is enough to do.
const MODULES: usize = 8;

/// As long as its workers are stopped, a command does not end; it is watched for so long.
const WATCHED: Duration = Duration::from_millis(500);

/// Other names of a file.
fn names(folder: &Path, of: &Path) -> Vec<PathBuf> {
    let paths =
        (0..MODULES).map(|number| folder.join(format!("{number}-{}", of.file_name().unwrap().to_string_lossy())));
    let paths: Vec<PathBuf> = paths.collect();
    paths.iter().for_each(|path| symlink(of, path).expect("the folder can be written to"));
    paths
}

/// Runs a command over a program and modules behind it. When the program's `row` is on the screen, the workers are stopped: the
/// command has not ended, and does so when they go on.
fn shows_first_rows_first(row: &str, line: &str, others: &[PathBuf]) {
    let mut terminal = Terminal::start();
    terminal.run("script import os; os.environ['MP_SCAN_CACHE'] = ''");
    terminal.run("settings set target.preload-symbols false");
    terminal.run(&format!("target create {}", compile("symbols.cpp").display()));
    for path in others {
        terminal.run(&format!("target modules add {}", path.display()));
    }
    terminal.type_line(line);
    // The line itself is echoed.
    terminal.expect("\n");
    terminal.expect(row);
    let workers = terminal.workers();
    assert!(!workers.is_empty());
    workers.iter().for_each(|worker| worker.signal(Signal::SIGSTOP));
    // No more comes than was on its way.
    let ended = terminal.shows("(lldb) ", WATCHED);
    workers.iter().for_each(|worker| worker.signal(Signal::SIGCONT));
    assert!(!ended, "{line}: all rows came at once");
    terminal.expect("(lldb) ");
    terminal.quit();
}

#[test]
fn symbols_of_one_module_are_shown_while_the_next_ones_are_searched() {
    let folder = scratch();
    let others = names(folder.path(), Path::new(LIBRARY));
    let line = r"mp-scan symbols '^plain_c$|[a-z].{20,60}[0-9].{20,60}Q[0-9]$' --workers 1";
    shows_first_rows_first("function", line, &others);
}

#[test]
fn lines_of_one_module_are_shown_while_the_next_ones_are_searched() {
    let folder = scratch();
    let large = folder.path().join("large");
    let status = Command::new("cc").arg("-o").arg(&large).arg(root().join("fixtures/large.s")).status();
    assert!(status.expect("cc runs").success());
    let others = names(folder.path(), &large);
    shows_first_rows_first("symbols.cpp:", "mp-scan lines 'symbols\\.cpp$|large' --workers 1 --limit 100000", &others);
}
