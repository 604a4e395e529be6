//! Names of C++, as the Itanium ABI mangles them: <https://itanium-cxx-abi.github.io/cxx-abi/abi.html#mangling>.
//!
//! The names are written as `nm -C` and `c++filt` write them, to the space. Of the names of real programs the crate for
//! this writes one in eight in another way (`{vtable(A)}`, `(unsigned int)9`), so that a regex that matches in one
//! would not in the other, and it takes three times as long.

mod node;
mod parse;
mod print;

use node::{Id, Node};
use parse::Parser;
use print::Printer;

/// Longer names are left as they are.
const LONGEST: usize = 1 << 16;

/// Demangles names, one after another, in memory that it keeps.
#[derive(Debug, Default)]
pub(super) struct Itanium {
    nodes: Vec<Node>,
    substitutions: Vec<Id>,
}

impl Itanium {
    /// Writes the name behind what is in `out`. If it is none of C++, `out` stays as it is.
    pub(super) fn demangle(&mut self, mangled: &[u8], out: &mut Vec<u8>) -> bool {
        if mangled.len() > LONGEST || !mangled.starts_with(b"_Z") {
            return false;
        }
        let Some(name) = Parser::new(mangled, &mut self.nodes, &mut self.substitutions).mangled_name() else {
            return false;
        };
        let before = out.len();
        let written = Printer::new(mangled, &self.nodes, out).name(name);
        if !written {
            out.truncate(before);
        }
        written
    }
}

/// The texts of types, operators and abbreviations.
#[cfg(test)]
pub(in crate::symbols) fn written() -> Vec<&'static str> {
    let letters = || b'a'..=b'z';
    let types = letters().flat_map(|letter| [node::builtin(letter), node::builtin_d(letter)]);
    let types = types.flatten().map(|builtin| builtin.name);
    let standard = letters().filter_map(node::standard).flat_map(|(short, full, member)| [short, full, member]);
    types.chain(standard).chain(node::OPERATORS.iter().map(|operator| operator.name)).collect()
}
