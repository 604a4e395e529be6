//! Bytes as rows of sixteen, with the matched ones marked.

use crate::text::Style;
use analysis::Context;
use std::fmt::Write as _;

const ROW: u64 = 16;

/// Rows of `context`, each starting at a multiple of sixteen, in which the bytes of `start..end` are marked: in colour
/// where there is some, and between brackets everywhere.
pub fn hexdump(context: &Context, start: u64, end: u64, style: &Style) -> String {
    let mut text = String::new();
    let last = context.start + context.bytes.len() as u64;
    let mut row = context.start / ROW * ROW;
    while row < last {
        let _ = write!(text, "    {row:#018x} ");
        let mut letters = String::new();
        for address in row..row + ROW {
            let marked = start <= address && address < end;
            // The bracket before a byte: it opens at the first marked byte of a row, and closes after the last.
            let opens = marked && (address == start || address == row);
            let closes = !marked && address == end && address != row;
            text.push(if opens {
                '['
            } else if closes {
                ']'
            } else {
                ' '
            });
            match address.checked_sub(context.start).and_then(|index| context.bytes.get(index as usize)) {
                Some(byte) if marked => {
                    text.push_str(&style.mark(&format!("{byte:02x}")));
                    letters.push_str(&style.mark(&printable(*byte).to_string()));
                }
                Some(byte) => {
                    let _ = write!(text, "{byte:02x}");
                    letters.push(printable(*byte));
                }
                None => {
                    text.push_str("  ");
                    letters.push(' ');
                }
            }
        }
        let ends_marked = start < row + ROW && row + ROW <= end;
        text.push(if ends_marked { ']' } else { ' ' });
        let _ = writeln!(text, " {}", letters.trim_end());
        row += ROW;
    }
    text
}

fn printable(byte: u8) -> char {
    if byte.is_ascii_graphic() || byte == b' ' { char::from(byte) } else { '.' }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dump(start: u64, bytes: &[u8], from: u64, to: u64) -> String {
        hexdump(&Context { start, bytes: bytes.to_vec() }, from, to, &Style::default())
    }

    #[test]
    fn the_match_stands_between_brackets_in_every_row() {
        insta::assert_snapshot!(dump(0x1004, b"before needle after", 0x100b, 0x1011));
    }

    #[test]
    fn a_match_of_several_rows_is_bracketed_in_each() {
        insta::assert_snapshot!(dump(0x1008, &[0x41; 40], 0x100c, 0x1024));
    }

    #[test]
    fn a_match_that_ends_with_its_row_is_closed_there() {
        insta::assert_snapshot!(dump(0x1000, b"0123456789abcdefnext", 0x100c, 0x1010));
    }
}
