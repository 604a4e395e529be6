//! `strings`: runs of printable characters.

mod classes;
mod runs;
#[cfg(test)]
mod tests;

use crate::driver::Sink;
use crate::find::{Found, Out, PatternError, regex};
use crate::memory::{Buffer, Walk, Window};
use crate::plan::{Analysis, ScanRange, Scanned, Task};
use crate::report::Stop;
use classes::Class;
use regex_automata::{Input, meta};
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;
use target::{AddressRange, ByteOrder, Layout, ReadMemory};

/// The longest string that one result holds, in bytes. A longer one is cut, and the rest of it is not a result.
pub const MOST_STRING: usize = 64 << 10;

/// The largest `min`.
const MOST_MIN: u32 = 4096;

/// How the characters of a string are stored, and which count as printable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Encoding {
    /// Bytes 0x20 to 0x7e, and tab.
    #[default]
    Ascii,
    /// Those of ASCII, and well-formed UTF-8 from U+00A0 on; without private use, noncharacters, the specials
    /// U+FFF0..U+FFFF, the planes from 4 on, and what draws nothing but redirects the text around it (zero-width and
    /// bidirectional controls, line separators).
    Utf8,
    /// In the target's byte order and at even addresses: those of ASCII, Latin (U+00A0..U+024F, U+1E00..U+1EFF), Greek
    /// and Cyrillic (U+0370..U+052F), Hebrew and Arabic letters, Kana, punctuation and currency signs. Two bytes of
    /// anything are likely to be some character, so scripts with thousands of characters are left out: they would drown
    /// the rest in noise.
    Utf16,
}

/// A search for strings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Strings {
    /// Where, in address order.
    pub ranges: Vec<ScanRange>,
    pub layout: Layout,
    pub encoding: Encoding,
    /// The fewest characters of a string, at least 1.
    pub min: u32,
    /// Only strings in which this matches, bytes of their text in UTF-8, Unicode off.
    pub regex: Option<String>,
    /// It ends when this many are certain; `u64::MAX` for all.
    pub limit: u64,
    /// Whether pages in swap are read.
    pub swapped: bool,
    /// Bytes read at once.
    pub block: u32,
}

impl Default for Strings {
    /// As the command's defaults are, but nowhere.
    fn default() -> Self {
        Self {
            ranges: Vec::new(),
            layout: Layout::default(),
            encoding: Encoding::default(),
            min: 6,
            regex: None,
            limit: 256,
            swapped: true,
            block: 512 << 10,
        }
    }
}

/// What is kept from one task to the next.
#[derive(Debug)]
pub struct StringsScanner {
    buffer: Buffer,
    class: Class,
    filter: Option<(meta::Regex, meta::Cache)>,
}

/// How many strings there are so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StringsMerge {
    pub total: u64,
}

impl Strings {
    /// Checks it, once, before it is run.
    ///
    /// # Errors
    /// If `min` is out of bounds, or the regex does not compile.
    pub fn check(&self) -> Result<(), PatternError> {
        if !(1..=MOST_MIN).contains(&self.min) {
            return Err(PatternError::Min { given: self.min, most: MOST_MIN });
        }
        self.filter().map(|_| ())
    }

    fn filter(&self) -> Result<Option<meta::Regex>, PatternError> {
        self.regex.as_deref().map(regex::filter).transpose()
    }
}

impl Analysis for Strings {
    const NAME: &'static str = "strings";
    type Input = dyn ReadMemory;
    type Partial = Vec<Found>;
    type Scanner = StringsScanner;
    type Merge = StringsMerge;
    type Item = Found;

    fn ranges(&self) -> &[ScanRange] {
        &self.ranges
    }

    fn reach(&self) -> u64 {
        (MOST_STRING + classes::LOOK) as u64
    }

    fn reads_swapped(&self) -> bool {
        self.swapped
    }

    fn scanner(&self) -> Result<StringsScanner, String> {
        let filter = self.filter().map_err(|error| error.to_string())?;
        let filter = filter.map(|regex| {
            let cache = regex.create_cache();
            (regex, cache)
        });
        let big = self.layout.byte_order == ByteOrder::Big;
        Ok(StringsScanner { buffer: Buffer::default(), class: Class::new(self.encoding, big), filter })
    }

    fn scan(
        &self,
        scanner: &mut StringsScanner,
        task: &Task,
        memory: &dyn ReadMemory,
        stop: &dyn Fn() -> bool,
    ) -> Scanned<Vec<Found>> {
        let Some(scan) = self.ranges.get(task.index) else {
            return Scanned {
                partial: Vec::new(),
                bytes: task.range.len(),
                skipped: Vec::new(),
                rest: None,
                gone: false,
            };
        };
        let walk = Walk {
            memory,
            range: task.range,
            region: scan.region,
            sparse: scan.sparse,
            swapped: self.swapped,
            before: classes::LOOK,
            reach: MOST_STRING + classes::LOOK,
            // A zero ends a string, whatever the encoding.
            zero_reach: classes::LOOK,
            zeros: false,
            block: self.block.max(1) as usize,
            stop,
        };
        let mut out = Out::matches(self.limit, 1);
        let StringsScanner { buffer, class, filter } = scanner;
        let walked = walk.run(buffer, |window| self.window(window, *class, filter, &mut out));
        Scanned {
            bytes: walked.bytes(task.range),
            partial: out.matches,
            skipped: walked.skipped,
            rest: walked.rest.map(|rest| AddressRange::new(rest, task.range.end)),
            gone: walked.gone,
        }
    }

    fn merge(&self) -> StringsMerge {
        StringsMerge::default()
    }

    fn absorb(
        &self,
        merge: &mut StringsMerge,
        _task: &Task,
        mut partial: Vec<Found>,
        _memory: &dyn ReadMemory,
        sink: &mut dyn Sink<Found>,
    ) -> ControlFlow<Stop> {
        let left = self.limit - merge.total.min(self.limit);
        partial.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        merge.total += partial.len() as u64;
        if !partial.is_empty() {
            sink.found(partial);
        }
        if merge.total >= self.limit { ControlFlow::Break(Stop::Limit) } else { ControlFlow::Continue(()) }
    }

    fn weight(partial: &Vec<Found>) -> usize {
        size_of_val(&partial[..])
    }
}

impl Strings {
    fn window(
        &self,
        window: &Window<'_>,
        class: Class,
        filter: &mut Option<(meta::Regex, meta::Cache)>,
        out: &mut Out,
    ) -> ControlFlow<u64> {
        class.strings(window, self.min as usize, &mut |string| {
            if let Some((regex, cache)) = filter {
                let bytes = &window.data[string.start..string.end];
                let text = class.text(bytes);
                if regex.search_half_with(cache, &Input::new(&*text).earliest(true)).is_none() {
                    return ControlFlow::Continue(());
                }
            }
            let address = window.address(string.start);
            let length = (string.end - string.start) as u32;
            out.push(Found { address, pattern: 0, length, cut: string.cut });
            // What follows goes on with the next byte, and sees that it is within a string.
            if out.is_full() { ControlFlow::Break(address + 1) } else { ControlFlow::Continue(()) }
        })
    }
}
