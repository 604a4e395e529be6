//! Counting a needle of equal bytes, such as an integer that is 0: most of the memory of many processes matches it.

use super::found::Out;
use super::literals::Placed;
use crate::memory::Window;
use memchr::memmem;

/// A needle of equal bytes whose matches are only counted, a run of such bytes at a time.
#[derive(Debug)]
pub(super) struct Uniform {
    byte: u8,
    length: usize,
    finder: memmem::Finder<'static>,
    align: u64,
    pattern: u16,
}

/// Bytes compared at once.
const GROUP: usize = 64;

impl Uniform {
    /// `None` if the needle is not of this kind.
    pub(super) fn new(placed: &Placed) -> Option<Self> {
        let value = &placed.needle.value;
        let byte = *value.first()?;
        if placed.needle.mask.is_some() || value.iter().any(|other| *other != byte) {
            return None;
        }
        let finder = memmem::Finder::new(value).into_owned();
        Some(Self { byte, length: value.len(), finder, align: placed.align, pattern: placed.pattern })
    }

    /// Counts what begins in the window's `starts`.
    pub(super) fn count(&self, window: &Window<'_>, out: &mut Out) {
        let starts = &window.starts;
        let data = &window.data[..window.data.len().min(starts.end + self.length - 1)];
        let mut at = starts.start;
        while let Some(found) = self.finder.find(&data[at..]) {
            let start = at + found;
            let end = start + self.run(&data[start..]);
            // A match begins at each byte of the run but the last few.
            let (first, last) = (window.address(start), window.address(end - self.length));
            let first = first.div_ceil(self.align);
            out.add(self.pattern, (last / self.align + 1).saturating_sub(first));
            at = end;
        }
    }

    /// How many bytes of the kind `data` begins with.
    fn run(&self, data: &[u8]) -> usize {
        let groups = data.chunks_exact(GROUP);
        let is_other = |group: &[u8]| group.iter().fold(false, |other, byte| other | (*byte != self.byte));
        let whole = GROUP * groups.take_while(|group| !is_other(group)).count();
        whole + data[whole..].iter().take_while(|byte| **byte == self.byte).count()
    }
}
