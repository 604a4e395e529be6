//! The programs that the plugin is loaded into: the LLDB that is installed, and those that `scripts/hosts` gets.

use crate::{root, target_folder};
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// The program of a host, by its name in `hosts/bin`, or of the LLDB that is installed.
///
/// `None` only where `MP_SCAN_HOSTS` is `none`, which is for machines that cannot get the others.
///
/// # Panics
/// If it is missing and that is not said.
#[track_caller]
pub fn host(name: &str) -> Option<Command> {
    let installed = PathBuf::from("/usr/bin").join(name);
    let fetched = root().join("hosts/bin").join(name);
    if name.ends_with("-22") && installed.is_file() {
        return Some(Command::new(installed));
    }
    if fetched.is_file() {
        let mut command = Command::new(fetched);
        if name == "lldb-23" {
            // It may wait for itself for ever when several of its threads read symbols.
            command.args(["-O", "settings set target.parallel-module-load false"]);
        }
        return Some(command);
    }
    if std::env::var_os("MP_SCAN_HOSTS").is_some_and(|value| value == "none") {
        eprintln!("{name} is left out, as MP_SCAN_HOSTS=none says");
        return None;
    }
    panic!("{} is missing: run scripts/hosts, or leave such hosts out with MP_SCAN_HOSTS=none", fetched.display());
}

/// The plugin that shows what the wrappers of the `lldb` crate say (`plugin/lldb/examples/probe.rs`), built once.
pub fn probe() -> &'static PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let arguments = ["build", "--release", "--quiet", "--package", "lldb", "--example", "probe"];
        let status = Command::new(env!("CARGO")).args(arguments).current_dir(root()).status();
        assert!(status.expect("cargo runs").success(), "the probe does not build");
        target_folder().join("release/examples/libprobe.so")
    })
}
