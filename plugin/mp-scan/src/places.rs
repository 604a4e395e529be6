//! Places and addresses as users write them.

use crate::cli::EXPRESSION;
use crate::course::Moment;
use crate::engine::engine;
use crate::inspect::{Access, Inspected};
use analysis::heap::glibc::located;
use analysis::place::{Atlas, Coverage, Place};
use anyhow::{Result, bail};
use target::{AddressRange, Layout};

/// What `--in` was given, before the target is known.
#[derive(Clone, Debug)]
pub struct Places(Vec<Written>);

#[derive(Clone, Debug)]
enum Written {
    Place(Place),
    /// `A..B`, whose ends may be registers, variables or symbols.
    Range(String),
}

impl Places {
    /// # Errors
    /// If one is none of the places that there are.
    pub fn parse(texts: &[String]) -> Result<Self> {
        let place = |text: &String| {
            Ok(Written::Place(match text.as_str() {
                "all" => Place::All,
                "heap" => Place::Heap,
                "stack" => Place::Stack,
                "writable" => Place::Writable,
                "executable" => Place::Executable,
                "anonymous" => Place::Anonymous,
                "file" => Place::File,
                text => match (text.strip_prefix("module:"), text.contains("..")) {
                    (Some(name), _) => Place::Module(name.to_owned()),
                    (None, true) => return Ok(Written::Range(text.to_owned())),
                    (None, false) => bail!(
                        "'{text}' is no place: there are all, heap, stack, writable, executable, anonymous, file, \
                         module:NAME and A..B"
                    ),
                },
            }))
        };
        Ok(Self(texts.iter().map(place).collect::<Result<_>>()?))
    }

    /// What they come to on this target.
    ///
    /// # Errors
    /// If an address is not understood, or a place covers nothing.
    pub fn cover(&self, inspected: &Inspected, addresses: &Addresses<'_>) -> Result<Coverage> {
        let places = self.0.iter().map(|written| match written {
            Written::Place(place) => Ok(place.clone()),
            Written::Range(text) => Ok(Place::Range(addresses.range(text)?)),
        });
        let places = places.collect::<Result<Vec<_>>>()?;
        let chunks = places.contains(&Place::Heap).then(|| chunks(inspected)).flatten();
        let atlas = Atlas { space: &inspected.space, stacks: &inspected.stacks, memory: &*inspected.memory, chunks };
        atlas.cover(&places).map_err(anyhow::Error::msg)
    }
}

/// Where malloc of glibc has its chunks, as the commands of the heap find it; `None` of what takes long to look at, changes, or is
/// not understood.
fn chunks(inspected: &Inspected) -> Option<Vec<AddressRange>> {
    let is_direct = matches!(inspected.access, Access::Direct { .. });
    if inspected.space.layout != Layout::default() || inspected.info.ran {
        return None;
    }
    let moment = Moment::of(inspected);
    let known = moment.and_then(|moment| engine().heaps.at(&moment));
    if known.is_none() && !is_direct {
        return None;
    }
    let found = known.is_none().then(|| located(&inspected.memory, &inspected.space));
    let located = known.as_ref().map(|known| &known.located).or(found.as_ref())?;
    Some(located.segments.iter().map(|segment| segment.range).collect())
}

/// What addresses are looked up in.
#[derive(Debug)]
pub struct Addresses<'a> {
    inspected: &'a Inspected,
}

impl Inspected {
    /// For looking up addresses that the user wrote.
    pub fn addresses(&self) -> Addresses<'_> {
        Addresses { inspected: self }
    }
}

impl Addresses<'_> {
    /// # Errors
    /// If `text` means no address.
    pub fn address(&self, text: &str) -> Result<u64> {
        let (expression, text) = match text.strip_prefix(EXPRESSION) {
            Some(expression) => (true, expression),
            None => (false, text),
        };
        let context = lldb::address::Context {
            target: &self.inspected.target,
            frame: self.inspected.frame.as_ref(),
            module: None,
            expression,
        };
        Ok(lldb::address::resolve(&context, text)?)
    }

    /// The range `A..B`.
    ///
    /// # Errors
    /// If an end means no address, or the range is empty or backwards.
    pub fn range(&self, text: &str) -> Result<AddressRange> {
        let Some((start, end)) = text.split_once("..") else {
            bail!("'{text}' is not a range of addresses A..B");
        };
        // An expression's mark stands for both ends.
        let expression = if start.starts_with(EXPRESSION) && !end.starts_with(EXPRESSION) { EXPRESSION } else { "" };
        let (start, end) = (self.address(start)?, self.address(&format!("{expression}{end}"))?);
        if start == end {
            bail!("the range {text} is empty: it begins where it ends");
        }
        if start > end {
            bail!("the range {text} is backwards: {start:#x} lies after {end:#x}");
        }
        Ok(AddressRange::new(start, end))
    }
}
