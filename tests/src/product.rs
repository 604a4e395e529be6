//! The plugin and its worker, as a user has them.

use crate::{root, target_folder};
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// The two files that a user installs.
#[derive(Clone, Debug)]
pub struct Product {
    pub plugin: PathBuf,
    pub worker: PathBuf,
}

impl Product {
    /// The build under test: the one in the folder `MP_SCAN_TEST_BUILD`, or else a release build, which is made here.
    pub fn built() -> &'static Self {
        static BUILT: OnceLock<Product> = OnceLock::new();
        BUILT.get_or_init(|| {
            let folder = std::env::var_os("MP_SCAN_TEST_BUILD").map_or_else(build, PathBuf::from);
            let product = Self { plugin: folder.join("libmp_scan.so"), worker: folder.join("mp-worker") };
            for file in [&product.plugin, &product.worker] {
                assert!(file.is_file(), "{} is missing", file.display());
            }
            product
        })
    }

    /// The LLDB command that loads the plugin.
    pub fn load(&self) -> String {
        format!("plugin load {}", self.plugin.display())
    }
}

fn build() -> PathBuf {
    let status = Command::new(env!("CARGO")).args(["build", "--release", "--quiet"]).current_dir(root()).status();
    assert!(status.expect("cargo runs").success(), "cargo build --release failed");
    target_folder().join("release")
}
