//! What `find`, `strings` and `map` show.

use super::AllocationRow;
use serde::{Deserialize, Serialize};
use target::{AddressRange, Permissions};

/// A place where `find` or `strings` found something.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Match {
    /// 0 for what is in a register.
    pub address: u64,
    /// The register of its thread that it is in; `None` for what lies in memory.
    pub register: Option<String>,
    /// Length in bytes.
    pub size: u64,
    /// Index of the pattern, in the order of the command line.
    pub pattern: u32,
    /// The number found, for patterns that look for numbers.
    pub value: Option<Value>,
    pub content: Option<Content>,
    /// The name of its region: its file, or what Linux or we call it. `None` for nameless anonymous memory.
    pub region: Option<String>,
    pub region_permissions: Permissions,
    /// The allocation that it lies in.
    pub allocation: Option<AllocationRow>,
    /// Nearest symbol at or below it, in its module.
    pub symbol: Option<SymbolOffset>,
    /// The debugger's index of the thread whose stack it lies on.
    pub thread: Option<u64>,
    /// The call of that thread whose part of the stack it lies in.
    pub frame: Option<StackFrame>,
    /// The bytes around it, where they were asked for.
    pub context: Option<Context>,
}

/// A call on the stack of a thread.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StackFrame {
    /// The debugger's number of it: 0 is the innermost, and what is inlined counts.
    pub index: u64,
    /// `None` if its name is not known.
    pub function: Option<String>,
}

/// A number that was found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Value {
    /// As signed as the pattern was written.
    Int(i128),
    Float(f64),
    Pointer(u64),
}

/// What a match's bytes are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    Bytes(Vec<u8>),
    /// UTF-8, with `\xNN` for what is not. `cut` if the string goes on after it.
    Text {
        text: String,
        cut: bool,
    },
}

/// A symbol and how far into it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SymbolOffset {
    /// Demangled where it was mangled.
    pub name: String,
    pub offset: u64,
}

/// Bytes around a match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    pub start: u64,
    pub bytes: Vec<u8>,
}

/// A row of `map`: a region, or all regions of a kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MappingRow {
    pub range: Option<AddressRange>,
    pub permissions: Option<Permissions>,
    /// Whether writes are shared with other processes.
    pub shared: bool,
    /// `code`, `data`, `heap`, `stack`, `anonymous`, `shared`, `file`, `reserved`, `special`, `unknown`.
    pub kind: String,
    pub name: Option<String>,
    /// How many regions it stands for, with `--summary`.
    pub count: Option<u64>,
    pub size: u64,
    pub resident: Option<u64>,
    pub swapped: Option<u64>,
    /// Shannon entropy of its bytes, bits a byte, 0 to 8.
    pub entropy: Option<f64>,
}
