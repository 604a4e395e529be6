//! Symbols' names as their languages write them.

mod itanium;
mod rust;
#[cfg(test)]
mod tests;

use itanium::Itanium;

/// Demangles names of C++ (Itanium) and Rust (both manglings), one after another; others are left as they are. What it writes is what
/// `nm -C` shows.
#[derive(Debug, Default)]
pub struct Demangler {
    itanium: Itanium,
}

impl Demangler {
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes the name behind what is in `out`. Returns whether it was mangled; if not, `out` stays as it is.
    ///
    /// A version (`@GLIBC_2.2.5`) stays behind the name, and so do dots and dollars before it.
    pub fn demangle(&mut self, name: &[u8], out: &mut Vec<u8>) -> bool {
        let marks = name.iter().take_while(|byte| matches!(byte, b'.' | b'$')).count();
        let (marks, rest) = name.split_at(marks);
        if !matches!(rest, [b'_', b'Z' | b'R', ..]) {
            return false;
        }
        let (mangled, version) = rest.split_at(memchr::memchr(b'@', rest).unwrap_or(rest.len()));
        let before = out.len();
        out.extend_from_slice(marks);
        if !(rust::demangle(mangled, out) || self.itanium.demangle(mangled, out)) {
            out.truncate(before);
            return false;
        }
        out.extend_from_slice(version);
        true
    }
}

/// What names of C++ are written with that is not in their mangled forms, for the test of whoever relies on it.
#[cfg(test)]
pub(super) use itanium::written as written_by_cpp;

/// A symbol's name as its language writes it, without a version; `\xNN` for what is not UTF-8.
pub fn demangled(name: impl AsRef<[u8]>) -> String {
    let plain = without_version(name.as_ref());
    let mut text = Vec::new();
    if Demangler::new().demangle(plain, &mut text) { shown(&text) } else { shown(plain) }
}

/// What of a name tells how it is shown, and whether that is not all of it: the hash at the end of one of Rust is not, nor what
/// compilers append to that. Names that have the same in common are shown alike.
pub fn telling(name: &[u8]) -> (&[u8], bool) {
    let marks = name.iter().take_while(|byte| matches!(byte, b'.' | b'$')).count();
    match rust::without_hash(&name[marks..]) {
        Some(stem) => (&name[..marks + stem.len()], true),
        None => (name, false),
    }
}

/// A name without its version. One that begins with an `@` has none.
pub fn without_version(name: &[u8]) -> &[u8] {
    match memchr::memchr(b'@', name) {
        Some(at) if at > 0 => &name[..at],
        _ => name,
    }
}

/// A name as text, with `\xNN` for what is not UTF-8.
pub fn shown(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}
