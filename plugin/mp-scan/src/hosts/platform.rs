//! Workers on the machine of the lldb-server that the debugger is connected to.

use super::Host;
use anyhow::{Result, bail};
use lldb::Debugger;
use multiprocessing::{Launcher, WorkerStatus};
use std::sync::Arc;

#[derive(Debug)]
pub struct PlatformSeats {}

impl PlatformSeats {
    pub fn ready(_: &mut Option<Self>, _: &Host, _: &Debugger, _: &[WorkerStatus]) -> Result<Arc<dyn Launcher>> {
        bail!("workers are not started by an lldb-server yet: use a command, such as ssh")
    }
}
