//! An `lldb` that sits at a prompt, in a terminal.

use crate::leftovers::Leftovers;
use crate::processes::{Process, until};
use crate::product::Product;
use crate::scratch;
use nix::pty::{Winsize, openpty};
use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

/// A terminal of 120 columns with an `lldb` in it that has loaded the plugin.
#[derive(Debug)]
pub struct Terminal {
    lldb: Child,
    keyboard: File,
    /// Everything that was printed, as it came.
    printed: Arc<Mutex<Vec<u8>>>,
    /// How much of it [`expect`](Self::expect) has seen.
    seen: usize,
    /// How many lines were typed to see whether it is idle.
    lines: u32,
    leftovers: Leftovers,
    _folder: tempfile::TempDir,
}

impl Terminal {
    pub fn start() -> Self {
        let leftovers = Leftovers::before();
        let folder = scratch();
        let size = Winsize { ws_row: 40, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 };
        let pair = openpty(Some(&size), None).expect("a terminal can be had");
        let slave = || File::from(pair.slave.try_clone().expect("a descriptor can be copied"));
        // `setsid --ctty` makes it lldb's controlling terminal, so that Ctrl-C in it is a signal.
        let lldb = Command::new("setsid")
            .args(["--ctty", "lldb-22", "--no-lldbinit", "--no-use-colors"])
            .args(["-o", "settings set show-statusline false", "-o", "settings set show-autosuggestion false"])
            .arg("-o")
            .arg(Product::built().load())
            .env("XDG_CONFIG_HOME", folder.path())
            .env("TMPDIR", folder.path())
            .env("TERM", "xterm")
            .current_dir(folder.path())
            .stdin(slave())
            .stdout(slave())
            .stderr(slave())
            .spawn()
            .expect("setsid and lldb-22 are installed");
        let printed = Arc::new(Mutex::new(Vec::new()));
        let mut screen = File::from(pair.master.try_clone().expect("a descriptor can be copied"));
        let sink = Arc::clone(&printed);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // The terminal's end is an error, not an end of file.
            while let Ok(count @ 1..) = screen.read(&mut buffer) {
                sink.lock().expect("no test panics with the lock").extend_from_slice(&buffer[..count]);
            }
        });
        let keyboard = File::from(pair.master);
        let mut terminal = Self { lldb, keyboard, printed, seen: 0, lines: 0, leftovers, _folder: folder };
        terminal.expect("plugin load");
        terminal.expect("(lldb) ");
        terminal
    }

    /// Types a line, with Enter.
    pub fn type_line(&mut self, line: &str) {
        writeln!(self.keyboard, "{line}").expect("the terminal is there");
    }

    /// Types a key, such as `\x03` for Ctrl-C.
    pub fn type_key(&mut self, key: char) {
        write!(self.keyboard, "{key}").expect("the terminal is there");
    }

    /// Presses Ctrl-C, for which the prompt has to be back within `limit`. Returns what is printed before it says that it was
    /// interrupted.
    #[track_caller]
    pub fn interrupt(&mut self, what: &str, limit: Duration) -> String {
        let pressed = Instant::now();
        self.type_key('\x03');
        let printed = self.expect("interrupted");
        self.expect("(lldb) ");
        let waited = pressed.elapsed();
        eprintln!("{what}: the prompt is back {waited:.3?} after Ctrl-C");
        assert!(waited < limit, "{what}: {waited:?}");
        printed
    }

    /// Waits until `text` is printed after all that was waited for before, and returns what came before it.
    #[track_caller]
    pub fn expect(&mut self, text: &str) -> String {
        let (printed, seen) = (Arc::clone(&self.printed), self.seen);
        let what = format!("'{text}' on the terminal");
        let deadline = std::time::Instant::now() + PATIENCE;
        let (before, after) = until(&what, PATIENCE + Duration::from_secs(1), || {
            let printed = printed.lock().expect("no test panics with the lock");
            let new = &printed[seen..];
            let found = new.windows(text.len()).position(|window| window == text.as_bytes());
            assert!(
                found.is_some() || std::time::Instant::now() < deadline,
                "{what}, but there is only: {}",
                String::from_utf8_lossy(new)
            );
            found.map(|at| (String::from_utf8_lossy(&new[..at]).into_owned(), seen + at + text.len()))
        });
        self.seen = after;
        before
    }

    /// Whether `text` is printed within `patience`, after all that was waited for before.
    pub fn shows(&mut self, text: &str, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        loop {
            let printed = self.printed.lock().expect("no test panics with the lock");
            let found = printed[self.seen..].windows(text.len()).position(|window| window == text.as_bytes());
            drop(printed);
            if let Some(at) = found {
                self.seen += at + text.len();
                return true;
            }
            if Instant::now() > deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Presses Ctrl-C, and says how long it took until the prompt was there. `None` if none came: a key that comes just as a command
    /// is read or has ended is the prompt's, which shows nothing then until something is typed.
    pub fn press(&mut self, limit: Duration) -> Option<Duration> {
        let pressed = Instant::now();
        self.type_key('\x03');
        self.shows("(lldb) ", limit).then(|| pressed.elapsed())
    }

    /// Types a line behind whatever is there, and waits until LLDB has read it and is at its prompt. It forgets a line that is typed
    /// just as it takes Ctrl-C.
    #[track_caller]
    pub fn until_idle(&mut self) {
        for _ in 0..10 {
            self.lines += 1;
            // What is typed is on the screen as well, so it is not what is printed.
            self.type_line(&format!("script print('idle', {} + 1000)", self.lines));
            if self.shows(&format!("idle {}", self.lines + 1000), Duration::from_secs(6)) {
                self.expect("(lldb) ");
                return;
            }
        }
        panic!("LLDB reads no line any more");
    }

    /// Runs a command and returns what was printed until the next prompt, control sequences included.
    #[track_caller]
    pub fn run(&mut self, line: &str) -> String {
        self.type_line(line);
        // The line is echoed as it is typed.
        self.expect("\n");
        self.expect("(lldb) ")
    }

    /// The workers that lldb has now.
    pub fn workers(&mut self) -> Vec<Process> {
        let workers = Process::children(self.lldb.id() as i32, "mp-worker");
        self.leftovers.expect_end_of(workers.iter().copied());
        workers
    }

    pub fn host(&self) -> Process {
        Process::of(self.lldb.id() as i32).expect("lldb runs")
    }

    /// Types `quit` and waits for the end.
    #[track_caller]
    pub fn quit(mut self) {
        self.workers();
        self.type_line("quit");
        until("the end of lldb", PATIENCE, || self.lldb.try_wait().expect("it is our child"));
        self.leftovers.check();
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.lldb.kill();
        let _ = self.lldb.wait();
    }
}
