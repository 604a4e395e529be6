//! What has been inflated of files: the sections that one scan has had inflated, the next one finds here.

use std::collections::VecDeque;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use target::modules::{Content, Identity, Surveyed};

/// So many bytes are kept at most.
const MOST_BYTES: u64 = 256 << 20;

/// So many sections, each of which takes a descriptor.
const MOST_SECTIONS: usize = 128;

/// Inflated sections, in memory files, those that were used last at the end.
#[derive(Debug, Default)]
pub struct Inflated {
    sections: Mutex<VecDeque<Kept>>,
}

#[derive(Debug)]
struct Kept {
    section: Section,
    /// Bytes once it is inflated.
    size: u64,
    memory: Arc<OwnedFd>,
}

/// A compressed section of a file that was not written to since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    file: Identity,
    range: Range<u64>,
}

impl Section {
    /// Section number `section` of a module; `None` if it is not in a file of its own.
    pub fn of(module: &Surveyed, section: usize) -> Option<Self> {
        let section = &module.sections[section];
        match module.files[section.file].content {
            Content::Path { identity, .. } => Some(Self { file: identity, range: section.range.clone() }),
            Content::Bytes(_) | Content::Shared { .. } | Content::Section(_) => None,
        }
    }
}

impl Inflated {
    /// A section inflated, if that is kept.
    pub fn at(&self, section: &Section) -> Option<Arc<OwnedFd>> {
        let mut sections = self.sections.lock().unwrap_or_else(PoisonError::into_inner);
        let index = sections.iter().position(|kept| kept.section == *section)?;
        let kept = sections.remove(index)?;
        let memory = Arc::clone(&kept.memory);
        sections.push_back(kept);
        Some(memory)
    }

    /// Keeps a section, `size` bytes once it is inflated, in the place of those that were not used for the longest time.
    pub fn keep(&self, section: Section, size: u64, memory: Arc<OwnedFd>) {
        if size > MOST_BYTES {
            return;
        }
        let mut sections = self.sections.lock().unwrap_or_else(PoisonError::into_inner);
        sections.retain(|kept| kept.section != section);
        sections.push_back(Kept { section, size, memory });
        while sections.len() > MOST_SECTIONS || sections.iter().map(|kept| kept.size).sum::<u64>() > MOST_BYTES {
            sections.pop_front();
        }
    }

    /// Keeps none of them any more.
    pub fn clear(&self) {
        self.sections.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    fn section(inode: u64, seconds: i64) -> Section {
        Section { file: Identity { device: 1, inode, size: 10, modified: (seconds, 0) }, range: 2..8 }
    }

    fn memory() -> Arc<OwnedFd> {
        Arc::new(File::open("/dev/null").unwrap().into())
    }

    #[test]
    fn what_was_not_used_for_the_longest_time_goes_first() {
        let inflated = Inflated::default();
        let (first, second, third) = (section(1, 0), section(2, 0), section(3, 0));
        inflated.keep(first.clone(), MOST_BYTES / 2, memory());
        inflated.keep(second.clone(), MOST_BYTES / 2, memory());
        assert!(inflated.at(&first).is_some());
        inflated.keep(third.clone(), 1, memory());
        assert!(inflated.at(&second).is_none());
        assert!(inflated.at(&first).is_some() && inflated.at(&third).is_some());
        for inode in 10..10 + MOST_SECTIONS as u64 {
            inflated.keep(section(inode, 0), 0, memory());
        }
        assert!(inflated.at(&first).is_none() && inflated.at(&section(10, 0)).is_some());
        inflated.clear();
        assert!(inflated.at(&section(10, 0)).is_none());
    }

    #[test]
    fn a_section_that_is_too_large_or_of_a_file_that_was_written_to_is_not_there() {
        let inflated = Inflated::default();
        inflated.keep(section(1, 0), MOST_BYTES + 1, memory());
        assert!(inflated.at(&section(1, 0)).is_none());
        inflated.keep(section(1, 0), 1, memory());
        assert!(inflated.at(&section(1, 1)).is_none());
    }
}
