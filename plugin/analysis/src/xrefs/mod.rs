//! `xrefs`: what refers to a function or a variable, in the code and the data of all modules.
//!
//! ```text
//! targets ──▶ for each module: what leads to them (the addresses themselves, GOT slots, PLT stubs, copies) ──▶ scan
//! ```
//!
//! Code is searched for the bytes of an address, as fast as memory is read, and only where they are is it decoded: from
//! the beginning of the function on, so that what is found is an instruction and not something that looks like one.

mod boundaries;
mod candidates;
mod code;
mod elf;
mod instruction;
mod linkage;
mod pointers;
mod question;
mod relocations;
mod search;
mod stubs;

pub use boundaries::{Boundaries, Known, code_symbols};
pub use code::{Code, scan, sweep};
pub use elf::{Elf, Part};
pub use linkage::{Linkage, Way, names};
pub use pointers::{holds_pointers, relocated, words};
pub use question::{NamedSymbol, QuestionError, SymbolText, Targets};
pub use search::{Found, OtherMachine, Xrefs, XrefsMerge, XrefsOptions, XrefsPartial, XrefsScanner};
pub use stubs::{Stub, stubs};

use serde::{Deserialize, Serialize};
use target::AddressRange;

/// What a reference is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// A direct call, or one through the GOT.
    Call,
    /// A jump of any kind, conditional ones and tail calls too.
    Jump,
    /// Code that has the address, or reads or writes there.
    Mention,
    /// Data that holds the address once its module is loaded.
    Pointer,
}

impl Kind {
    /// `call`, `jump`, `mention`, `pointer`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Jump => "jump",
            Self::Mention => "mention",
            Self::Pointer => "pointer",
        }
    }
}

/// Some kinds of references.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kinds(u8);

impl Kinds {
    pub const ALL: Self = Self(0xf);
    /// Those that instructions are.
    pub const CODE: Self = Self(0x7);

    pub const fn only(kind: Kind) -> Self {
        Self(1 << kind as u8)
    }

    pub const fn has(self, kind: Kind) -> bool {
        self.0 & 1 << kind as u8 != 0
    }

    /// Whether instructions may be of these kinds.
    pub const fn has_code(self) -> bool {
        self.0 & Self::CODE.0 != 0
    }
}

/// What a reference goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Through {
    /// Nothing: it holds the address itself.
    Direct,
    /// A stub of the procedure linkage table.
    Plt,
    /// A slot of the global offset table.
    Got,
}

/// A place that refers to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Reference {
    /// Where the instruction or the pointer begins, in its file's own addresses.
    pub address: u64,
    pub kind: Kind,
    pub through: Through,
    /// Index of the target.
    pub target: u32,
}

/// What references are looked for to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// Addresses of a module, in its file's own terms: a reference to any of them counts.
    Place { module: usize, range: AddressRange },
    /// What each thread has of its own of a module, counted from the beginning of that.
    ThreadLocal { module: usize, range: AddressRange },
    /// A dynamic symbol that no module defines.
    Outside(#[serde(with = "serde_bytes")] Vec<u8>),
}

impl Target {
    /// Its addresses; those of a symbol that is elsewhere count from its beginning.
    pub fn range(&self) -> AddressRange {
        match self {
            Self::Place { range, .. } | Self::ThreadLocal { range, .. } => *range,
            Self::Outside(_) => AddressRange { start: 0, end: 1 },
        }
    }

    /// Whether it lies in the module with that number.
    pub fn is_in(&self, number: usize) -> bool {
        matches!(self, Self::Place { module, .. } if *module == number)
    }
}

/// A target and the dynamic symbols in it, by which other modules refer to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    pub target: Target,
    pub names: Vec<Name>,
}

/// A dynamic symbol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    pub name: Vec<u8>,
    /// Its version, where it has one. A reference without a version, or to a symbol without one, is by name alone.
    pub version: Option<Vec<u8>>,
    pub address: u64,
}

fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
