//! The files of a target's modules.

use memmap2::Mmap;
use std::fs::File;
use std::io;

/// Opens the file that a target knows as `path`: as process `pid` sees it, in its own root folder, or as we do.
///
/// # Errors
/// If there is no such file here, or it may not be read.
pub fn open(path: &str, pid: Option<u64>) -> io::Result<File> {
    let own = pid.map(|pid| File::open(format!("/proc/{pid}/root{path}")));
    let file = own.and_then(Result::ok).map_or_else(|| File::open(path), Ok)?;
    // A device or a pipe that has taken the module's name is not to be read.
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

/// Maps a whole file. A process that maps a file which is truncated later is killed when it reads beyond the new end: this is for
/// workers.
///
/// # Errors
/// If it cannot be mapped.
pub fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: the mapping is private and read-only. Its bytes may change under us, so nothing is assumed of them; that a
    // shorter file is a signal, the caller has been told.
    unsafe { Mmap::map(file) }
}
