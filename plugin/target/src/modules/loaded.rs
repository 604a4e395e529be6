//! What is loaded of a module, whatever has become of its file.

use super::elf;
use crate::{ReadMemory, maps};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

/// A module's first bytes in memory that are looked at: its headers lie there, and, as a rule, its build id.
const HEAD: usize = 4096;

/// No build ids of files that are this short, or shorter, are known: they are checksums that debuggers make up for files without.
const MADE_UP: usize = 8;

/// The build id of the module that is loaded at `base`, read from memory; empty if it has none there. Its file may have
/// another by now.
pub fn loaded_build_id(memory: &dyn ReadMemory, base: u64) -> Vec<u8> {
    let mut head = vec![0; HEAD];
    let length = memory.read(base, &mut head).unwrap_or_default();
    elf::parse(&head[..length.min(HEAD)], 0).map(|elf| elf.build_id).unwrap_or_default()
}

/// Whether a file with this build id is what is loaded, as far as that is known.
pub(super) fn is_loaded(file: &[u8], loaded: &[u8]) -> bool {
    if file.is_empty() {
        return loaded.len() <= MADE_UP;
    }
    // Some debuggers cut long ones.
    loaded.is_empty() || file == loaded || (loaded.len() > MADE_UP && file.starts_with(loaded))
}

/// Whether a process has another root folder than we do, or other file systems mounted.
pub(super) fn sees_other_files(pid: u64) -> bool {
    let same = |of: &str| {
        let identity = |path: String| fs::metadata(path).ok().map(|data| (data.dev(), data.ino()));
        let theirs = identity(format!("/proc/{pid}/{of}"));
        theirs.is_some() && theirs == identity(format!("/proc/self/{of}"))
    };
    !(same("ns/mnt") && same("root"))
}

/// Where the kernel still shows the file of a process's module which is loaded at `base`, though it has been deleted or replaced.
/// It shows it to the superuser, and the program's to its owner.
pub(super) fn paths(pid: u64, path: &str, base: Option<u64>) -> Vec<String> {
    let mut paths = Vec::new();
    let program = fs::read_link(format!("/proc/{pid}/exe")).ok();
    let program = program.as_ref().map(|program| program.as_os_str().as_bytes());
    let same = |name: &[u8]| name.strip_suffix(b" (deleted)").unwrap_or(name) == path.as_bytes();
    if program.is_some_and(same) {
        paths.push(format!("/proc/{pid}/exe"));
    }
    let text = fs::read(format!("/proc/{pid}/maps")).unwrap_or_default();
    let mappings = maps::parse(&text).unwrap_or_default();
    let first = mappings.iter().find(|mapping| base.is_some_and(|base| mapping.range.contains(base)));
    if let Some(mapping) = first.filter(|mapping| same(&mapping.name)) {
        paths.push(format!("/proc/{pid}/map_files/{:x}-{:x}", mapping.range.start, mapping.range.end));
    }
    paths
}
