//! A unit of debug information, and its entries.

use super::program::Scope;
use crate::dwarf::cursor::{Encoding, Malformed, leb};
use crate::dwarf::shapes::{Role, Shapes, Slot, Text, Value};
use gimli::DwTag;
use serde::{Deserialize, Serialize};
use std::ops::Deref;
use std::rc::Rc;

/// A unit, with its abbreviations. Offsets of its entries count from its first byte.
#[derive(Debug)]
pub(super) struct Unit<'a> {
    /// The sections that it is in.
    pub(super) scope: Rc<Scope<'a>>,
    /// Which of them, and where it begins there.
    pub(super) place: UnitPlace,
    /// All of it, its header too.
    pub(super) bytes: &'a [u8],
    /// Of its first entry.
    pub(super) root: usize,
    pub(super) encoding: Encoding,
    pub(super) shapes: Rc<Shapes>,
    /// Where its part of .debug_str_offsets begins.
    pub(super) string_offsets: u64,
    /// `DW_LANG_…`.
    pub(super) language: u64,
    /// Whether it stands for one whose entries are elsewhere.
    pub(super) skeleton: bool,
}

/// Where a unit is in its sections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct UnitPlace {
    /// Whether it is in .debug_types, and not in .debug_info.
    pub(super) types: bool,
    pub(super) offset: u64,
}

/// An entry with what is read of it.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) tag: DwTag,
    pub(super) offset: usize,
    /// Behind its attributes.
    pub(super) end: usize,
    pub(super) children: bool,
    attributes: Attributes,
}

impl Deref for Entry {
    type Target = Attributes;

    fn deref(&self) -> &Attributes {
        &self.attributes
    }
}

/// What is said of an entry.
#[derive(Clone, Debug, Default)]
pub(super) struct Attributes {
    pub(super) sibling: Option<usize>,
    pub(super) name: Text,
    pub(super) kind: Option<Value>,
    pub(super) origin: Option<Value>,
    pub(super) signature: Option<Value>,
    pub(super) size: Option<u64>,
    pub(super) declaration: bool,
    /// Of a base type.
    pub(super) encoding: u64,
    pub(super) location: Option<Value>,
    pub(super) bit_size: Option<u64>,
    pub(super) bit_offset: Option<i64>,
    pub(super) data_bit_offset: Option<u64>,
    pub(super) count: Option<Value>,
    pub(super) upper_bound: Option<Value>,
    pub(super) lower_bound: Option<i64>,
    pub(super) constant: Option<Value>,
    pub(super) artificial: bool,
    pub(super) external: bool,
    pub(super) virtuality: u64,
    pub(super) containing: Option<Value>,
    pub(super) discriminant: Option<Value>,
    pub(super) discriminant_value: Option<Value>,
    pub(super) discriminant_list: Option<Value>,
    pub(super) prototyped: bool,
    pub(super) vector: bool,
    pub(super) file: Option<u64>,
    pub(super) line: Option<u64>,
    pub(super) string_offsets: Option<u64>,
    pub(super) line_table: Option<u64>,
    pub(super) folder: Text,
    pub(super) split_name: Text,
    pub(super) language: u64,
}

impl Attributes {
    fn put(&mut self, slot: Slot, value: Value) {
        let text = match value {
            // Nothing about a type is an address.
            Value::Address(_) | Value::AddressIndex(_) | Value::RangesIndex(_) => return,
            Value::Text(text) => text,
            _ => Text::None,
        };
        let (some, number, flag) = (Some(value), value.unsigned(), value != Value::Unsigned(0));
        match slot {
            Slot::Name => self.name = text,
            Slot::Size => self.size = number,
            Slot::Type => self.kind = some,
            Slot::Sibling => {
                self.sibling = match value {
                    Value::Unit(offset) => Some(offset),
                    _ => None,
                }
            }
            Slot::Declaration => self.declaration = flag,
            Slot::Origin => self.origin = some,
            // What has a signature stands for the type of another unit.
            Slot::Signature => (self.signature, self.declaration) = (some, true),
            Slot::Encoding => self.encoding = number.unwrap_or_default(),
            Slot::Import | Slot::Alignment | Slot::LowAddress | Slot::HighAddress | Slot::Ranges => {}
            Slot::CallFile | Slot::CallLine | Slot::CallColumn | Slot::Storage => {}
            Slot::Location => self.location = some,
            Slot::BitSize => self.bit_size = number,
            Slot::BitOffset => self.bit_offset = value.signed(),
            Slot::DataBitOffset => self.data_bit_offset = number,
            Slot::Count => self.count = some,
            Slot::UpperBound => self.upper_bound = some,
            Slot::LowerBound => self.lower_bound = value.signed(),
            Slot::Constant => self.constant = some,
            Slot::Artificial => self.artificial = flag,
            Slot::External => self.external = flag,
            Slot::Virtuality => self.virtuality = number.unwrap_or_default(),
            Slot::ContainingType => self.containing = some,
            Slot::Discriminant => self.discriminant = some,
            Slot::DiscriminantValue => self.discriminant_value = some,
            Slot::DiscriminantList => self.discriminant_list = some,
            Slot::Prototyped => self.prototyped = flag,
            Slot::Vector => self.vector = flag,
            Slot::File => self.file = number,
            Slot::Line => self.line = number,
            Slot::StringOffsets => self.string_offsets = number,
            Slot::LineTable => self.line_table = number,
            Slot::Folder => self.folder = text,
            Slot::SplitName => self.split_name = text,
            Slot::Language => self.language = number.unwrap_or_default(),
        }
    }

    /// Whether it is a member that takes no room in the type: a static one.
    pub(super) fn is_static(&self) -> bool {
        self.external || self.declaration
    }
}

impl<'a> Unit<'a> {
    /// The entry at an offset; `None` if a list of children ends there.
    pub(super) fn entry(&self, offset: usize) -> Result<Option<Entry>, Malformed> {
        read(self.bytes, &self.shapes, self.encoding, offset)
    }

    /// The entry that is referred to.
    pub(super) fn entry_at(&self, offset: usize) -> Result<Entry, Malformed> {
        let found = if offset < self.root { None } else { self.entry(offset)? };
        found.ok_or(Malformed::Reference(offset as u64))
    }

    /// The members, bases, variants, values, bounds or parameters right below `parent`.
    pub(super) fn children(&self, parent: &Entry) -> Children<'_, 'a> {
        let at = if parent.children { Some(parent.end) } else { None };
        Children { unit: self, at }
    }

    /// Whether an entry right below `parent` has a tag for which `holds` is true.
    pub(super) fn has_below(&self, parent: &Entry, holds: impl Fn(DwTag) -> bool) -> bool {
        let mut at = parent.end;
        let mut next = || -> Result<Option<DwTag>, Malformed> {
            let code = leb(self.bytes, &mut at)?;
            if code == 0 {
                return Ok(None);
            }
            let shape = self.shapes.shape(code)?;
            let mut sibling = None;
            at = shape.brief(self.bytes, at, self.encoding, |slot, value| {
                if let (Slot::Sibling, Value::Unit(offset)) = (slot, value) {
                    sibling = Some(offset);
                }
            })?;
            if shape.children {
                at = self.skip(at, sibling)?;
            }
            Ok(Some(shape.tag))
        };
        parent.children && std::iter::from_fn(|| next().ok().flatten()).any(holds)
    }

    /// The next entry of a list that is of a type's parts; `at` is moved behind it.
    fn next_member(&self, at: &mut usize) -> Result<Option<Entry>, Malformed> {
        loop {
            let offset = *at;
            let code = leb(self.bytes, at)?;
            if code == 0 {
                return Ok(None);
            }
            let shape = self.shapes.shape(code)?;
            if shape.role == Role::Member {
                let Some(entry) = self.entry(offset)? else { return Ok(None) };
                *at = if entry.children { self.skip(entry.end, entry.sibling)? } else { entry.end };
                return Ok(Some(entry));
            }
            let mut sibling = None;
            *at = shape.brief(self.bytes, *at, self.encoding, |slot, value| {
                if let (Slot::Sibling, Value::Unit(offset)) = (slot, value) {
                    sibling = Some(offset);
                }
            })?;
            if shape.children {
                *at = self.skip(*at, sibling)?;
            }
        }
    }

    /// Where the entry behind a subtree begins, whose root's attributes end at `end`.
    pub(super) fn skip(&self, end: usize, sibling: Option<usize>) -> Result<usize, Malformed> {
        if let Some(sibling) = sibling.filter(|sibling| (end..self.bytes.len()).contains(sibling)) {
            return Ok(sibling);
        }
        let (mut at, mut depth) = (end, 1u64);
        loop {
            let code = leb(self.bytes, &mut at)?;
            if code == 0 {
                depth -= 1;
                if depth == 0 {
                    return Ok(at);
                }
                continue;
            }
            let shape = self.shapes.shape(code)?;
            let mut sibling = 0;
            at = shape.brief(self.bytes, at, self.encoding, |slot, value| {
                if let (Slot::Sibling, Value::Unit(offset)) = (slot, value) {
                    sibling = offset;
                }
            })?;
            if !shape.children {
                continue;
            }
            if (at..self.bytes.len()).contains(&sibling) {
                at = sibling;
            } else {
                depth += 1;
            }
        }
    }

    pub(super) fn is_rust(&self) -> bool {
        self.language == u64::from(gimli::constants::DW_LANG_Rust.0)
    }

    /// What a walk takes the entry at `offset` for, if there is one.
    pub(super) fn role(&self, offset: usize) -> Option<Role> {
        let code = leb(self.bytes, &mut offset.clone()).ok().filter(|code| *code > 0)?;
        self.shapes.shape(code).ok().map(|shape| shape.role)
    }
}

/// Reads an entry.
pub(super) fn read(
    bytes: &[u8],
    shapes: &Shapes,
    encoding: Encoding,
    offset: usize,
) -> Result<Option<Entry>, Malformed> {
    let mut at = offset;
    let code = leb(bytes, &mut at)?;
    if code == 0 {
        return Ok(None);
    }
    let shape = shapes.shape(code)?;
    let mut attributes = Attributes::default();
    let end = shape.full(bytes, at, encoding, |slot, value| attributes.put(slot, value))?;
    Ok(Some(Entry { tag: shape.tag, offset, end, children: shape.children, attributes }))
}

/// The entries right below another.
pub(super) struct Children<'u, 'a> {
    unit: &'u Unit<'a>,
    at: Option<usize>,
}

impl Iterator for Children<'_, '_> {
    type Item = Result<Entry, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut at = self.at.take()?;
        match self.unit.next_member(&mut at) {
            Ok(member) => {
                let member = member?;
                self.at = Some(at);
                Some(Ok(member))
            }
            Err(error) => Some(Err(error)),
        }
    }
}
