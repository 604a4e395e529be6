//! A copy of a target's memory, which serves until the process runs.

use super::Reading;
use anyhow::{Context as _, Result};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use target::copied::{Copied, release};
use target::core::Core;
use target::{Access, Source};

/// What has been copied of a target's memory.
pub struct Copy {
    /// What is where in the file.
    core: Core,
    file: OwnedFd,
    /// Bytes that are copied.
    pub bytes: u64,
    /// Bytes for which there was no room.
    pub left: u64,
}

impl Copy {
    pub fn new(core: Core, file: OwnedFd, bytes: u64, left: u64) -> Self {
        Self { core, file, bytes, left }
    }

    /// How a target is read of which all is copied.
    ///
    /// # Errors
    /// If descriptors run out.
    pub fn alone(self: &Arc<Self>) -> Result<Reading> {
        self.reading(Source::Core(self.core.clone()), &[])
    }

    /// How one is read of which something is copied, and all else is read as before.
    ///
    /// # Errors
    /// If descriptors run out.
    pub fn over(self: &Arc<Self>, rest: &Reading) -> Result<Reading> {
        let rest_source = rest.source.clone().context("workers cannot read the target")?;
        let source = Source::Copied(Copied::new(self.core.clone(), rest_source));
        self.reading(source, &rest.descriptors)
    }

    fn reading(self: &Arc<Self>, source: Source, others: &[OwnedFd]) -> Result<Reading> {
        let descriptors = || {
            let copies = std::iter::once(&self.file).chain(others).map(OwnedFd::try_clone);
            copies.collect::<Result<Vec<_>, _>>().context("out of file descriptors")
        };
        // Nobody but us has the file, and nobody cuts it.
        let memory = source.open(descriptors()?, Access::Mapped)?;
        Ok(Reading { memory, source: Some(source), descriptors: descriptors()?, copy: Some(Arc::clone(self)) })
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        // Workers have it mapped until they map another file.
        release(&self.file);
    }
}

impl std::fmt::Debug for Copy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Copy").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}
