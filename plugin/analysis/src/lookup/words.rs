//! Addresses as logs and backtraces write them.

use super::plan::Given;

/// The address that a line of a log tells, in hex: as an offset in a module (`libfoo.so+0x123`, `libfoo.so(+0x123)`, and in
/// parentheses behind other words, as sanitizers write it), or else as the first number with `0x` or in brackets, or alone or at
/// the beginning without (`7f12a0c01234`). `None` if it tells none.
pub fn address_in(line: &str) -> Option<Given> {
    let words = || line.split_whitespace();
    let alone = words().nth(1).is_none();
    if let Some(given) = words().find_map(|word| in_module(word, alone)) {
        return Some(given);
    }
    let number = words().find_map(|word| {
        let word = word.trim_matches(|letter| "[](){}<>,:;".contains(letter));
        hex(word.strip_prefix("0x").or_else(|| word.strip_prefix("0X"))?)
    });
    // A short word of a longer line may be no number, though its letters are digits.
    let bare = || words().next().filter(|word| alone || word.len() >= 8).and_then(hex);
    number.or_else(bare).map(Given::Address)
}

/// `MODULE+0xOFFSET` or `MODULE(+0xOFFSET)`, either of them in parentheses.
pub fn in_module(word: &str, alone: bool) -> Option<Given> {
    let (name, offset) = word.rsplit_once('+')?;
    let offset = hex(offset.strip_prefix("0x")?.trim_end_matches(')'))?;
    let name = match name.strip_suffix('(') {
        Some(name) => name,
        None => name.trim_start_matches('('),
    };
    // `prog(main+0x12)` is an offset in a function.
    let is_module = !name.is_empty() && !name.contains('(') && (alone || name.contains(['/', '.']));
    is_module.then(|| Given::In(name.into(), offset))
}

fn hex(digits: &str) -> Option<u64> {
    let plain = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    u64::from_str_radix(digits, 16).ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_logs_and_backtraces_write_them() {
        let at = |address| Some(Given::Address(address));
        let within = |name: &str, address| Some(Given::In(name.into(), address));
        for (line, expected) in [
            ("0x7f12a0c01234", at(0x7f12_a0c0_1234)),
            ("7f12a0c01234", at(0x7f12_a0c0_1234)),
            ("  dead ", at(0xdead)),
            ("0xDEAD: segfault", at(0xdead)),
            ("ip 0x401136 in prog", at(0x40_1136)),
            ("7f12a0c01234 T main", at(0x7f12_a0c0_1234)),
            ("libfoo.so+0x123", within("libfoo.so", 0x123)),
            ("libfoo.so(+0x123)", within("libfoo.so", 0x123)),
            ("/lib/libc.so.6(+0x29d90) [0x7f0000029d90]", within("/lib/libc.so.6", 0x29d90)),
            ("./prog(main+0x1b) [0x55500000111b]", at(0x5550_0000_111b)),
            ("    #1 0x55d0 in f (/usr/bin/prog+0x11d0) (BuildId: 12ab)", within("/usr/bin/prog", 0x11d0)),
            ("prog+0x10", within("prog", 0x10)),
            ("main+0x10 was called", None),
            ("a bad line", None),
            ("", None),
            ("+0x10", None),
            ("0x", None),
            ("0x+12", None),
            ("0x12345678123456789", None),
        ] {
            assert_eq!(address_in(line), expected, "{line}");
        }
    }
}
