//! Addresses as logs and backtraces write them.

use super::plan::Given;

/// The address that a line of a log tells, in hex: as the first word without `0x` of a line that ends with the file in parentheses,
/// as `perf script` writes it; as an offset in a module (`libfoo.so+0x123`, `libfoo.so(+0x123)`, and in parentheses behind other
/// words, as sanitizers write it); or else as the first number with `0x`, or behind `ip`, as the kernel writes it; or alone or at the
/// beginning without (`7f12a0c01234`, `[<ffffffff8104f45a>]`). `None` if it tells none.
pub fn address_in(line: &str) -> Option<Given> {
    if let Some(address) = of_perf(line) {
        return Some(Given::Address(address));
    }
    let words = || line.split_whitespace();
    let alone = words().nth(1).is_none();
    if let Some(given) = words().find_map(|word| in_module(word, alone)) {
        return Some(given);
    }
    let number = words().find_map(|word| {
        let word = bare(word);
        hex(word.strip_prefix("0x").or_else(|| word.strip_prefix("0X"))?)
    });
    let counter = || words().zip(words().skip(1)).find_map(|(word, next)| hex(next).filter(|_| word == "ip"));
    // A short word of a longer line may be no number, though its letters are digits.
    let first = || words().next().map(bare).filter(|word| alone || word.len() >= 8).and_then(hex);
    number.or_else(counter).or_else(first).map(Given::Address)
}

/// The address of a line of `perf script`: `1335 main+0x0 (/usr/bin/prog)`.
fn of_perf(line: &str) -> Option<u64> {
    let line = Some(line.trim()).filter(|line| line.ends_with(')'))?;
    let file = line.rfind(" (/").or_else(|| line.rfind(" (["))?;
    // A sanitizer's has the offset in the file there.
    let (address, _) = line.split_once(' ').filter(|_| in_module(&line[file + 1..], false).is_none())?;
    hex(address)
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

/// A word without what stands around it.
fn bare(word: &str) -> &str {
    word.trim_matches(['[', ']', '(', ')', '{', '}', '<', '>', ',', ':', ';'])
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
            // perf script
            ("            1335 main+0x0 (/path/x)", at(0x1335)),
            ("  7f12a0c01234 f(int, g<a>)+0x12 (/usr/lib/libfoo.so (deleted))", at(0x7f12_a0c0_1234)),
            ("  4a2b1c0 step.part.0+0x8 (/path/x)", at(0x4a2_b1c0)),
            ("  55d0c0de [unknown] (/path/x)", at(0x55d0_c0de)),
            ("ffffffff8104f45a native_write_msr+0x2a ([kernel.kallsyms])", at(0xffff_ffff_8104_f45a)),
            ("prog 4242 [000] 10.5: 1 cycles:", None),
            // backtrace(), gdb, LLDB
            ("./prog(step.part.0+0x12) [0x555500001131]", at(0x5555_0000_1131)),
            ("./prog(+0x1131) [0x555500001131]", within("./prog", 0x1131)),
            ("#1  0x0000555555555131 in f (p=0x7ffe12) at x.c:3", at(0x5555_5555_5131)),
            ("#0  f (p=0x7ffe12) at x.c:3", None),
            ("  * frame #0: 0x0000555555555131 prog`f(p=0x12) at x.c:3", at(0x5555_5555_5131)),
            // The kernel
            (
                "prog[42]: segfault at 0 ip 000055d0c0de1131 sp 00007ffe12345678 error 4 in prog[55d0c0de0000+1000]",
                at(0x55d0_c0de_1131),
            ),
            (" [<ffffffff8104f45a>] native_write_msr+0x2a/0x30", at(0xffff_ffff_8104_f45a)),
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
