//! An `lldb` that runs some commands and ends.

use crate::leftovers::Leftovers;
use crate::processes::until;
use crate::product::Product;
use crate::scratch;
use std::fs::File;
use std::process::{Command, Stdio};
use std::time::Duration;

/// What it printed, and whether it ended well.
#[derive(Clone, Debug)]
pub struct Transcript {
    pub success: bool,
    pub stdout: String,
    pub stderr: String,
}

/// An `lldb --batch` that is yet to be run; by default, the plugin is loaded first.
#[derive(Debug)]
pub struct Batch {
    command: Command,
    folder: tempfile::TempDir,
}

impl Default for Batch {
    fn default() -> Self {
        Self::without_plugin().commands([Product::built().load()])
    }
}

impl Batch {
    pub fn without_plugin() -> Self {
        let folder = scratch();
        let mut command = Command::new("lldb-22");
        command.args(["--no-lldbinit", "--batch", "--no-use-colors"]);
        command.env("XDG_CONFIG_HOME", folder.path()).env("TMPDIR", folder.path());
        Self { command, folder }
    }

    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Adds commands to run.
    pub fn commands<S: AsRef<str>>(mut self, lines: impl IntoIterator<Item = S>) -> Self {
        for line in lines {
            self.command.arg("-o").arg(line.as_ref());
        }
        self
    }

    /// Runs it to its end.
    #[track_caller]
    pub fn run(mut self) -> Transcript {
        let leftovers = Leftovers::before();
        let [stdout, stderr] = ["stdout", "stderr"].map(|name| self.folder.path().join(name));
        let create = |path| File::create(path).expect("a new file can be made");
        let mut child = self
            .command
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(create(&stdout))
            .stderr(create(&stderr))
            .spawn()
            .expect("lldb-22 is installed");
        let status = until("the end of lldb", Duration::from_secs(120), || child.try_wait().expect("it is our child"));
        leftovers.check();
        let text = |path| String::from_utf8_lossy(&std::fs::read(path).expect("the file is there")).into_owned();
        Transcript { success: status.success(), stdout: text(stdout), stderr: text(stderr) }
    }
}
