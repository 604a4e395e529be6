//! What the tests of promises have run in other processes. Both the worker and the tests have this file.

use crate::IDENTITY;
use multiprocessing::codec::Descriptor;
use multiprocessing::{Process, Program, SharedMemory};
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

multiprocessing::function! {
    /// Looks into a segment, changes it, and ends.
    pub fn visit(memory: SharedMemory) -> Result<(), String> {
        let mut found = [0];
        memory.read(0, &mut found).map_err(|error| error.to_string())?;
        memory.write(0, &[found[0] + 1]).map_err(|error| error.to_string())
    }
}

multiprocessing::function! {
    /// Has a segment that it was given and one of its own, says so, and stays; another process of `program` does so as well.
    pub fn keep(memory: SharedMemory, to: Descriptor, program: Option<PathBuf>) -> Result<(), String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let own = SharedMemory::new(1 << 20).map_err(|error| text(&error))?;
        own.write(0, &[1]).map_err(|error| text(&error))?;
        let to = to.into_inner();
        let mut said = File::from(to.try_clone().map_err(|error| text(&error))?);
        let argument = (memory, Descriptor::from(to), None);
        let _other = match program {
            Some(path) => {
                let builder = Process::builder(&Program::new(path, IDENTITY)).daemon(true);
                Some(builder.start(keep, &argument).map_err(|error| text(&error))?)
            }
            None => None,
        };
        said.write_all(b".").map_err(|error| text(&error))?;
        std::thread::sleep(Duration::from_secs(60));
        drop(argument);
        Ok(())
    }
}

multiprocessing::function! {
    /// Does not hear SIGTERM, and says so.
    pub fn deaf(to: Descriptor) -> () {
        // SAFETY: to ignore a signal takes no code that could be unsafe.
        unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
        File::from(to.into_inner()).write_all(b".").expect("somebody reads it");
        std::thread::sleep(Duration::from_secs(60));
    }
}
