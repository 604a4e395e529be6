//! Types as their language writes them: with qualifiers, pointers, arrays and parameters, and full names.

use super::names;
use super::program::{Located, Program};
use super::sizes::bounds;
use super::unit::{Entry, Unit};
use crate::dwarf::shapes::{Role, Text, Value, role};
use gimli::constants as dw;
use std::rc::Rc;

/// As many types may be part of one.
const MOST_PARTS: u32 = 512;

/// Spells types of one module.
pub(super) struct Speller<'p, 'a> {
    pub(super) program: &'p Program<'a>,
    /// How many more parts the type that is being spelled may have.
    parts: u32,
}

/// Languages whose types are written in a way of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Language {
    C,
    Rust,
    /// C++, and whatever else there is.
    Other,
}

impl<'p, 'a> Speller<'p, 'a> {
    pub(super) fn new(program: &'p Program<'a>) -> Self {
        Self { program, parts: 0 }
    }

    /// The type that is referred to from `unit`.
    pub(super) fn spell(&mut self, unit: &Rc<Unit<'a>>, reference: Option<Value>) -> String {
        self.declare(unit, reference, "")
    }

    /// The declaration of something with that type, called `name`.
    pub(super) fn declare(&mut self, unit: &Rc<Unit<'a>>, reference: Option<Value>, name: &str) -> String {
        self.parts = MOST_PARTS;
        self.around(unit, reference, name.to_owned())
    }

    /// `inner` with the type around it.
    fn around(&mut self, unit: &Rc<Unit<'a>>, reference: Option<Value>, inner: String) -> String {
        let Some(reference) = reference else {
            return match language(unit) {
                Language::Rust => behind("()", &inner),
                _ => behind("void", &inner),
            };
        };
        let Some(parts) = self.parts.checked_sub(1) else { return behind("…", &inner) };
        self.parts = parts;
        let Ok(Located { unit, entry }) = self.program.resolve(unit, reference) else { return behind("?", &inner) };
        let (unit, rust) = (&unit, language(&unit) == Language::Rust);
        let named = !matches!(entry.name, Text::None);
        match entry.tag {
            // Pointers of Rust have names.
            dw::DW_TAG_pointer_type if named => behind(&lossy(unit.text(entry.name)), &inner),
            dw::DW_TAG_pointer_type => self.pointer(unit, &entry, "*", inner),
            dw::DW_TAG_reference_type => self.pointer(unit, &entry, "&", inner),
            dw::DW_TAG_rvalue_reference_type => self.pointer(unit, &entry, "&&", inner),
            dw::DW_TAG_ptr_to_member_type => {
                let class = self.around(unit, entry.containing, String::new());
                self.pointer(unit, &entry, &format!("{class}::*"), inner)
            }
            dw::DW_TAG_const_type => self.qualified(unit, &entry, "const", inner),
            dw::DW_TAG_volatile_type => self.qualified(unit, &entry, "volatile", inner),
            dw::DW_TAG_restrict_type => self.qualified(unit, &entry, "restrict", inner),
            dw::DW_TAG_atomic_type => self.qualified(unit, &entry, "_Atomic", inner),
            dw::DW_TAG_array_type if rust => {
                let element = self.around(unit, entry.kind, String::new());
                let count = bounds(unit, &entry).first().copied().flatten();
                let array = count.map_or_else(|| format!("[{element}]"), |count| format!("[{element}; {count}]"));
                behind(&array, &inner)
            }
            dw::DW_TAG_array_type if entry.vector => {
                let element = self.around(unit, entry.kind, String::new());
                let count = bounds(unit, &entry).first().copied().flatten().unwrap_or_default();
                behind(&format!("{element} __attribute__((vector_size({count} * sizeof({element}))))"), &inner)
            }
            dw::DW_TAG_array_type => {
                let count = |count: Option<u64>| count.map_or_else(|| "[]".to_owned(), |count| format!("[{count}]"));
                let mut counts: String = bounds(unit, &entry).into_iter().map(count).collect();
                if counts.is_empty() {
                    counts.push_str("[]");
                }
                self.around(unit, entry.kind, inner + &counts)
            }
            dw::DW_TAG_subroutine_type => {
                let parameters = self.parameters(unit, &entry);
                if rust {
                    let result = entry.kind.map(|kind| self.around(unit, Some(kind), String::new()));
                    let result = result.map_or_else(String::new, |result| format!(" -> {result}"));
                    return behind(&format!("fn({parameters}){result}"), &inner);
                }
                let object = self.object(unit, &entry);
                self.around(unit, entry.kind, format!("{inner}({parameters}){object}"))
            }
            dw::DW_TAG_unspecified_type if named => behind(&lossy(unit.text(entry.name)), &inner),
            _ => behind(&self.named(unit, &entry), &inner),
        }
    }

    fn pointer(&mut self, unit: &Rc<Unit<'a>>, pointer: &Entry, sign: &str, inner: String) -> String {
        let mut inner = format!("{sign}{inner}");
        let target = pointer.kind.and_then(|target| self.program.stripped(unit, target, false));
        let binds = target.is_some_and(|target| {
            let array = target.entry.tag == dw::DW_TAG_array_type && !target.entry.vector;
            array || target.entry.tag == dw::DW_TAG_subroutine_type
        });
        if binds && language(unit) != Language::Rust {
            inner = format!("({inner})");
        }
        self.around(unit, pointer.kind, inner)
    }

    /// Qualifiers of pointers stand behind the sign, others before the type.
    fn qualified(&mut self, unit: &Rc<Unit<'a>>, qualifier: &Entry, word: &str, inner: String) -> String {
        let target = qualifier.kind.and_then(|target| self.program.stripped(unit, target, false));
        let pointer = target
            .is_some_and(|target| matches!(target.entry.tag, dw::DW_TAG_pointer_type | dw::DW_TAG_ptr_to_member_type));
        if pointer {
            let inner = if inner.is_empty() { word.to_owned() } else { format!("{word} {inner}") };
            return self.around(unit, qualifier.kind, inner);
        }
        format!("{word} {}", self.around(unit, qualifier.kind, inner))
    }

    fn parameters(&mut self, unit: &Rc<Unit<'a>>, function: &Entry) -> String {
        let mut parameters = Vec::new();
        for parameter in unit.children(function).map_while(Result::ok) {
            match parameter.tag {
                dw::DW_TAG_unspecified_parameters => parameters.push("...".to_owned()),
                // The object that a member function is called on.
                _ if parameter.artificial => {}
                _ => parameters.push(self.around(unit, parameter.kind, String::new())),
            }
        }
        if parameters.is_empty() && function.prototyped && language(unit) == Language::C {
            parameters.push("void".to_owned());
        }
        parameters.join(", ")
    }

    /// The qualifiers of the object that a member function is called on, as they stand behind its parameters.
    fn object(&self, unit: &Rc<Unit<'a>>, function: &Entry) -> String {
        let mut parts = unit.children(function).map_while(Result::ok);
        let object = parts.find(|part| part.tag == dw::DW_TAG_formal_parameter).filter(|part| part.artificial);
        let mut next = object.and_then(|object| self.program.resolve(unit, object.kind?).ok());
        if next.as_ref().is_some_and(|next| next.entry.tag == dw::DW_TAG_const_type) {
            // The pointer to it may be constant as well.
            next = next.and_then(|next| self.program.resolve(&next.unit, next.entry.kind?).ok());
        }
        let mut next = next.filter(|next| next.entry.tag == dw::DW_TAG_pointer_type);
        let (mut constant, mut volatile) = ("", "");
        for _ in 0..3 {
            next = next.and_then(|next| self.program.resolve(&next.unit, next.entry.kind?).ok());
            match next.as_ref().map(|next| next.entry.tag) {
                Some(dw::DW_TAG_const_type) => constant = " const",
                Some(dw::DW_TAG_volatile_type) => volatile = " volatile",
                _ => break,
            }
        }
        format!("{constant}{volatile}")
    }

    /// The full name of a type that has one, or has a place.
    fn named(&mut self, unit: &Rc<Unit<'a>>, entry: &Entry) -> String {
        if let (true, Some(signature)) = (entry.declaration, entry.signature)
            && let Ok(Located { unit, entry }) = self.program.resolve(unit, signature)
            && !entry.declaration
        {
            return self.named(&unit, &entry);
        }
        let mut name = Vec::new();
        if matches!(role(entry.tag), Role::Aggregate | Role::Enumeration | Role::Typedef) {
            names::of_entry(self.program, unit, entry, &mut name);
        } else {
            name.extend_from_slice(unit.text(entry.name));
        }
        let name = lossy(&name);
        let word = match entry.tag {
            _ if matches!(entry.name, Text::None) => None,
            dw::DW_TAG_structure_type => Some("struct"),
            dw::DW_TAG_union_type => Some("union"),
            dw::DW_TAG_enumeration_type => Some("enum"),
            _ => None,
        };
        match word {
            Some(word) if language(unit) == Language::C => format!("{word} {name}"),
            _ => name,
        }
    }
}

fn language(unit: &Unit<'_>) -> Language {
    match gimli::DwLang(unit.language as u16) {
        dw::DW_LANG_C
        | dw::DW_LANG_C89
        | dw::DW_LANG_C99
        | dw::DW_LANG_C11
        | dw::DW_LANG_C17
        | dw::DW_LANG_Mips_Assembler => Language::C,
        dw::DW_LANG_Rust => Language::Rust,
        _ => Language::Other,
    }
}

/// A type's name and what is declared with it.
fn behind(name: &str, inner: &str) -> String {
    if inner.is_empty() { name.to_owned() } else { format!("{name} {inner}") }
}

/// Bytes as text: UTF-8, and `\xNN` for what is not.
pub(super) fn lossy(bytes: &[u8]) -> String {
    crate::describe::text_of(bytes)
}
