//! Ctrl-C in the commands that look at the heap: at a terminal, and whenever it is pressed.

use nix::sys::signal::Signal;
use std::time::{Duration, Instant};
use tests::{Debuggee, Terminal};

/// A prompt that takes longer to come back has been waited for, whatever else the machine does.
const LONG: Duration = Duration::from_secs(10);

/// Ctrl-C is pressed at so many points of a command.
const POINTS: u32 = 8;

/// A key that comes just after the end of a command is a matter of the prompt's: LLDB forgets the line that is typed then.
const SETTLING: Duration = Duration::from_millis(300);

/// Types a line behind whatever is there, and waits until LLDB has read it and is at its prompt.
fn until_idle(terminal: &mut Terminal, number: &mut u32) {
    *number += 1;
    // What is typed is on the screen as well, so it is not what is printed.
    terminal.type_line(&format!("script print('idle', {number} + 1000)"));
    terminal.expect(&format!("idle {}", *number + 1000));
    terminal.expect("(lldb) ");
}

#[test]
fn ctrl_c_gives_the_prompt_back_whenever_it_is_pressed() {
    let debuggee = Debuggee::start("heap_mix.cpp", &["chunks=400"]);
    let held = debuggee.truth.labelled("leak", |label| label.starts_with("held"))[0];
    let mut terminal = Terminal::start();
    terminal.run("settings set target.preload-symbols false");
    terminal.run(&format!("process attach --pid {}", debuggee.pid()));
    let mut number = 0;
    until_idle(&mut terminal, &mut number);
    for line in [
        "mp-scan leaks",
        "mp-scan heap --retained",
        "mp-scan objects ^Listener$ --limit 10",
        "mp-scan heap --check",
        &format!("mp-scan refs {held:#x} --to-roots"),
    ] {
        // What is known of the heap is known until the process runs, so that each is made to run.
        let run = |terminal: &mut Terminal, number: &mut u32| {
            terminal.type_line("expression (int)getpid()");
            until_idle(terminal, number);
        };
        run(&mut terminal, &mut number);
        let started = Instant::now();
        terminal.type_line(line);
        until_idle(&mut terminal, &mut number);
        let whole = started.elapsed();
        let mut longest = Duration::ZERO;
        for point in 0..POINTS {
            run(&mut terminal, &mut number);
            terminal.type_line(line);
            std::thread::sleep(whole * point / POINTS);
            let pressed = Instant::now();
            terminal.type_key('\x03');
            terminal.expect("(lldb) ");
            longest = longest.max(pressed.elapsed());
            std::thread::sleep(SETTLING);
            until_idle(&mut terminal, &mut number);
        }
        eprintln!("{line}: {whole:.3?} in all, and the prompt is back {longest:.3?} after Ctrl-C at the latest");
        assert!(longest < LONG, "{line}: {longest:?}");
        // The next one is whole, with all that there is.
        terminal.type_line("mp-scan leaks");
        let printed = terminal.expect(" scanned in ");
        assert!(printed.contains("10000 leaked"), "{line}: {printed}");
        until_idle(&mut terminal, &mut number);
    }
    terminal.run("process detach");
    terminal.quit();
}

#[test]
fn ctrl_c_gives_the_prompt_back_while_no_worker_answers() {
    let debuggee = Debuggee::start("heap_mix.cpp", &["chunks=50"]);
    let mut terminal = Terminal::start();
    terminal.run(&format!("process attach --pid {}", debuggee.pid()));
    let mut number = 0;
    until_idle(&mut terminal, &mut number);
    for command in ["heap", "leaks", "objects Session", "refs 0x1000"] {
        terminal.run("mp-scan heap --by size --workers 2");
        let workers = terminal.workers();
        assert_eq!(workers.len(), 2);
        workers.iter().for_each(|worker| worker.signal(Signal::SIGSTOP));
        terminal.type_line("expression (int)getpid()");
        until_idle(&mut terminal, &mut number);
        terminal.type_line(&format!("mp-scan {command} --workers 2"));
        std::thread::sleep(Duration::from_millis(500));
        terminal.interrupt(command, LONG);
        // Others have taken their place, or take it when it is their turn.
        terminal.type_line("mp-scan leaks --workers 2");
        let printed = terminal.expect(" scanned in ");
        assert!(printed.contains("10000 leaked"), "{command}: {printed}");
        until_idle(&mut terminal, &mut number);
        workers.iter().for_each(|worker| worker.signal(Signal::SIGCONT));
    }
    terminal.run("process detach");
    terminal.quit();
}
