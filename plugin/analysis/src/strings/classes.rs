//! Which bytes make up strings, in each encoding.

use super::runs::{pack, runs};
use super::{Encoding, MOST_STRING};
use crate::memory::Window;
use std::borrow::Cow;
use std::ops::ControlFlow;

/// As many bytes around a place decide whether a string begins there: one character.
pub(super) const LOOK: usize = 4;

/// A string, as indices into a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) start: usize,
    pub(super) end: usize,
    /// Whether it goes on.
    pub(super) cut: bool,
}

/// An encoding, for a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Class {
    encoding: Encoding,
    big: bool,
}

impl Class {
    /// `big`: whether the target's byte order is.
    pub(crate) fn new(encoding: Encoding, big: bool) -> Self {
        Self { encoding, big }
    }

    /// The text of a string in UTF-8, bytes for bytes where it is not UTF-16.
    pub(crate) fn text(self, bytes: &[u8]) -> Cow<'_, [u8]> {
        if self.encoding != Encoding::Utf16 {
            return Cow::Borrowed(bytes);
        }
        let (units, _) = bytes.as_chunks::<2>();
        let units =
            units.iter().map(|unit| if self.big { u16::from_be_bytes(*unit) } else { u16::from_le_bytes(*unit) });
        let text: String = char::decode_utf16(units).map(|char| char.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
        Cow::Owned(text.into_bytes())
    }

    /// Finds the strings of at least `min` characters that begin in the window's `starts`.
    pub(super) fn strings(
        self,
        window: &Window<'_>,
        min: usize,
        found: &mut dyn FnMut(Stretch) -> ControlFlow<u64>,
    ) -> ControlFlow<u64> {
        let (data, starts) = (window.data, &window.starts);
        // A run that begins before `starts` has been found already, or its beginning cannot be seen: either way it is
        // no concern of this window.
        match self.encoding {
            Encoding::Ascii => runs(
                data.len(),
                starts.end,
                min,
                |at| ascii(data, at),
                |start, end| {
                    if start < starts.start {
                        return ControlFlow::Continue(());
                    }
                    found(cut(start, end, 1))
                },
            ),
            Encoding::Utf16 => {
                let odd = (window.base % 2) as usize;
                let units = &data[odd.min(data.len())..];
                let big = self.big;
                let to = starts.end.saturating_sub(odd).div_ceil(2);
                runs(
                    units.len() / 2,
                    to,
                    min,
                    |at| utf16(units, at, big),
                    |start, end| {
                        let (start, end) = (odd + 2 * start, odd + 2 * end);
                        if start < starts.start {
                            return ControlFlow::Continue(());
                        }
                        found(cut(start, end, 2))
                    },
                )
            }
            Encoding::Utf8 => runs(
                data.len(),
                starts.end,
                min,
                |at| maybe_utf8(data, at),
                |start, end| {
                    if start >= starts.start && data[start..end].is_ascii() {
                        return found(cut(start, end, 1));
                    }
                    utf8_strings(&data[..end], start, starts.end, min, &mut |string| {
                        if string.start < starts.start { ControlFlow::Continue(()) } else { found(string) }
                    })
                },
            ),
        }
    }
}

fn cut(start: usize, end: usize, unit: usize) -> Stretch {
    let most = start + MOST_STRING / unit * unit;
    Stretch { start, end: end.min(most), cut: end > most }
}

fn is_ascii(byte: u8) -> bool {
    (byte.wrapping_sub(b' ') < 0x5f) | (byte == b'\t')
}

/// Calls `class` for each of 64 bytes from `at` on; those beyond the end are not of the class. Without branches, so that the
/// compiler can use vectors.
#[inline(always)]
fn bytes(data: &[u8], at: usize, class: impl Fn(u8) -> bool) -> u64 {
    let mut flags = [0u8; 64];
    match data.get(at..).and_then(|rest| rest.first_chunk::<64>()) {
        Some(chunk) => {
            for (flag, byte) in flags.iter_mut().zip(chunk) {
                *flag = class(*byte).into();
            }
        }
        None => {
            for (flag, byte) in flags.iter_mut().zip(data.get(at..).unwrap_or_default()) {
                *flag = class(*byte).into();
            }
        }
    }
    pack(&flags)
}

fn ascii(data: &[u8], at: usize) -> u64 {
    bytes(data, at, is_ascii)
}

/// Bytes that are part of what looks like a character in UTF-8, whether or not it is printable, and of printable ASCII.
fn maybe_utf8(data: &[u8], at: usize) -> u64 {
    // Beside the 64 bytes, those that a character can have before and after.
    const AROUND: usize = 3;
    let mut copy = [0u8; 64 + 2 * AROUND];
    let around = match at.checked_sub(AROUND).and_then(|from| data[from..].first_chunk()) {
        Some(around) => around,
        None => {
            for (index, byte) in copy.iter_mut().enumerate() {
                let at = (at + index).checked_sub(AROUND);
                *byte = at.and_then(|at| data.get(at)).copied().unwrap_or(0);
            }
            &copy
        }
    };
    let within = |byte: u8, first: u8, last: u8| byte.wrapping_sub(first) <= last - first;
    let more = |index: usize| within(around[index], 0x80, 0xbf);
    let leads = |index: usize| within(around[index], 0xc2, 0xf4);
    let mut flags = [0u8; 64];
    for (index, flag) in flags.iter_mut().enumerate() {
        let at = index + AROUND;
        let byte = around[at];
        // Of a character of two bytes, three, or four, this may be any.
        let first = leads(at) & more(at + 1) & ((byte < 0xe0) | (more(at + 2) & ((byte < 0xf0) | more(at + 3))));
        let one = around[at - 1];
        let second = leads(at - 1) & ((one < 0xe0) | (more(at + 1) & ((one < 0xf0) | more(at + 2))));
        let two = around[at - 2];
        let third = within(two, 0xe0, 0xf4) & more(at - 1) & ((two < 0xf0) | more(at + 1));
        let fourth = within(around[at - 3], 0xf0, 0xf4) & more(at - 1) & more(at - 2);
        *flag = (is_ascii(byte) | first | (more(at) & (second | third | fourth))).into();
    }
    pack(&flags)
}

fn utf16(units: &[u8], at: usize, big: bool) -> u64 {
    let mut flags = [0u8; 64];
    let rest = units.get(2 * at..).unwrap_or_default();
    let (rest, _) = rest.as_chunks::<2>();
    let rest = &rest[..rest.len().min(64)];
    if big {
        for (flag, unit) in flags.iter_mut().zip(rest) {
            *flag = is_utf16(u16::from_be_bytes(*unit)).into();
        }
    } else {
        for (flag, unit) in flags.iter_mut().zip(rest) {
            *flag = is_utf16(u16::from_le_bytes(*unit)).into();
        }
    }
    pack(&flags)
}

fn is_utf16(unit: u16) -> bool {
    let within = |first: u16, last: u16| unit.wrapping_sub(first) <= last - first;
    within(0x20, 0x7e)
        | (unit == 9)
        | within(0xa0, 0x24f)
        | within(0x370, 0x52f)
        | within(0x5d0, 0x5ea)
        | within(0x620, 0x64a)
        | within(0x1e00, 0x1eff)
        | within(0x2010, 0x2027)
        | within(0x2030, 0x205e)
        | within(0x20a0, 0x20bf)
        | within(0x3041, 0x30ff)
}

/// Whether a character of two bytes or more in UTF-8 counts as printable.
fn is_printable(char: char) -> bool {
    match u32::from(char) {
        ..0xa0 => false,
        0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0xfeff => false,
        0xe000..=0xf8ff | 0xfdd0..=0xfdef | 0xfff0..=0xffff => false,
        code => code < 0x4_0000 && code & 0xfffe != 0xfffe,
    }
}

/// The length of the printable character that `data` begins with; 0 if it begins with none.
pub(super) fn utf8_character(data: &[u8]) -> usize {
    let Some(&first) = data.first() else { return 0 };
    if is_ascii(first) {
        return 1;
    }
    let length = match first {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return 0,
    };
    let char =
        data.get(..length).and_then(|bytes| std::str::from_utf8(bytes).ok()).and_then(|text| text.chars().next());
    if char.is_some_and(is_printable) { length } else { 0 }
}

/// Finds the strings in `data` from `at` on that begin before `to`.
///
/// A character is recognised by its own bytes, so it does not matter where this begins, but for one character.
fn utf8_strings(
    data: &[u8],
    mut at: usize,
    to: usize,
    min: usize,
    found: &mut dyn FnMut(Stretch) -> ControlFlow<u64>,
) -> ControlFlow<u64> {
    while at < to && at < data.len() {
        let start = at;
        let (mut end, mut characters) = (start, 0);
        // Where a string that is cut ends.
        let mut most = start;
        loop {
            let ascii = data[end..].iter().take_while(|byte| is_ascii(**byte)).count();
            if end - start <= MOST_STRING {
                most = (end + ascii).min(start + MOST_STRING);
            }
            end += ascii;
            characters += ascii;
            let length = utf8_character(&data[end..]);
            if length == 0 {
                break;
            }
            end += length;
            characters += 1;
            if end - start <= MOST_STRING {
                most = end;
            }
        }
        if characters >= min {
            found(Stretch { start, end: most, cut: end > most })?;
        }
        // The byte at `end` begins no character.
        at = end + 1;
    }
    ControlFlow::Continue(())
}
