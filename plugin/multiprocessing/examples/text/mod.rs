//! What a message says, to be printed.

/// The text of a message: its bytes as they are; or, if the other side is a Python program that used `send` and not
/// `send_bytes`, the string or the bytes that it has pickled.
pub fn text(message: &[u8]) -> String {
    String::from_utf8_lossy(pickled(message).unwrap_or(message)).into_owned()
}

/// What a pickle holds that is one string or one byte string and nothing else.
fn pickled(message: &[u8]) -> Option<&[u8]> {
    let [0x80, 2..=5, rest @ ..] = message else { return None };
    // From version 4 on a frame may come first, with its length in eight bytes.
    let rest = match rest {
        [0x95, rest @ ..] => rest.get(8..)?,
        rest => rest,
    };
    // SHORT_BINUNICODE and SHORT_BINBYTES, BINUNICODE and BINBYTES, BINUNICODE8 and BINBYTES8.
    let width = match rest.first()? {
        0x8c | b'C' => 1,
        b'X' | b'B' => 4,
        0x8d | 0x8e => 8,
        _ => return None,
    };
    let mut length = [0; 8];
    length[..width].copy_from_slice(rest.get(1..=width)?);
    let (text, end) = rest[1 + width..].split_at_checked(usize::try_from(u64::from_le_bytes(length)).ok()?)?;
    // MEMOIZE or BINPUT may follow, and STOP must.
    matches!(end, [b'.'] | [0x94, b'.'] | [b'q', _, b'.']).then_some(text)
}
