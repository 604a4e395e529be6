//! Qualified names: of namespaces, the types and functions around, and the type itself.

use super::program::{Located, Program};
use super::unit::{Entry, Unit};
use super::walk::{Found, Outline};
use crate::dwarf::shapes::{Role, Text, Value};
use gimli::{DwTag, constants as dw};
use std::rc::Rc;

/// Contexts may be nested so deeply; of those further out nothing is said.
const DEEPEST: usize = 128;

/// What stands between two parts of a name.
const SEPARATOR: &[u8] = b"::";

/// What is written for what has no name.
pub(super) const NAMELESS: [&str; 5] =
    ["(anonymous namespace)", "(anonymous struct)", "(anonymous class)", "(anonymous union)", "(anonymous enum)"];

/// Whether a qualified name is that of a type which has none of its own.
pub(super) fn is_nameless(name: &[u8]) -> bool {
    name.ends_with(b")") && NAMELESS[1..].iter().any(|nameless| name.ends_with(nameless.as_bytes()))
}

/// Whether a qualified name is that of a type which only its own unit can define.
pub(super) fn is_local(name: &[u8]) -> bool {
    let has = |part: &[u8]| memchr::memmem::find(name, part).is_some();
    has(b"()::") || NAMELESS.iter().any(|nameless| has(nameless.as_bytes()))
}

/// Spells names of one module.
pub(super) struct Namer<'n, 'p, 'a> {
    pub(super) program: &'p Program<'a>,
    pub(super) unit: &'n Rc<Unit<'a>>,
    /// Of the unit, as far as a walk has come.
    pub(super) outline: &'n Outline,
}

impl<'a> Namer<'_, '_, 'a> {
    /// Appends the name of a type.
    pub(super) fn found(&self, found: &Found, name: &mut Vec<u8>) {
        match found.origin {
            Some(origin) => self.completed(origin, found.context, found.name, found.tag, name, DEEPEST),
            None => {
                self.prefix(found.context, name);
                own(self.unit, found.name, found.tag, name);
            }
        }
    }

    /// Appends the name of a context and those around it, with a separator at the end, unless there is none.
    pub(super) fn prefix(&self, context: u32, name: &mut Vec<u8>) {
        self.prefix_within(context, name, DEEPEST);
    }

    fn prefix_within(&self, index: u32, name: &mut Vec<u8>, depth: usize) {
        let (Some(context), Some(depth)) = (self.outline.contexts.get(index as usize), depth.checked_sub(1)) else {
            return;
        };
        match context.role {
            Role::Unit => return,
            Role::Block => return self.prefix_within(context.parent, name, depth),
            _ => {}
        }
        match context.origin {
            // A member function is defined outside its class, an instance of an inlined function beside it.
            Some(origin) => self.completed(origin, context.parent, context.name, context.tag, name, depth),
            None => {
                self.prefix_within(context.parent, name, depth);
                own(self.unit, context.name, context.tag, name);
            }
        }
        name.extend_from_slice(SEPARATOR);
    }

    /// Appends the name of what completes `origin`: it is in what that is in, and may have its name from there.
    fn completed(&self, origin: Value, context: u32, text: Text, tag: DwTag, name: &mut Vec<u8>, depth: usize) {
        let Ok(Located { unit, entry }) = self.program.resolve(self.unit, origin) else {
            self.prefix_within(context, name, depth);
            return own(self.unit, text, tag, name);
        };
        let here = Rc::ptr_eq(&unit, self.unit) && self.outline.owner(entry.offset).is_some();
        let elsewhere = if here { None } else { Some(self.program.around(&unit, entry.offset)) };
        let namer = Namer { program: self.program, unit: &unit, outline: elsewhere.as_deref().unwrap_or(self.outline) };
        match (entry.origin, depth.checked_sub(1)) {
            (Some(origin), Some(depth)) => {
                let context = namer.outline.owner(entry.offset).unwrap_or_default();
                return namer.completed(origin, context, entry.name, entry.tag, name, depth);
            }
            _ => match namer.outline.owner(entry.offset) {
                Some(context) => namer.prefix_within(context, name, depth),
                None => self.prefix_within(context, name, depth),
            },
        }
        match text {
            Text::None => own(&unit, entry.name, entry.tag, name),
            text => own(self.unit, text, tag, name),
        }
    }
}

/// Appends the name of the type that an entry defines or declares.
pub(super) fn of_entry<'a>(program: &Program<'a>, unit: &Rc<Unit<'a>>, entry: &Entry, name: &mut Vec<u8>) {
    let outline = program.around(unit, entry.offset);
    let namer = Namer { program, unit, outline: &outline };
    let context = outline.owner(entry.offset).unwrap_or_default();
    match entry.origin {
        Some(origin) => namer.completed(origin, context, entry.name, entry.tag, name, DEEPEST),
        None => {
            namer.prefix(context, name);
            own(unit, entry.name, entry.tag, name);
        }
    }
}

/// Appends the name of one namespace, type or function.
pub(super) fn own(unit: &Unit<'_>, text: Text, tag: DwTag, name: &mut Vec<u8>) {
    let text = unit.text(text);
    name.extend_from_slice(if text.is_empty() { nameless(tag).as_bytes() } else { text });
    if tag == dw::DW_TAG_subprogram {
        name.extend_from_slice(b"()");
    }
}

/// What is written for something without a name.
fn nameless(tag: DwTag) -> &'static str {
    let index = match tag {
        dw::DW_TAG_namespace | dw::DW_TAG_module => 0,
        dw::DW_TAG_class_type => 2,
        dw::DW_TAG_union_type => 3,
        dw::DW_TAG_enumeration_type => 4,
        dw::DW_TAG_subprogram => return "",
        _ => 1,
    };
    NAMELESS[index]
}
