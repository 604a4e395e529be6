//! What is loaded of a module, whatever has become of its file.

use super::data::Data;
use super::elf;
use crate::{AddressRange, ReadMemory, maps};
use object::ReadRef;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;

/// A module's first bytes in memory that are looked at: its headers lie there, and, as a rule, its build id.
const HEAD: usize = 4096;

/// No build ids of files that are this short, or shorter, are known: they are checksums that debuggers make up for files without.
pub(super) const MADE_UP: usize = 8;

/// The build id of the module that is loaded at `base`, read from memory; empty if it has none there. Its file may have
/// another by now.
pub fn loaded_build_id(memory: &dyn ReadMemory, base: u64) -> Vec<u8> {
    let mut head = vec![0; HEAD];
    let length = memory.read(base, &mut head).unwrap_or_default();
    elf::build_id_in(&head[..length.min(HEAD)]).unwrap_or_default()
}

/// The first bytes of the module that is loaded at `base`, at most a page of them, if they are an ELF file's without a build id: where
/// it is not written to, memory has what the file had. What is past the first piece that memory has is left out.
pub fn loaded_head(memory: &dyn ReadMemory, base: u64) -> Vec<u8> {
    let mut head = vec![0; HEAD];
    let length = memory.read(base, &mut head).unwrap_or_default();
    head.truncate(length);
    if !head.starts_with(b"\x7fELF") || elf::build_id_in(&head).is_some_and(|id| !id.is_empty()) {
        head.clear();
    }
    head
}

/// Whether a file may be what is loaded, as far as the beginning of that tells.
pub(super) fn begins_as_loaded(file: Data<'_>, loaded: &[u8]) -> bool {
    let Some(loaded) = elf::constant_beginning(loaded) else { return true };
    let length = loaded.len() as u64;
    file.read_bytes_at(0, length).is_ok_and(|bytes| elf::constant_beginning(bytes).as_ref() == Some(&loaded))
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
    type View = [Option<(u64, u64)>; 2];
    static OURS: OnceLock<View> = OnceLock::new();
    let view = |process: &str| {
        ["ns/mnt", "root"].map(|of| {
            let data = fs::metadata(format!("/proc/{process}/{of}")).ok()?;
            Some((data.dev(), data.ino()))
        })
    };
    let theirs = view(&pid.to_string());
    theirs.contains(&None) || theirs != *OURS.get_or_init(|| view("self"))
}

/// Where the kernel still shows the file of a process's module which is loaded at `base`, though it has been deleted or replaced.
/// It shows it to the superuser, and the program's to its owner.
pub(super) fn paths(pid: u64, path: &str, base: Option<u64>) -> Vec<String> {
    let mut paths = Vec::new();
    let program = fs::read_link(format!("/proc/{pid}/exe")).ok();
    if program.is_some_and(|program| is_called(program.as_os_str().as_bytes(), path)) {
        paths.push(format!("/proc/{pid}/exe"));
    }
    paths.extend(
        base.and_then(|base| mapping(pid, base))
            .filter(|mapping| is_called(&mapping.name, path))
            .map(|Mapped { range, .. }| format!("/proc/{pid}/map_files/{:x}-{:x}", range.start, range.end)),
    );
    paths
}

/// Whether the module's file that is loaded at `base` has been deleted, or moved away by another that has taken its place.
pub(super) fn is_deleted(pid: u64, base: u64) -> bool {
    mapping(pid, base).is_some_and(|mapping| mapping.name.ends_with(DELETED))
}

const DELETED: &[u8] = b" (deleted)";

fn is_called(name: &[u8], path: &str) -> bool {
    name.strip_suffix(DELETED).unwrap_or(name) == path.as_bytes()
}

struct Mapped {
    range: AddressRange,
    name: Vec<u8>,
}

/// The mapping of a process that an address is in.
fn mapping(pid: u64, address: u64) -> Option<Mapped> {
    let text = fs::read(format!("/proc/{pid}/maps")).ok()?;
    let mapping = maps::parse(&text).ok()?.into_iter().find(|mapping| mapping.range.contains(address))?;
    Some(Mapped { range: mapping.range, name: mapping.name.into_owned() })
}
