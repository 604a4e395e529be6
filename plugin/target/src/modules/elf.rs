//! The headers of an ELF file, of either class and byte order.

use super::surveyed::{Compression, Format, Machine, Section};
use crate::{ByteOrder, Layout};
use memchr::memchr;
use object::elf::{self, FileHeader32, FileHeader64};
use object::read::elf::{CompressionHeader, FileHeader, NoteIterator, ProgramHeader, SectionHeader};
use object::{Endianness, ReadRef};
use std::ops::Range;

/// More sections are not looked at.
const MOST_SECTIONS: usize = 1 << 18;

/// Of a section's name, so many bytes are kept.
const LONGEST_NAME: usize = 255;

/// Longer notes are no build ids, and longer build ids are none.
const LONGEST_NOTES: u64 = 64 << 10;
const LONGEST_BUILD_ID: usize = 256;

/// The smallest page, in bytes.
const PAGE: u64 = 4096;

/// Longer links to other files are none.
const LONGEST_LINK: u64 = 8192;

/// What the headers of an ELF file say. Its sections are those of file 0.
#[derive(Clone, Debug, Default)]
pub(super) struct Elf {
    pub(super) layout: Layout,
    pub(super) machine: Machine,
    pub(super) relocatable: bool,
    /// Whether it is loaded at the addresses in it.
    pub(super) fixed: bool,
    /// The address, in the file's own, at which its first byte lies, or would; `None` if nothing of it is loaded.
    pub(super) start: Option<u64>,
    /// The page of the first address at which anything is loaded.
    pub(super) lowest: Option<u64>,
    /// Empty if there is none.
    pub(super) build_id: Vec<u8>,
    pub(super) sections: Vec<Section>,
    pub(super) debug_link: Option<DebugLink>,
    pub(super) alternate: Option<AlternateLink>,
    /// What could not be read, as ends of sentences.
    pub(super) damage: Vec<&'static str>,
}

/// `.gnu_debuglink`: the debug file's name, and the CRC-32 of its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DebugLink {
    pub(super) name: String,
    pub(super) crc: u32,
}

/// `.gnu_debugaltlink`, or `.debug_sup` as DWARF 5 has it: the path of the file that several debug files share, and its build id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AlternateLink {
    pub(super) path: String,
    pub(super) build_id: Vec<u8>,
}

/// Reads the headers of an ELF file. `None` if it is not one.
pub(super) fn parse<'data>(data: impl ReadRef<'data>) -> Option<Elf> {
    match data.read_bytes_at(0, 5).ok()? {
        b"\x7fELF\x01" => parse_class::<FileHeader32<Endianness>>(data),
        b"\x7fELF\x02" => parse_class::<FileHeader64<Endianness>>(data),
        _ => None,
    }
}

/// Where a section of a file that has yet to be linked lies, which says nothing of it: one behind the other, as LLDB does it. `free`
/// is where the one before ends.
fn place(free: &mut u64, size: u64, align: u64) -> u64 {
    let address = free.checked_next_multiple_of(align.max(1)).unwrap_or(*free);
    *free = address.saturating_add(size);
    address
}

/// The GNU build id in the first bytes of an ELF file, which at its first mapping are the first bytes of memory as well. `None` if
/// they are not an ELF file's, or have none.
pub(crate) fn build_id_in(head: &[u8]) -> Option<Vec<u8>> {
    match head.get(..5)? {
        b"\x7fELF\x01" => build_id_in_class::<FileHeader32<Endianness>>(head),
        b"\x7fELF\x02" => build_id_in_class::<FileHeader64<Endianness>>(head),
        _ => None,
    }
}

fn build_id_in_class<H: FileHeader<Endian = Endianness>>(head: &[u8]) -> Option<Vec<u8>> {
    let header = H::parse(head).ok()?;
    let endian = header.endian().ok()?;
    noted::<H>(header.program_headers(endian, head).ok()?, endian, head)
}

/// Of the first bytes of an ELF file those that are the same in memory as long as it is loaded, because nobody may write there; and
/// without what a tool that strips files changes: where section headers are. `None` if there are none.
pub(super) fn constant_beginning(head: &[u8]) -> Option<Vec<u8>> {
    // By the ELF specification: e_shoff, and from e_shentsize on to the end of the header.
    match head.get(..5)? {
        b"\x7fELF\x01" => constant_in_class::<FileHeader32<Endianness>>(head, [32..36, 46..52]),
        b"\x7fELF\x02" => constant_in_class::<FileHeader64<Endianness>>(head, [40..48, 58..64]),
        _ => None,
    }
}

fn constant_in_class<H: FileHeader<Endian = Endianness>>(head: &[u8], sections: [Range<usize>; 2]) -> Option<Vec<u8>> {
    let header = H::parse(head).ok()?;
    let endian = header.endian().ok()?;
    let segments = header.program_headers(endian, head).ok()?;
    let first = segments.iter().find(|segment| segment.p_type(endian) == elf::PT_LOAD)?;
    if first.p_offset(endian).into() != 0 || first.p_flags(endian).0 & elf::PF_W.0 != 0 {
        return None;
    }
    let length = usize::try_from(first.p_filesz(endian).into()).map_or(head.len(), |size| size.min(head.len()));
    let mut constant = head[..length].to_vec();
    for field in sections {
        constant.get_mut(field)?.fill(0);
    }
    Some(constant)
}

fn parse_class<'data, H: FileHeader<Endian = Endianness>>(data: impl ReadRef<'data>) -> Option<Elf> {
    let header = H::parse(data).ok()?;
    let endian = header.endian().ok()?;
    let byte_order = if header.is_little_endian() { ByteOrder::Little } else { ByteOrder::Big };
    let mut parsed = Elf {
        layout: Layout { pointer_size: if header.is_type_64() { 8 } else { 4 }, byte_order },
        machine: header.e_machine(endian).into(),
        relocatable: header.e_type(endian) == elf::ET_REL,
        fixed: header.e_type(endian) == elf::ET_EXEC,
        ..Elf::default()
    };
    let segments = header.program_headers(endian, data).unwrap_or_else(|_| {
        parsed.damaged("its program headers lie outside of it");
        &[]
    });
    parsed.start = start(segments, endian);
    let loaded = segments.iter().filter(|segment| segment.p_type(endian) == elf::PT_LOAD);
    parsed.lowest = loaded.map(|segment| segment.p_vaddr(endian).into() / PAGE * PAGE).min();
    match header.shnum(endian, data) {
        Ok(count) if count as usize <= MOST_SECTIONS => parsed.read_sections::<H>(header, endian, data),
        _ => parsed.damaged("its section headers are damaged"),
    }
    if parsed.build_id.is_empty() {
        parsed.build_id = noted::<H>(segments, endian, data).unwrap_or_default();
    }
    Some(parsed)
}

impl Elf {
    /// Notes once what could not be read.
    fn damaged(&mut self, what: &'static str) {
        if !self.damage.contains(&what) {
            self.damage.push(what);
        }
    }

    fn read_sections<'data, H: FileHeader<Endian = Endianness>>(
        &mut self,
        header: &'data H,
        endian: Endianness,
        data: impl ReadRef<'data>,
    ) {
        let Ok(headers) = header.section_headers(endian, data) else {
            return self.damaged("its section headers lie outside of it");
        };
        let names = header.section_strings_index(endian, data).ok();
        let names = names.and_then(|index| headers.get(index.0)).and_then(|names| names.data(endian, data).ok());
        if names.is_none() && !headers.is_empty() {
            self.damaged("the names of its sections cannot be read");
        }
        let names = names.unwrap_or_default();
        let length = data.len().unwrap_or_default();
        let mut free = 0;
        for (index, header) in headers.iter().enumerate().skip(1) {
            let name = names.get(header.sh_name(endian) as usize..).unwrap_or_default();
            let name = &name[..memchr(0, name).unwrap_or_default()];
            let flags = header.sh_flags(endian);
            let (offset, size) = header.file_range(endian).unwrap_or_default();
            let mut range = offset..offset.saturating_add(size);
            if range.end > length {
                // A section that is cut off is as good as none: what is in it is found by what lies before and after.
                self.damaged("a section lies outside of it");
                range = 0..0;
            }
            let mut section = Section {
                name: String::from_utf8_lossy(&name[..name.len().min(LONGEST_NAME)]).into_owned(),
                file: 0,
                index,
                kind: header.sh_type(endian).0,
                range,
                address: header.sh_addr(endian).into(),
                size: header.sh_size(endian).into(),
                alloc: flags.0 & elf::SHF_ALLOC.0 != 0,
                execute: flags.0 & elf::SHF_EXECINSTR.0 != 0,
                write: flags.0 & elf::SHF_WRITE.0 != 0,
                compressed: None,
                inflated: None,
            };
            if self.relocatable && section.alloc {
                section.address = place(&mut free, section.size, header.sh_addralign(endian).into());
            }
            if section.has_bytes() {
                self.read_compression::<H>(header, endian, data, &mut section);
                self.read_link::<H>(header, endian, data, &section);
            }
            self.sections.push(section);
        }
    }

    /// Notes how a section is compressed, and its size then: by its flag, or, as older tools do it, by its name.
    fn read_compression<'data, H: FileHeader<Endian = Endianness>>(
        &mut self,
        header: &'data H::SectionHeader,
        endian: Endianness,
        data: impl ReadRef<'data>,
        section: &mut Section,
    ) {
        if header.sh_flags(endian).0 & elf::SHF_COMPRESSED.0 != 0 {
            let Ok(Some((compression, offset, _))) = header.compression(endian, data) else {
                section.range = 0..0;
                return self.damaged("a compressed section has no header");
            };
            let format = match compression.ch_type(endian) {
                elf::ELFCOMPRESS_ZLIB => Format::Zlib,
                elf::ELFCOMPRESS_ZSTD => Format::Zstd,
                _ => {
                    section.range = 0..0;
                    return self.damaged("a section is compressed neither with zlib nor with zstd");
                }
            };
            section.size = compression.ch_size(endian).into();
            section.compressed = Some(Compression { format, header: offset - section.range.start });
        } else if let Some(name) = section.name.strip_prefix(".zdebug_") {
            let head = data.read_bytes_at(section.range.start, 12).ok();
            // Where it would not have got smaller, it is left as it is.
            if let Some((b"ZLIB", size)) = head.and_then(|head| head.split_at_checked(4)) {
                section.size = size.iter().fold(0, |size, byte| size << 8 | u64::from(*byte));
                section.compressed = Some(Compression { format: Format::Zlib, header: 12 });
            }
            section.name = format!(".debug_{name}");
        }
    }

    /// Reads what a section tells of the build and of other files.
    fn read_link<'data, H: FileHeader<Endian = Endianness>>(
        &mut self,
        header: &'data H::SectionHeader,
        endian: Endianness,
        data: impl ReadRef<'data>,
        section: &Section,
    ) {
        let size = section.range.end - section.range.start;
        let bytes =
            |longest: u64| (size <= longest).then(|| data.read_bytes_at(section.range.start, size).ok()).flatten();
        match section.name.as_str() {
            ".note.gnu.build-id" => {
                let notes = bytes(LONGEST_NOTES).unwrap_or_default();
                self.build_id = build_id::<H>(endian, header.sh_addralign(endian), notes).unwrap_or_default();
            }
            ".gnu_debuglink" => {
                let link = bytes(LONGEST_LINK).and_then(|bytes| DebugLink::parse(bytes, self.layout));
                self.debug_link = link;
            }
            ".gnu_debugaltlink" => self.alternate = bytes(LONGEST_LINK).and_then(AlternateLink::parse),
            ".debug_sup" if section.compressed.is_none() => {
                match bytes(LONGEST_LINK).and_then(|bytes| Supplementary::parse(bytes, self.layout)) {
                    Some(Supplementary::Refers(link)) => self.alternate = Some(link),
                    Some(Supplementary::Is(build_id)) if self.build_id.is_empty() => self.build_id = build_id,
                    _ => {}
                }
            }
            _ => {}
        }
    }
}

/// What `.debug_sup` says (DWARF 5, section 7.3.6).
enum Supplementary {
    /// That this is a file which others share: its checksum, for which build ids are taken.
    Is(Vec<u8>),
    Refers(AlternateLink),
}

impl Supplementary {
    fn parse(bytes: &[u8], layout: Layout) -> Option<Self> {
        let (version, rest) = bytes.split_at_checked(2)?;
        let (is_supplementary, rest) = rest.split_first()?;
        let link = rest.get(..memchr(0, rest)?)?;
        // A checksum shorter than 128 bytes has its length in one byte.
        let (length, checksum) = rest[link.len() + 1..].split_first()?;
        let checksum = checksum.get(..usize::from(*length)).filter(|_| *length < 0x80)?;
        match is_supplementary {
            _ if layout.number(version) != 5 => None,
            0 => AlternateLink::parse(&[link, b"\0", checksum].concat()).map(Self::Refers),
            _ => Some(Self::Is(checksum.to_vec())),
        }
    }
}

impl DebugLink {
    fn parse(bytes: &[u8], layout: Layout) -> Option<Self> {
        let length = memchr(0, bytes)?;
        let name = std::str::from_utf8(&bytes[..length]).ok()?;
        let crc = bytes.get((length + 1).next_multiple_of(4)..)?.get(..4)?;
        // It is the name of a file, and no path.
        let plain = !name.is_empty() && !name.contains('/') && name != "." && name != "..";
        plain.then(|| Self { name: name.to_owned(), crc: layout.number(crc) as u32 })
    }
}

impl AlternateLink {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let length = memchr(0, bytes)?;
        let path = std::str::from_utf8(&bytes[..length]).ok()?;
        let build_id = bytes[length + 1..].to_vec();
        let usable = !path.is_empty() && (1..=LONGEST_BUILD_ID).contains(&build_id.len());
        usable.then(|| Self { path: path.to_owned(), build_id })
    }
}

/// The address of the file's first byte: that of the segment which begins first, less its offset.
fn start<P: ProgramHeader<Endian = Endianness>>(segments: &[P], endian: Endianness) -> Option<u64> {
    let loaded = |segment: &&P| segment.p_type(endian) == elf::PT_LOAD && segment.p_filesz(endian).into() > 0;
    let first = segments.iter().filter(loaded).min_by_key(|segment| segment.p_offset(endian).into())?;
    Some(first.p_vaddr(endian).into().wrapping_sub(first.p_offset(endian).into()))
}

/// The build id among the notes that are loaded.
fn noted<'data, H: FileHeader<Endian = Endianness>>(
    segments: &[H::ProgramHeader],
    endian: Endianness,
    data: impl ReadRef<'data>,
) -> Option<Vec<u8>> {
    segments.iter().filter(|segment| segment.p_type(endian) == elf::PT_NOTE).find_map(|segment| {
        let (offset, size) = segment.file_range(endian);
        let notes = (size <= LONGEST_NOTES).then(|| data.read_bytes_at(offset, size).ok()).flatten()?;
        build_id::<H>(endian, segment.p_align(endian), notes)
    })
}

/// The GNU build id among notes.
fn build_id<H: FileHeader<Endian = Endianness>>(endian: Endianness, align: H::Word, notes: &[u8]) -> Option<Vec<u8>> {
    let mut notes = NoteIterator::<H>::new(endian, align, notes).ok()?;
    while let Ok(Some(note)) = notes.next() {
        let fits = (1..=LONGEST_BUILD_ID).contains(&note.desc().len());
        if note.name() == elf::ELF_NOTE_GNU && note.n_type(endian) == elf::NT_GNU_BUILD_ID && fits {
            return Some(note.desc().to_vec());
        }
    }
    None
}
