//! Places and addresses as users write them.

use crate::cli::EXPRESSION;
use crate::course::Moment;
use crate::engine::engine;
use crate::here;
use crate::inspect::{Access, Inspected};
use analysis::heap::glibc::{Located, located};
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
    /// If an address is not understood, a place covers nothing, or it is told to stop.
    pub fn cover(&self, inspected: &Inspected, addresses: &Addresses<'_>, stop: &dyn Fn() -> bool) -> Result<Coverage> {
        let places = self.0.iter().map(|written| match written {
            Written::Place(place) => Ok(place.clone()),
            Written::Range(text) => Ok(Place::Range(addresses.range(text)?)),
        });
        let places = places.collect::<Result<Vec<_>>>()?;
        let chunks = if places.contains(&Place::Heap) { chunks(inspected, stop)? } else { None };
        let atlas = Atlas { space: &inspected.space, stacks: &inspected.stacks, memory: &*inspected.memory, chunks };
        atlas.cover(&places).map_err(anyhow::Error::msg)
    }
}

/// Where malloc of glibc has its chunks, as the commands of the heap find it; `None` of what takes long to look at, changes, or is
/// not understood.
///
/// # Errors
/// If it is told to stop.
fn chunks(inspected: &Inspected, stop: &dyn Fn() -> bool) -> Result<Option<Vec<AddressRange>>> {
    let is_direct = matches!(inspected.access, Access::Direct { .. });
    if inspected.space.layout != Layout::default() || inspected.info.ran {
        return Ok(None);
    }
    let moment = Moment::of(inspected);
    let known = moment.and_then(|moment| engine().heaps.at(&moment));
    if known.is_none() && !is_direct {
        return Ok(None);
    }
    let ranges = |located: &Located| Some(located.segments.iter().map(|segment| segment.range).collect());
    if let Some(known) = known {
        return Ok(ranges(&known.located));
    }
    match located(&inspected.memory, &inspected.space, here::processors(), stop) {
        Some(located) => Ok(ranges(&located)),
        None => bail!("interrupted before anything was scanned, while the heap was looked for"),
    }
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
