//! A thread that runs stages.

use super::Control;
use analysis::Stop;
use anyhow::{Context as _, Result};
use std::sync::Arc;
use std::thread::JoinHandle;

/// A thread of its own, which is told to stop and waited for when this is dropped: the code that it runs may be unloaded after.
#[derive(Debug)]
pub struct Aside {
    control: Arc<Control>,
    thread: Option<JoinHandle<()>>,
}

impl Aside {
    /// Starts it; `control` is that of the stages that it runs.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start(name: &str, control: Arc<Control>, run: impl FnOnce() + Send + 'static) -> Result<Self> {
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(run);
        Ok(Self { control, thread: Some(thread.context("cannot start a thread")?) })
    }
}

impl Aside {
    /// Tells it to stop, without waiting for that.
    pub fn stop(&self) {
        self.control.stop(Stop::Cancelled);
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            // What it panics of is caught in it, or what it would have said is missed by who waits for that.
            let _ = thread.join();
        }
    }
}
