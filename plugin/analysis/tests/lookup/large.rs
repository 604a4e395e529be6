//! Programs as large as users have them.

use crate::search::{look_up, text};
use crate::symbolizer::check;
use std::path::Path;

/// Addresses of a program's code as if by chance, the same each time.
fn by_chance(program: &Path, count: usize) -> Vec<u64> {
    let text = text(program);
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text.start + state % (text.end - text.start)
    };
    (0..count).map(|_| next()).collect()
}

/// This test itself, which has all that it links, and the programs that MP_SCAN_PROGRAMS names, with colons between.
#[test]
fn ten_thousand_addresses_have_the_frames_that_llvm_symbolizer_shows() {
    let mut programs = vec![std::env::current_exe().unwrap()];
    let named = std::env::var_os("MP_SCAN_PROGRAMS").unwrap_or_default();
    programs.extend(std::env::split_paths(&named).filter(|path| !path.as_os_str().is_empty()));
    for program in &programs {
        let addresses = by_chance(program, 10_000);
        let (rows, skipped) = look_up(program, &addresses, 4 << 20);
        assert_eq!(skipped, []);
        let inlined = check(program, &addresses, &rows);
        assert!(inlined > 1000, "{} has {inlined} addresses with inlined calls", program.display());
    }
}
