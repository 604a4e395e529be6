//! Gives this build an identity, so that the plugin and a worker of another build can tell: a hash over all sources that
//! what they say to each other depends on.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

fn main() {
    let plugin = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate lies beside the others");
    let mut hasher = DefaultHasher::new();
    for name in ["analysis", "multiprocessing", "target"] {
        let folder = plugin.join(name).join("src");
        println!("cargo:rerun-if-changed={}", folder.display());
        for file in sources(&folder) {
            file.strip_prefix(plugin).unwrap_or(&file).hash(&mut hasher);
            fs::read(&file).unwrap_or_default().hash(&mut hasher);
        }
    }
    println!("cargo:rustc-env=MP_SCAN_BUILD={}-{:016x}", env!("CARGO_PKG_VERSION"), hasher.finish());
}

/// All files below `folder`, in the order of their paths.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else {
            files.push(path);
        }
    }
    files.sort();
    files
}
