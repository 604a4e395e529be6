//! The files of a target's modules: which there are ([`survey`]), as data that is sent to workers ([`FileSet`]), and open
//! ([`Files`]).
//!
//! A survey reads the headers of a module's file and finds what belongs to it: its debug file, the file of what several debug
//! files share, its package of split debug information. Files are foreign bytes: what is wrong with one is a line of
//! [`Surveyed::problems`], or a [`FileError`] once it is read.

mod companions;
mod data;
mod elf;
mod files;
mod inflate;
mod loaded;
mod relocate;
mod set;
mod survey;
mod surveyed;

pub use data::{Data, Pieces};
pub(crate) use elf::build_id_in;
pub use files::{FileError, Files};
pub use inflate::{InflatedSections, inflate};
pub use loaded::{loaded_build_id, loaded_head};
pub use set::FileSet;
pub(crate) use survey::hex;
pub use survey::survey;
pub use surveyed::{Compression, Content, FileRef, Format, Identity, Machine, Role, Section, Surveyed};

use memmap2::Mmap;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

/// A module of a target, as the debugger knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Module {
    /// Its file, as the target names it.
    pub path: String,
    /// Where its file's first byte is loaded; `None` if it is not.
    pub base: Option<u64>,
    /// The build id of what is loaded, as far as it is known ([`loaded_build_id`] reads it from memory; a debugger may only know
    /// the file's); empty if it is not. Where a file has none, debuggers make one up of 4 bytes.
    pub build_id: Vec<u8>,
    /// What is loaded of the beginning of its file, where no build id tells which file that is and the kernel is not to be asked
    /// ([`loaded_head`] reads it); empty if it is not known.
    #[serde(with = "serde_bytes")]
    pub head: Vec<u8>,
    /// Its bytes, if it has no file: the kernel's vdso.
    #[serde(with = "serde_bytes")]
    pub image: Option<Vec<u8>>,
}

/// Where files are looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Search {
    /// The process on this machine whose modules they are. It may see other files than we do.
    pub pid: Option<u64>,
    /// Folders of debug files. `/usr/lib/debug` is always looked in, after these.
    pub debug_folders: Vec<PathBuf>,
}

/// Opens the file that a target knows as `path`: as process `pid` sees it, in its own root folder, or as we do.
///
/// # Errors
/// If there is no such file here, or it may not be read.
pub fn open(path: &str, pid: Option<u64>) -> io::Result<File> {
    let irregular = || io::Error::other("not a regular file");
    let open = |path: &str| {
        // Opening a device or a pipe may do something, so what it is comes first; a pipe that takes its place meanwhile is not
        // waited for.
        if !fs::metadata(path)?.is_file() {
            return Err(irregular());
        }
        OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)
    };
    let own = pid.map(|pid| open(&format!("/proc/{pid}/root{path}")));
    let file = own.and_then(Result::ok).map_or_else(|| open(path), Ok)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(irregular()) }
}

/// Maps a whole file. A process that maps a file which is truncated later is killed when it reads beyond the new end: this is for
/// workers.
///
/// # Errors
/// If it cannot be mapped.
pub fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: the mapping is read-only. Its bytes may change under us, so nothing is assumed of them; that a shorter file is a
    // signal, the caller has been told.
    unsafe { Mmap::map(file) }
}
