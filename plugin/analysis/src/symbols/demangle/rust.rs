//! Names of Rust, in both manglings.

use std::fmt::Write;

/// Writes the name behind what is in `out`, without hashes and without what compilers append to the names of copies, as
/// `nm -C` does. If it is none of Rust, `out` stays as it is.
pub(super) fn demangle(mangled: &[u8], out: &mut Vec<u8>) -> bool {
    let Ok(mangled) = std::str::from_utf8(mangled) else { return false };
    let Some(plain) = v0(mangled).or_else(|| legacy(mangled)) else { return false };
    let Ok(name) = rustc_demangle::try_demangle(plain) else { return false };
    let before = out.len();
    let mut text = Text(out);
    let written = write!(text, "{name:#}").is_ok();
    if !written {
        out.truncate(before);
    }
    written
}

/// A v0 name without a suffix.
fn v0(mangled: &str) -> Option<&str> {
    let plain = mangled.split_once('.').map_or(mangled, |(plain, _)| plain);
    plain.starts_with("_R").then_some(plain)
}

/// A legacy name without a suffix. It looks as one of C++ does, but for the hash at its end.
fn legacy(mangled: &str) -> Option<&str> {
    let path = mangled.strip_prefix("_ZN")?;
    let end = match path.find("E.") {
        Some(end) => end,
        None => path.strip_suffix('E')?.len(),
    };
    let hash = path[..end].get(end.checked_sub(16)?..)?;
    let before = &path[..end - 16];
    let mut digits = 0u32;
    for digit in hash.bytes() {
        digits |= match digit {
            b'0'..=b'9' => 1 << (digit - b'0'),
            b'a'..=b'f' => 1 << (digit - b'a' + 10),
            _ => return None,
        };
    }
    // A hash has many digits; a name of C++ that ends like one does not.
    (before.ends_with("17h") && digits.count_ones() >= 5).then(|| &mangled[.."_ZN".len() + end + 1])
}

/// Of a legacy name, what comes before its hash: that tells how it is shown. `None` if it is none that can be demangled.
pub(super) fn without_hash(mangled: &[u8]) -> Option<&[u8]> {
    let plain = legacy(std::str::from_utf8(mangled).ok()?).filter(|plain| plain.is_ascii())?.as_bytes();
    let hash = plain.len() - "17h0123456789abcdefE".len();
    let mut at = "_ZN".len();
    while at < hash {
        let mut length = 0usize;
        let digits = at;
        while let Some(digit) = plain.get(at).filter(|byte| byte.is_ascii_digit()) {
            length = length.checked_mul(10)?.checked_add(usize::from(digit - b'0'))?;
            at += 1;
        }
        at = at.checked_add(length).filter(|_| at > digits)?;
    }
    (at == hash).then(|| &mangled[..hash])
}

/// Text that is written to bytes.
struct Text<'a>(&'a mut Vec<u8>);

impl Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}
