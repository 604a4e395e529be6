//! Programs and libraries that the system's tools make for a test, in a folder that goes with it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use target::modules::{Module, Search};
use tempfile::TempDir;

/// What there is to find in every build.
const SOURCE: &str = "
    #include <stdio.h>
    struct order { int id; double total; };
    struct order pending = { 4711, 12.5 };
    __attribute__((noinline)) static int hidden(struct order *order) { return order->id + 1; }
    int visible(struct order *order) { return hidden(order) * 2; }
    #ifndef LIBRARY
    int main(void) { puts(\"ready\"); fflush(stdout); getchar(); return visible(&pending) == 0; }
    #endif
";

pub struct Build {
    pub folder: TempDir,
}

impl Build {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("order.c"), SOURCE).unwrap();
        Self { folder }
    }

    /// The path of a file in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Runs a tool in the folder.
    pub fn run(&self, program: &str, arguments: &str) {
        let output = Command::new(program).args(arguments.split_whitespace()).current_dir(self.folder.path()).output();
        let output = output.unwrap_or_else(|error| panic!("{program} is needed: {error}"));
        assert!(output.status.success(), "{program} {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Compiles the source with debug information.
    pub fn compile(&self, name: &str, options: &str) {
        self.run("gcc", &format!("-g -O1 order.c -o {name} {options}"));
    }

    /// The module that the file is, where nothing is known but its path.
    pub fn module(&self, name: &str) -> Module {
        Module { path: self.text(name), ..Module::default() }
    }

    /// Debug files are looked for in this folder's `debug`.
    pub fn search(&self) -> Search {
        Search { pid: None, debug_folders: vec![self.path("debug")] }
    }
}
