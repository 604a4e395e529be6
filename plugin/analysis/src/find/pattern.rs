//! What a user looks for, and how it is written.

use super::needle::Needle;
use serde::{Deserialize, Serialize};
use target::{ByteOrder, Layout};

/// What `find` looks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Pattern {
    /// These bytes; with `ignore_case`, ASCII letters of either case.
    String(Vec<u8>),
    /// This text in UTF-16, in the target's byte order.
    Utf16(String),
    /// Bytes, of which only the bits in `mask` count. Both have the same length.
    Bytes { value: Vec<u8>, mask: Vec<u8> },
    /// A regular expression over bytes, Unicode off.
    Regex(String),
    /// An integer of `size` bytes: 1, 2, 4 or 8.
    Int { value: i128, size: u8 },
    /// A floating-point number of `size` bytes: 4 or 8.
    Float { value: f64, size: u8 },
    /// A pointer to exactly this address.
    Pointer(u64),
    /// A pointer into this half-open range.
    PointerRange { start: u64, end: u64 },
}

/// Why a pattern cannot be looked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    #[error("pattern is empty")]
    Empty,
    #[error("'{0}' is not a hex byte")]
    NotHex(String),
    #[error("{count} hex digit{} not whole bytes: '{text}'", if *count == 1 { " is" } else { "s are" })]
    OddDigits { count: usize, text: String },
    #[error("'{0}' matches any bytes: give at least one hex digit")]
    Anything(String),
    #[error("regex '{regex}': {reason}")]
    Regex { regex: String, reason: String },
    #[error(
        "regex '{0}' matches the empty string, so it would match everywhere: use + for *, or say what has to be there"
    )]
    EmptyMatch(String),
    #[error("'{0}' is not an integer")]
    NotInt(String),
    #[error("'{0}' is not a number")]
    NotFloat(String),
    #[error("NaN has no single bit pattern: search for its bytes with --bytes")]
    Nan,
    #[error("'{0}' is not a size for an integer: give 1, 2, 4 or 8")]
    IntSize(String),
    #[error("'{0}' is not a size for a floating-point number: give 4 or 8")]
    FloatSize(String),
    #[error("{value} does not fit in {size} {}", if *.size == 1 { "byte" } else { "bytes" })]
    TooLarge { value: i128, size: u8 },
    #[error("{value} is too large for a floating-point number of 4 bytes")]
    FloatTooLarge { value: String },
    #[error("{address:#x} does not fit in a pointer of {size} bytes")]
    PointerTooLarge { address: u64, size: u8 },
    #[error("range {start:#x}..{end:#x} is empty or backwards")]
    Range { start: u64, end: u64 },
    #[error("--align is 0: give at least 1")]
    Align,
    #[error("--max-length is {given}: give 1 to {most}")]
    MaxLength { given: u32, most: u32 },
    #[error("{given} patterns are too many: give at most {most}")]
    TooMany { given: usize, most: usize },
    #[error("{given} regexes are too many: give at most {most}, or join them with |")]
    TooManyRegexes { given: usize, most: usize },
    #[error("the regexes are too large together: compiled, they would take more than {most} MiB")]
    RegexesTooLarge { most: usize },
    #[error("--min is {given}: give 1 to {most}")]
    Min { given: u32, most: u32 },
}

impl Pattern {
    /// Text, as its bytes.
    ///
    /// # Errors
    /// If it is empty.
    pub fn string(text: impl Into<Vec<u8>>) -> Result<Self, PatternError> {
        let text = text.into();
        if text.is_empty() { Err(PatternError::Empty) } else { Ok(Self::String(text)) }
    }

    /// Text that is looked for in UTF-16.
    ///
    /// # Errors
    /// If it is empty.
    pub fn utf16(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() { Err(PatternError::Empty) } else { Ok(Self::Utf16(text.to_owned())) }
    }

    /// Bytes in hex: `de ad ?? e?`, `deadbeef` or `\xde\xad`; `?` stands for any digit. A word of more than two digits
    /// is several bytes; a single `?` is a whole one. `0x` before a word changes nothing.
    ///
    /// # Errors
    /// If it is empty, has anything but hex digits and `?`, has an odd number of digits in a word, or has nothing
    /// but `?`.
    pub fn bytes(text: &str) -> Result<Self, PatternError> {
        let spaced = text.replace("\\x", " ").replace(',', " ");
        let (mut value, mut mask) = (Vec::new(), Vec::new());
        for word in spaced.split_whitespace() {
            let digits = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")).unwrap_or(word);
            let digits: Vec<(u8, u8)> = digits
                .chars()
                .map(|digit| match digit {
                    '?' => Some((0, 0)),
                    _ => digit.to_digit(16).map(|digit| (digit as u8, 0xf)),
                })
                .collect::<Option<_>>()
                .filter(|digits: &Vec<_>| !digits.is_empty())
                .ok_or_else(|| PatternError::NotHex(word.to_owned()))?;
            match digits[..] {
                // A single `?` is any byte.
                [(_, 0)] => {
                    value.push(0);
                    mask.push(0);
                }
                _ if digits.len() % 2 == 1 => {
                    return Err(PatternError::OddDigits { count: digits.len(), text: word.to_owned() });
                }
                _ => {
                    for pair in digits.chunks_exact(2) {
                        value.push(pair[0].0 << 4 | pair[1].0);
                        mask.push(pair[0].1 << 4 | pair[1].1);
                    }
                }
            }
        }
        if value.is_empty() {
            return Err(PatternError::Empty);
        }
        if mask.iter().all(|bits| *bits == 0) {
            return Err(PatternError::Anything(text.trim().to_owned()));
        }
        Ok(Self::Bytes { value, mask })
    }

    /// A regular expression. Whether it compiles is checked here, so that a worker need not tell.
    ///
    /// # Errors
    /// If it is empty, does not compile, or can match the empty string.
    pub fn regex(regex: &str, ignore_case: bool) -> Result<Self, PatternError> {
        super::regex::check(regex, ignore_case)?;
        Ok(Self::Regex(regex.to_owned()))
    }

    /// `N` or `N:SIZE`: a decimal, `0x`, `0o` or `0b` number, negative or not, of 4 bytes or as many as SIZE says.
    ///
    /// # Errors
    /// If it is not a number, SIZE is not 1, 2, 4 or 8, or the number does not fit, be it signed or unsigned.
    pub fn int(text: &str) -> Result<Self, PatternError> {
        let (number, size) = text.split_once(':').map_or((text, None), |(number, size)| (number, Some(size)));
        let size = match size.map(str::trim) {
            None => 4,
            Some("1") => 1,
            Some("2") => 2,
            Some("4") => 4,
            Some("8") => 8,
            Some(other) => return Err(PatternError::IntSize(other.to_owned())),
        };
        let number = number.trim();
        if number.is_empty() {
            return Err(PatternError::Empty);
        }
        let value = parse_int(number).ok_or_else(|| PatternError::NotInt(number.to_owned()))?;
        let bits = u32::from(size) * 8;
        if value >= 1 << bits || value < -(1 << (bits - 1)) {
            return Err(PatternError::TooLarge { value, size });
        }
        Ok(Self::Int { value, size })
    }

    /// `X` or `X:SIZE`: a number such as `1.5` or `-2e10`, of 8 bytes or as many as SIZE says. Of 4 bytes, the nearest.
    ///
    /// # Errors
    /// If it is not a number, is NaN, SIZE is not 4 or 8, or the number is too large for 4 bytes.
    pub fn float(text: &str) -> Result<Self, PatternError> {
        let (number, size) = text.split_once(':').map_or((text, None), |(number, size)| (number, Some(size)));
        let size = match size.map(str::trim) {
            Some("4") => 4,
            None | Some("8") => 8,
            Some(other) => return Err(PatternError::FloatSize(other.to_owned())),
        };
        let number = number.trim();
        if number.is_empty() {
            return Err(PatternError::Empty);
        }
        let value: f64 = number.parse().map_err(|_| PatternError::NotFloat(number.to_owned()))?;
        if value.is_nan() {
            return Err(PatternError::Nan);
        }
        if size == 4 && value.is_finite() && !(value as f32).is_finite() {
            return Err(PatternError::FloatTooLarge { value: number.to_owned() });
        }
        Ok(Self::Float { value, size })
    }

    /// A pointer into `start..end`.
    ///
    /// # Errors
    /// If the range is empty or backwards.
    pub fn pointer_range(start: u64, end: u64) -> Result<Self, PatternError> {
        if start < end { Ok(Self::PointerRange { start, end }) } else { Err(PatternError::Range { start, end }) }
    }

    /// Where it may lie unless `--align` says otherwise: anywhere, or for pointers at multiples of their size.
    pub(super) fn default_align(&self, layout: Layout) -> u64 {
        match self {
            Self::Pointer(_) | Self::PointerRange { .. } => u64::from(layout.pointer_size),
            _ => 1,
        }
    }

    /// Whether it fits a target of this layout.
    pub(super) fn check(&self, layout: Layout) -> Result<(), PatternError> {
        let size = layout.pointer_size;
        let fits = |address: u64| size >= 8 || address >> (u32::from(size) * 8) == 0;
        match self {
            Self::Pointer(address) if !fits(*address) => Err(PatternError::PointerTooLarge { address: *address, size }),
            Self::PointerRange { start, end } if start >= end => Err(PatternError::Range { start: *start, end: *end }),
            Self::PointerRange { end, .. } if !fits(*end - 1) => {
                Err(PatternError::PointerTooLarge { address: *end - 1, size })
            }
            _ => Ok(()),
        }
    }

    /// The bytes that it stands for, if these are of one length.
    pub(super) fn needle(&self, layout: Layout, ignore_case: bool) -> Option<Needle> {
        let needle = match self {
            Self::String(bytes) => Needle::text(bytes.clone(), ignore_case, 1, 0),
            Self::Utf16(text) => {
                let units = text.encode_utf16();
                let bytes = units.flat_map(|unit| layout.bytes(u64::from(unit), 2)).collect();
                let low = usize::from(layout.byte_order == ByteOrder::Big);
                Needle::text(bytes, ignore_case, 2, low)
            }
            Self::Bytes { value, mask } => Needle::masked(value.clone(), mask.clone()),
            Self::Int { value, size } => Needle::exact(layout.bytes(*value as u64, usize::from(*size))),
            Self::Float { value, size: 4 } => Needle::exact(layout.bytes(u64::from((*value as f32).to_bits()), 4)),
            Self::Float { value, .. } => Needle::exact(layout.bytes(value.to_bits(), 8)),
            Self::Pointer(address) => Needle::exact(layout.bytes(*address, usize::from(layout.pointer_size))),
            Self::PointerRange { .. } | Self::Regex(_) => return None,
        };
        Some(needle)
    }
}

/// A number as people write it: sign, `0x`, `0o`, `0b`, and `_` between digits.
fn parse_int(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.get(..2) {
        Some("0x") => (16, &lower[2..]),
        Some("0o") => (8, &lower[2..]),
        Some("0b") => (2, &lower[2..]),
        _ => (10, &lower[..]),
    };
    if !digits.starts_with(|first: char| first.is_digit(radix)) {
        return None;
    }
    let value = i128::from_str_radix(&digits.replace('_', ""), radix).ok()?;
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Result<(Vec<u8>, Vec<u8>), String> {
        match Pattern::bytes(text) {
            Ok(Pattern::Bytes { value, mask }) => Ok((value, mask)),
            Ok(other) => Err(format!("{other:?}")),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn bytes_in_all_spellings() {
        let exact = Ok((vec![0xde, 0xad, 0xbe, 0xef], vec![0xff; 4]));
        for text in ["de ad be ef", "deadbeef", "DEAD beef", "\\xde\\xad\\xbe\\xef", "0xdeadbeef", "de,ad, be ef "] {
            assert_eq!(bytes(text), exact, "{text}");
        }
        assert_eq!(bytes("de ad ?? e?"), Ok((vec![0xde, 0xad, 0, 0xe0], vec![0xff, 0xff, 0, 0xf0])));
        assert_eq!(bytes("?f ? 07"), Ok((vec![0x0f, 0, 7], vec![0x0f, 0, 0xff])));
    }

    #[test]
    fn bytes_that_are_none() {
        assert_eq!(bytes(""), Err("pattern is empty".to_owned()));
        assert_eq!(bytes("  "), Err("pattern is empty".to_owned()));
        assert_eq!(bytes("de zz"), Err("'zz' is not a hex byte".to_owned()));
        assert_eq!(bytes("0x"), Err("'0x' is not a hex byte".to_owned()));
        assert_eq!(bytes("é"), Err("'é' is not a hex byte".to_owned()));
        assert_eq!(bytes("dea"), Err("3 hex digits are not whole bytes: 'dea'".to_owned()));
        assert_eq!(bytes("?? ??"), Err("'?? ??' matches any bytes: give at least one hex digit".to_owned()));
    }

    #[test]
    fn integers() {
        let int = |text| Pattern::int(text).map_err(|error| error.to_string());
        assert_eq!(int("42"), Ok(Pattern::Int { value: 42, size: 4 }));
        assert_eq!(int("-1:8"), Ok(Pattern::Int { value: -1, size: 8 }));
        assert_eq!(int("0xffff_ffff"), Ok(Pattern::Int { value: 0xffff_ffff, size: 4 }));
        assert_eq!(int("-128:1"), Ok(Pattern::Int { value: -128, size: 1 }));
        assert_eq!(int("255:1"), Ok(Pattern::Int { value: 255, size: 1 }));
        assert_eq!(int("256:1"), Err("256 does not fit in 1 byte".to_owned()));
        assert_eq!(int("-129:1"), Err("-129 does not fit in 1 byte".to_owned()));
        assert_eq!(int("4294967296"), Err("4294967296 does not fit in 4 bytes".to_owned()));
        assert_eq!(int("18446744073709551615:8"), Ok(Pattern::Int { value: u64::MAX.into(), size: 8 }));
        assert_eq!(int("18446744073709551616:8"), Err("18446744073709551616 does not fit in 8 bytes".to_owned()));
        assert_eq!(int("12x"), Err("'12x' is not an integer".to_owned()));
        assert_eq!(int("--1"), Err("'--1' is not an integer".to_owned()));
        assert_eq!(int("1:3"), Err("'3' is not a size for an integer: give 1, 2, 4 or 8".to_owned()));
        assert_eq!(int(":4"), Err("pattern is empty".to_owned()));
        assert_eq!(int("0xé"), Err("'0xé' is not an integer".to_owned()));
    }

    #[test]
    fn floats() {
        let float = |text| Pattern::float(text).map_err(|error| error.to_string());
        assert_eq!(float("1.5"), Ok(Pattern::Float { value: 1.5, size: 8 }));
        assert_eq!(float("-2e10:4"), Ok(Pattern::Float { value: -2e10, size: 4 }));
        assert_eq!(float("1e300:4"), Err("1e300 is too large for a floating-point number of 4 bytes".to_owned()));
        assert_eq!(float("one"), Err("'one' is not a number".to_owned()));
        assert_eq!(float("1:2"), Err("'2' is not a size for a floating-point number: give 4 or 8".to_owned()));
        assert_eq!(float("nan"), Err("NaN has no single bit pattern: search for its bytes with --bytes".to_owned()));
        assert_eq!(float(""), Err("pattern is empty".to_owned()));
    }

    #[test]
    fn texts_and_ranges() {
        assert_eq!(Pattern::string(""), Err(PatternError::Empty));
        assert_eq!(Pattern::utf16(""), Err(PatternError::Empty));
        let backwards = Pattern::pointer_range(0x20, 0x10).map_err(|error| error.to_string());
        assert_eq!(backwards, Err("range 0x20..0x10 is empty or backwards".to_owned()));
        let narrow = Layout { pointer_size: 4, byte_order: ByteOrder::Little };
        let wide = Pattern::Pointer(1 << 32).check(narrow).map_err(|error| error.to_string());
        assert_eq!(wide, Err("0x100000000 does not fit in a pointer of 4 bytes".to_owned()));
        assert_eq!(Pattern::PointerRange { start: 0, end: 1 << 32 }.check(narrow), Ok(()));
    }

    #[test]
    fn regexes() {
        let regex = |text| Pattern::regex(text, false).map_err(|error| error.to_string());
        assert!(regex("a+b").is_ok());
        assert!(regex(r"(?-u:\xff)\x00").is_ok());
        assert_eq!(regex(""), Err("pattern is empty".to_owned()));
        assert_eq!(
            regex("a*"),
            Err("regex 'a*' matches the empty string, so it would match everywhere: use + for *, or say what has to \
                 be there"
                .to_owned())
        );
        assert!(regex("^").is_err() && regex(r"\b").is_err());
        assert_eq!(regex("a("), Err("regex 'a(': unclosed group".to_owned()));
        assert!(!regex("[z-a]\n").unwrap_err().contains('\n'));
        assert!(regex("(a{1000}){1000}").unwrap_err().contains("too"), "{:?}", regex("(a{1000}){1000}"));
    }
}
