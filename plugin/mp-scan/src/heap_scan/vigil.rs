//! Notices that a process does not stand still any more.

use crate::course::Moment;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;
use target::live;

/// The process is looked at as often as this.
const INTERVAL: Duration = Duration::from_millis(250);

/// Watches over a process that the debugger holds, on a thread of its own: LLDB tells a plugin nothing while no command of its runs.
#[derive(Debug)]
pub struct Vigil {
    /// Dropped to end it.
    awake: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Vigil {
    /// Calls `over` once the process runs or is gone. `None` for what cannot be watched: a core file does not change, and nothing but the
    /// debugger knows of what it reads.
    pub fn new(moment: &Moment, over: impl FnOnce() + Send + 'static) -> Option<Self> {
        let Moment::Stop { pid, start_time: Some(start_time), .. } = *moment else { return None };
        let pid = u32::try_from(pid).ok()?;
        let (awake, ended) = mpsc::channel();
        let watch = move || {
            loop {
                match ended.recv_timeout(INTERVAL) {
                    Err(RecvTimeoutError::Timeout) if live::is_held(pid, start_time) => {}
                    Err(RecvTimeoutError::Timeout) => return over(),
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        };
        // Without a thread what is kept goes with the next command that looks at a heap.
        let thread = std::thread::Builder::new().name("mp-scan vigil".to_owned()).spawn(watch).ok()?;
        Some(Self { awake: Some(awake), thread: Some(thread) })
    }
}

impl Drop for Vigil {
    fn drop(&mut self) {
        drop(self.awake.take());
        if let Some(thread) = self.thread.take() {
            // It does nothing that panics.
            let _ = thread.join();
        }
    }
}
