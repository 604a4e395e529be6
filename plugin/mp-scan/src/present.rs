//! What an analysis's findings are shown as.

use analysis::describe::{Describer, text, text_utf16};
use analysis::entropy::{Entropy, EntropyMerge};
use analysis::find::{Find, FindMerge, Found, Pattern};
use analysis::map::{self, Measured};
use analysis::strings::{Encoding, Strings, StringsMerge};
use analysis::{Analysis, Content, Match, Results, Value};
use std::collections::HashMap;
use target::{AddressRange, AddressSpace, ReadMemory};

/// Turns what an analysis brings into what a report holds.
pub trait Presenter<A: Analysis>: Send + 'static {
    /// The command's name in the report.
    const COMMAND: &'static str;

    /// A match for something that was found.
    fn describe(&self, analysis: &A, item: &A::Item, describer: &Describer<'_>) -> Match;

    /// The results, and how many there are in all.
    fn results(
        self,
        merge: A::Merge,
        matches: Vec<Match>,
        space: &AddressSpace,
        memory: &dyn ReadMemory,
    ) -> (Results, u64);
}

/// Places where something was found, one line each.
#[derive(Debug)]
pub struct Matches;

fn place(found: &Found, describer: &Describer<'_>) -> (Match, Option<Vec<u8>>) {
    let size = u64::from(found.length);
    let shown = describer.place(found.address, size, u32::from(found.pattern));
    (shown, describer.bytes(AddressRange::sized(found.address, size)))
}

impl Presenter<Find> for Matches {
    const COMMAND: &'static str = Find::NAME;

    fn describe(&self, find: &Find, found: &Found, describer: &Describer<'_>) -> Match {
        let (mut shown, bytes) = place(found, describer);
        match find.patterns.get(usize::from(found.pattern)) {
            Some(Pattern::String(_) | Pattern::Regex(_)) => shown.content = bytes.map(|bytes| text(&bytes, found.cut)),
            Some(Pattern::Utf16(_)) => shown.content = bytes.map(|bytes| text_utf16(&bytes, find.layout, found.cut)),
            Some(Pattern::Bytes { .. }) => shown.content = bytes.map(Content::Bytes),
            Some(Pattern::Int { value, .. }) => shown.value = Some(Value::Int(*value)),
            Some(Pattern::Float { value, .. }) => shown.value = Some(Value::Float(*value)),
            Some(Pattern::Pointer(value)) => shown.value = Some(Value::Pointer(*value)),
            Some(Pattern::PointerRange { .. }) => {
                shown.value = bytes.map(|bytes| Value::Pointer(find.layout.number(&bytes)));
            }
            None => {}
        }
        shown
    }

    fn results(self, merge: FindMerge, matches: Vec<Match>, _: &AddressSpace, _: &dyn ReadMemory) -> (Results, u64) {
        (Results::Matches(matches), merge.total())
    }
}

impl Presenter<Strings> for Matches {
    const COMMAND: &'static str = Strings::NAME;

    fn describe(&self, strings: &Strings, found: &Found, describer: &Describer<'_>) -> Match {
        let (mut shown, bytes) = place(found, describer);
        shown.content = bytes.map(|bytes| match strings.encoding {
            Encoding::Utf16 => text_utf16(&bytes, strings.layout, found.cut),
            Encoding::Ascii | Encoding::Utf8 => text(&bytes, found.cut),
        });
        shown
    }

    fn results(self, merge: StringsMerge, matches: Vec<Match>, _: &AddressSpace, _: &dyn ReadMemory) -> (Results, u64) {
        (Results::Matches(matches), merge.total)
    }
}

/// The address space, a line for each region or kind of region.
#[derive(Debug)]
pub struct Regions {
    /// Whether regions of a kind are one line.
    pub summary: bool,
    /// For each region whose entropy is taken, by its address, the index of its range.
    pub ranges: HashMap<u64, usize>,
}

impl Presenter<Entropy> for Regions {
    const COMMAND: &'static str = "map";

    fn describe(&self, _: &Entropy, (): &(), describer: &Describer<'_>) -> Match {
        describer.place(0, 0, 0)
    }

    fn results(
        self,
        merge: EntropyMerge,
        _: Vec<Match>,
        space: &AddressSpace,
        memory: &dyn ReadMemory,
    ) -> (Results, u64) {
        let measured: Vec<Measured<'_>> = space
            .regions
            .iter()
            .map(|region| {
                let index = self.ranges.get(&region.range.start);
                Measured {
                    region,
                    residency: memory.residency(region.range),
                    entropy: index.and_then(|index| merge.entropy(*index)),
                    weight: region.range.len(),
                }
            })
            .collect();
        let rows = if self.summary { map::summary(&measured) } else { map::rows(&measured) };
        let total = rows.len() as u64;
        (Results::Mappings(rows), total)
    }
}
