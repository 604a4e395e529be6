//! What `types` shows.

use serde::{Deserialize, Serialize};

/// A type that debug info defines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypeRow {
    /// Qualified by its namespaces and the types around it.
    pub name: String,
    /// `struct`, `class`, `union`, `enum`, `typedef`; `variant` for what a value of an enumeration of Rust has.
    pub kind: String,
    /// Bytes; `None` where it has none, as a typedef of an incomplete type.
    pub size: Option<u64>,
    /// Path of the module that it was found in, the first of several.
    pub module: String,
    /// Where it is defined.
    pub file: Option<String>,
    pub line: Option<u64>,
    /// Bytes that certainly no member takes, with those at the end: not those that a member of unknown size may take. `None`
    /// where that is not known, as with virtual bases.
    pub padding: Option<u64>,
    /// How many different definitions of this name there are, where there are several; this is one of them.
    pub definitions: Option<u64>,
    /// Its layout, where it was asked for.
    pub layout: Option<LayoutRow>,
}

/// What lies where in a type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayoutRow {
    /// In the order of their places, whatever that of their declarations; those whose place is known only at run time come last.
    pub members: Vec<MemberRow>,
    pub holes: Vec<HoleRow>,
    /// Why it is not known how many bytes no member takes, where it is not.
    pub unknown: Option<Unknown>,
}

/// Why it is not known how many bytes of a type no member takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unknown {
    /// It has a virtual base, whose place is found at run time.
    VirtualBase,
    /// A base of it has one, and without that is smaller than it is by itself.
    BaseOfVirtual,
    /// The place of a member or a base is found at run time.
    Place,
    /// Its own size is not known.
    Size,
    /// It is a variant of an enumeration, and what it leaves is other variants'.
    Variant,
}

/// A member of a type, or one of its bases.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRow {
    /// Empty for an anonymous one.
    pub name: String,
    /// Its type as the language writes it.
    pub type_name: String,
    /// The same with its name in its place: `int (*compare)(int, int)`.
    pub declaration: String,
    /// Bytes from the beginning of the type; `None` where it is known only at run time, as that of a virtual base.
    pub offset: Option<u64>,
    /// Bytes; `None` where its type is only declared.
    pub size: Option<u64>,
    /// For a bit-field: bits from the beginning of the byte at `offset`, which is that of its storage unit, and how many.
    /// Bits are counted from the least significant one, or where the most significant byte comes first, from the most.
    pub bits: Option<(u64, u64)>,
    /// What else it is: `base`, `virtual base`, `vptr`, `variant …`.
    pub note: Option<String>,
    /// Members of an anonymous struct or union, of a variant: with offsets from the beginning of the whole type.
    pub members: Vec<MemberRow>,
}

/// What no member takes, between two members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoleRow {
    /// Where it begins: bits from the beginning of the type.
    pub start: u64,
    /// Of its first whole byte; if it has none, of the byte that its bits are in.
    pub offset: u64,
    /// Whole bytes.
    pub size: u64,
    /// Bits beside them.
    pub bits: u64,
}
