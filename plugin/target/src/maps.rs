//! Linux's list of mappings: /proc/PID/maps, and the flags in /proc/PID/smaps.
//!
//! Both are parsed as bytes: a file's name is chosen by whoever made it, and may hold anything but NUL.

use crate::{AddressRange, Backing, Permissions, Region};
use std::borrow::Cow;

/// One line of /proc/PID/maps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping<'a> {
    /// Never empty.
    pub range: AddressRange,
    pub permissions: Permissions,
    pub shared: bool,
    /// Where in the file it begins, in bytes.
    pub offset: u64,
    /// Major and minor number of the file's device; both 0 without a file.
    pub device: (u32, u32),
    /// 0 without a file.
    pub inode: u64,
    /// As the kernel shows it, but for `\012`, which is a line feed again. Empty if it has none.
    pub name: Cow<'a, [u8]>,
}

/// A line that is none of /proc/PID/maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is not that of a mapping")]
pub struct MapsError {
    /// Counted from 1.
    pub line: usize,
}

/// Parses the whole of a /proc/PID/maps.
///
/// # Errors
/// At the first line that is not a mapping's.
pub fn parse(text: &[u8]) -> Result<Vec<Mapping<'_>>, MapsError> {
    lines(text).map(|(line, text)| mapping(text).ok_or(MapsError { line })).collect()
}

/// The ranges in the text of a /proc/PID/smaps that are registered with a userfaultfd, in any of its modes.
pub fn userfault_ranges(smaps: &[u8]) -> Vec<AddressRange> {
    let mut found = Vec::new();
    let mut current = None;
    for (_, line) in lines(smaps) {
        if let Some(flags) = line.strip_prefix(b"VmFlags:") {
            let registered = flags.split(|byte| *byte == b' ').any(|flag| matches!(flag, b"um" | b"uw" | b"ui"));
            found.extend(current.filter(|_| registered));
        } else if let Some(mapping) = mapping(line) {
            current = Some(mapping.range);
        }
    }
    found
}

/// Joins contiguous mappings with the same permissions and backing. `userfault` are the ranges of
/// [`userfault_ranges`].
///
/// While the process runs, the kernel may show one mapping twice, or two that overlap: what an earlier one covers is
/// cut off the later one.
pub fn regions(mappings: &[Mapping<'_>], userfault: &[AddressRange]) -> Vec<Region> {
    let mut regions = Vec::<Region>::new();
    let mut last_file = (0, 0, 0);
    for mapping in mappings {
        let covered = regions.last().map_or(0, |region| region.range.end);
        let start = mapping.range.start.max(covered);
        if start >= mapping.range.end {
            continue;
        }
        let offset = mapping.offset.saturating_add(start - mapping.range.start);
        let region = Region {
            range: AddressRange::new(start, mapping.range.end),
            permissions: mapping.permissions,
            backing: backing(&mapping.name, offset, mapping.shared, mapping.inode != 0),
            shared: mapping.shared,
            userfault: touches(userfault, mapping.range),
        };
        let file = (mapping.device.0, mapping.device.1, mapping.inode);
        match regions.last_mut().filter(|last| last_file == file && last.continues_in(&region)) {
            Some(last) => last.range.end = region.range.end,
            None => regions.push(region),
        }
        last_file = file;
    }
    regions
}

/// Whether any of `ranges`, which are in address order, has something of `range`.
fn touches(ranges: &[AddressRange], range: AddressRange) -> bool {
    let before_end = ranges.partition_point(|other| other.start < range.end);
    ranges[..before_end].last().is_some_and(|other| other.end > range.start)
}

/// What the kernel's name for a mapping means. `offset` is where in the file it begins, `file` whether there is one.
pub fn backing(name: &[u8], offset: u64, shared: bool, file: bool) -> Backing {
    let (path, deleted) = match name.strip_suffix(b" (deleted)") {
        Some(path) => (path, true),
        None => (name, false),
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let is_shared_memory = [&b"/memfd:"[..], b"/SYSV", b"/dev/shm/"].iter().any(|prefix| path.starts_with(prefix));

    if name.is_empty() && !file {
        // Shared anonymous memory always has a file; the kernel calls it /dev/zero.
        Backing::Anonymous { name: None }
    } else if name == b"[heap]" {
        Backing::Heap
    } else if name == b"[stack]" {
        Backing::Stack
    } else if let Some(inner) = inside(name, b"[anon:") {
        Backing::Anonymous { name: Some(text(inner)) }
    } else if let Some(inner) = inside(name, b"[anon_shmem:") {
        Backing::Shared { name: text(inner), offset }
    } else if inside(name, b"[stack:").is_some() {
        // Linux 3.4 to 4.4 named the other threads' stacks so.
        Backing::Anonymous { name: Some(text(name)) }
    } else if !shared && matches!((path, deleted), (b"/dev/zero", false) | (b"/anon_hugepage", true)) {
        // A private mapping of /dev/zero is anonymous memory by another name, and so are MAP_HUGETLB's pages.
        Backing::Anonymous { name: Some(text(path)) }
    } else if is_shared_memory || (deleted && matches!(path, b"/dev/zero" | b"/anon_hugepage")) {
        Backing::Shared { name: text(path), offset }
    } else if is_special(path) {
        Backing::Special { name: text(name) }
    } else {
        Backing::File { path: text(path), offset, deleted }
    }
}

/// Mappings of the kernel's or of a device's, which are not to be read from outside.
fn is_special(path: &[u8]) -> bool {
    // Regular files live here as well: those of hugetlbfs, and of whatever else was mounted as a folder of shared memory.
    let device = path.starts_with(b"/dev/") && !path.starts_with(b"/dev/hugepages");
    let kernels = [&b"["[..], b"anon_inode:", b"/anon_inode:", b"socket:", b"pipe:", b"/dmabuf:"];
    device || kernels.iter().any(|prefix| path.starts_with(prefix))
}

fn inside<'a>(name: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    name.strip_prefix(prefix)?.strip_suffix(b"]")
}

fn lines(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let lines = text.split(|byte| *byte == b'\n').enumerate();
    lines.filter(|(_, line)| !line.is_empty()).map(|(index, line)| (index + 1, line))
}

/// `start-end perms offset major:minor inode      name`, numbers but for the inode in hexadecimal.
fn mapping(line: &[u8]) -> Option<Mapping<'_>> {
    let (start, rest) = number(line, 16)?;
    let (end, rest) = number(rest.strip_prefix(b"-")?, 16)?;
    let (flags, rest) = rest.strip_prefix(b" ")?.split_at_checked(4)?;
    let (offset, rest) = number(rest.strip_prefix(b" ")?, 16)?;
    let (major, rest) = number(rest.strip_prefix(b" ")?, 16)?;
    let (minor, rest) = number(rest.strip_prefix(b":")?, 16)?;
    let (inode, rest) = number(rest.strip_prefix(b" ")?, 10)?;
    // The name is aligned with spaces, and begins with none itself; but it may end with some.
    let name = match rest.iter().position(|byte| *byte != b' ') {
        Some(0) => return None,
        Some(from) => &rest[from..],
        None => b"",
    };

    let mut permissions = Permissions::empty();
    let bits = [(b'r', Permissions::READ), (b'w', Permissions::WRITE), (b'x', Permissions::EXECUTE)];
    for (flag, (letter, bit)) in flags.iter().zip(bits) {
        permissions.set(bit, *flag == letter);
        if *flag != letter && *flag != b'-' {
            return None;
        }
    }
    let shared = match flags[3] {
        b's' | b'S' => true,
        b'p' => false,
        _ => return None,
    };
    if start >= end {
        return None;
    }
    Some(Mapping {
        range: AddressRange::new(start, end),
        permissions,
        shared,
        offset,
        device: (u32::try_from(major).ok()?, u32::try_from(minor).ok()?),
        inode,
        name: line_feeds(name),
    })
}

/// A number without sign or prefix at the front of `text`, and what follows it.
fn number(text: &[u8], radix: u32) -> Option<(u64, &[u8])> {
    let length = text.iter().take_while(|byte| char::from(**byte).is_digit(radix)).count();
    let (digits, rest) = text.split_at(length);
    let mut value = 0_u64;
    for digit in digits {
        let digit = char::from(*digit).to_digit(radix)?;
        value = value.checked_mul(radix.into())?.checked_add(digit.into())?;
    }
    (length > 0).then_some((value, rest))
}

/// The kernel writes a line feed in a name as `\012`, and escapes nothing else.
fn line_feeds(name: &[u8]) -> Cow<'_, [u8]> {
    const ESCAPE: &[u8] = b"\\012";
    if !name.windows(ESCAPE.len()).any(|window| window == ESCAPE) {
        return Cow::Borrowed(name);
    }
    let mut plain = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some(byte) = rest.first() {
        if let Some(after) = rest.strip_prefix(ESCAPE) {
            plain.push(b'\n');
            rest = after;
        } else {
            plain.push(*byte);
            rest = &rest[1..];
        }
    }
    Cow::Owned(plain)
}
