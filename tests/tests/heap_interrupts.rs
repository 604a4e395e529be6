//! Ctrl-C in the commands that look at the heap: at a terminal, and whenever it is pressed.

use nix::sys::signal::Signal;
use std::time::{Duration, Instant};
use tests::{Debuggee, Terminal};

/// A prompt that takes longer to come back has been waited for, whatever else the machine does.
const LONG: Duration = Duration::from_secs(10);

/// Ctrl-C is pressed at so many points of a command.
const POINTS: u32 = 8;

/// So many times it may come just as a command is read or has ended, and be the prompt's.
const LOST: usize = 2;

/// A key that comes just after the end of a command is a matter of the prompt's: LLDB forgets the line that is typed then.
const SETTLING: Duration = Duration::from_millis(300);

#[test]
fn ctrl_c_gives_the_prompt_back_whenever_it_is_pressed() {
    let debuggee = Debuggee::start("heap_mix.cpp", &["chunks=400"]);
    let held = debuggee.truth.labelled("leak", |label| label.starts_with("held"))[0];
    let mut terminal = Terminal::start();
    terminal.run("settings set target.preload-symbols false");
    terminal.run(&format!("process attach --pid {}", debuggee.pid()));
    terminal.until_idle();
    for line in [
        "mp-scan leaks",
        "mp-scan heap --retained",
        "mp-scan objects ^Listener$ --limit 10",
        "mp-scan heap --check",
        &format!("mp-scan refs {held:#x} --to-roots"),
    ] {
        // What is known of the heap is known until the process runs, so that each is made to run.
        let run = |terminal: &mut Terminal| {
            terminal.type_line("expression (int)getpid()");
            terminal.until_idle();
        };
        run(&mut terminal);
        let started = Instant::now();
        terminal.type_line(line);
        terminal.until_idle();
        let whole = started.elapsed();
        let (mut longest, mut lost) = (Duration::ZERO, 0);
        for point in 0..POINTS {
            run(&mut terminal);
            terminal.type_line(line);
            std::thread::sleep(whole * point / POINTS);
            match terminal.press(LONG) {
                Some(waited) => longest = longest.max(waited),
                None => lost += 1,
            }
            std::thread::sleep(SETTLING);
            terminal.until_idle();
        }
        eprintln!("{line}: {whole:.3?} in all, and the prompt is back {longest:.3?} after Ctrl-C at the latest");
        assert!(longest < LONG && lost <= LOST, "{line}: {longest:?}, and {lost} times there was no prompt");
        // The next one is whole, with all that there is.
        terminal.type_line("mp-scan leaks");
        let printed = terminal.expect(" scanned in ");
        assert!(printed.contains("10000 leaked"), "{line}: {printed}");
        terminal.until_idle();
    }
    terminal.run("process detach");
    terminal.quit();
}

#[test]
fn ctrl_c_gives_the_prompt_back_while_no_worker_answers() {
    let debuggee = Debuggee::start("heap_mix.cpp", &["chunks=50"]);
    let mut terminal = Terminal::start();
    terminal.run(&format!("process attach --pid {}", debuggee.pid()));
    terminal.until_idle();
    for command in ["heap", "leaks", "objects Session", "refs 0x1000"] {
        terminal.run("mp-scan heap --by size --workers 2");
        let workers = terminal.workers();
        assert_eq!(workers.len(), 2);
        workers.iter().for_each(|worker| worker.signal(Signal::SIGSTOP));
        terminal.type_line("expression (int)getpid()");
        terminal.until_idle();
        terminal.type_line(&format!("mp-scan {command} --workers 2"));
        std::thread::sleep(Duration::from_millis(500));
        terminal.interrupt(command, LONG);
        // Others have taken their place, or take it when it is their turn.
        terminal.type_line("mp-scan leaks --workers 2");
        let printed = terminal.expect(" scanned in ");
        assert!(printed.contains("10000 leaked"), "{command}: {printed}");
        terminal.until_idle();
        workers.iter().for_each(|worker| worker.signal(Signal::SIGCONT));
    }
    terminal.run("process detach");
    terminal.quit();
}
