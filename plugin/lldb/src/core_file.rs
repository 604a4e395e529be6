//! Which core file a process was read from, where LLDB does not say (before LLDB 19): it has mapped that file.

use crate::Process;
use object::{Object, ObjectKind, ObjectSegment};
use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};

/// How much of the end of each segment is compared. That of a stack has what tells two runs of a program apart: the
/// random bytes that the kernel gives to each, its environment.
const COMPARED: u64 = 8 << 10;

/// How many segments are compared, from the last one back. Stacks are among the last.
const SEGMENTS: usize = 256;

/// The one core file that this process has mapped and whose content is that of `process`; `None` if it is not certain.
pub fn mapped_here(process: &Process) -> Option<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    // The name is what follows the first five columns; it may have spaces in it.
    let names = maps.lines().filter_map(|line| line.find('/').map(|at| PathBuf::from(&line[at..])));
    let names: BTreeSet<PathBuf> = names.collect();
    let mut cores = names.into_iter().filter(|path| holds(path, process) == Some(true));
    let found = cores.next()?;
    cores.next().is_none().then_some(found)
}

/// Whether a file is a core file with the content of `process`; `None` if it is none, or has nothing to compare.
fn holds(path: &Path, process: &Process) -> Option<bool> {
    let cache = object::ReadCache::new(File::open(path).ok()?);
    let file = object::File::parse(&cache).ok().filter(|file| file.kind() == ObjectKind::Core)?;
    let segments: Vec<_> = file.segments().filter(|segment| segment.file_range().1 > 0).collect();
    let mut compared = false;
    for segment in segments.iter().rev().take(SEGMENTS) {
        let length = segment.file_range().1.min(COMPARED);
        let end = segment.address().checked_add(segment.file_range().1)?;
        let ours = segment.data_range(end - length, length).ok().flatten()?;
        let mut theirs = vec![0; ours.len()];
        let same = process.read_memory(end - length, &mut theirs) == Ok(theirs.len()) && ours == theirs;
        if !same {
            return Some(false);
        }
        compared = true;
    }
    compared.then_some(true)
}
