//! Programs that compilers make of the fixtures for a test, in a folder that goes with it.

use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

pub struct Build {
    folder: TempDir,
}

impl Build {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Compiles fixtures, whose names stand between spaces, in the folder, so that what it leaves beside the program is there.
    pub fn compile(&self, compiler: &str, sources: &str, output: &str, options: &str) -> PathBuf {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures");
        let paths = sources.split_whitespace().map(|source| fixtures.join(source).display().to_string());
        self.run(compiler, &format!("{} -o {output} {options}", paths.collect::<Vec<_>>().join(" ")));
        self.path(output)
    }

    /// Runs a tool in the folder.
    pub fn run(&self, program: &str, arguments: &str) {
        let output = Command::new(program).args(arguments.split_whitespace()).current_dir(self.folder.path()).output();
        let output = output.unwrap_or_else(|error| panic!("{program} is needed: {error}"));
        assert!(output.status.success(), "{program} {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
