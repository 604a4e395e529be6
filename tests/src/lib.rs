//! What the end-to-end tests share: real debuggers with the plugin in them, debuggees that say what is in their memory,
//! core files, and a look at what is left when a test has ended.
//!
//! - [`Product`]: the plugin and its worker, built once
//! - [`Debuggee`], [`Truth`]: a program of `fixtures/`, and what it says a scan must find
//! - [`Session`]: a debugger that lives in a Python host; commands in, text or JSON out
//! - [`Batch`]: an `lldb` that runs some commands and ends; [`Terminal`]: one that sits at a prompt
//! - [`host`], [`Dap`]: other debuggers, and those in editors
//! - [`Sshd`], [`PlatformServer`]: another machine, as far as ssh or LLDB know
//! - [`CoreFile`]: a core file made by hand
//! - [`report`]: what is in a JSON report; [`heap`]: the heap that a debuggee says it has, against one
//! - [`Leftovers`]: nothing of ours stays behind

pub mod backtrace;
mod batch;
mod core_file;
mod dap;
mod fixture;
pub mod heap;
mod hosts;
mod leftovers;
mod platform;
mod processes;
mod product;
mod redact;
pub mod report;
mod session;
mod sshd;
mod terminal;

pub use batch::{Batch, Transcript};
pub use core_file::{CoreFile, Segment, leave_out};
pub use dap::Dap;
pub use fixture::{Debuggee, Truth, compile, gcore, needle};
pub use hosts::{host, probe};
pub use leftovers::Leftovers;
pub use platform::PlatformServer;
pub use processes::{Process, until};
pub use product::Product;
pub use redact::check;
pub use session::{Answer, Pending, Session};
pub use sshd::Sshd;
pub use terminal::Terminal;

use std::path::{Path, PathBuf};

/// The folder of the project.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the project's folder")
}

/// Where Cargo builds to.
pub fn target_folder() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// A folder for the files of one test, which is removed with its value.
pub fn scratch() -> tempfile::TempDir {
    let folder = target_folder().join("scratch");
    std::fs::create_dir_all(&folder).expect("the target folder can be written to");
    tempfile::Builder::new().prefix("test-").tempdir_in(folder).expect("the target folder can be written to")
}
