//! A logger that keeps what it is given.

use log::{Level, LevelFilter, Log, Metadata, Record};
use std::sync::{Condvar, Mutex};

struct Keep;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub level: Level,
    pub target: String,
    pub message: String,
    pub file: Option<String>,
    pub line: Option<u32>,
}

impl Kept {
    /// For how many records this one stands: more than one if it tells how many were lost.
    pub fn stands_for(&self) -> u64 {
        let text = self.message.rsplit_once("] ").map_or(&*self.message, |(_, text)| text);
        let lost = text.strip_suffix(" records of the log found no room and are lost");
        lost.and_then(|count| count.parse().ok()).unwrap_or(1)
    }
}

static KEPT: Mutex<Vec<Kept>> = Mutex::new(Vec::new());
/// Whether the logger stands still.
static STANDS: Mutex<bool> = Mutex::new(false);
static CHANGED: Condvar = Condvar::new();

impl Log for Keep {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        drop(CHANGED.wait_while(STANDS.lock().expect("no panic"), |stands| *stands).expect("no panic"));
        KEPT.lock().expect("no panic").push(Kept {
            level: record.level(),
            target: record.target().into(),
            message: record.args().to_string(),
            file: record.file().map(str::to_owned),
            line: record.line(),
        });
    }

    fn flush(&self) {}
}

/// Records of this level and above are wanted as long as this lives.
pub struct Wanted;

impl Wanted {
    pub fn new(level: LevelFilter) -> Wanted {
        // Another test of this binary may have set it.
        let _ = log::set_logger(&Keep);
        log::set_max_level(level);
        clear();
        Wanted
    }
}

impl Drop for Wanted {
    fn drop(&mut self) {
        log::set_max_level(LevelFilter::Off);
    }
}

/// The logger stands still as long as this lives.
pub struct Still;

impl Still {
    pub fn new() -> Still {
        *STANDS.lock().expect("no panic") = true;
        Still
    }
}

impl Drop for Still {
    fn drop(&mut self) {
        *STANDS.lock().expect("no panic") = false;
        CHANGED.notify_all();
    }
}

pub fn clear() {
    KEPT.lock().expect("no panic").clear();
}

pub fn kept() -> Vec<Kept> {
    KEPT.lock().expect("no panic").clone()
}
