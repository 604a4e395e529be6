//! The files that belong to a module's own: where they are looked for, and how they are known to be its own.

use super::data::{Data, Pieces, reopen};
use super::elf::{self, Elf};
use super::survey::{Candidate, Survey, hex, look};
use super::surveyed::{Content, FileRef, Identity, Role, Section};
use crc32fast::Hasher;
use lzma_rust2::XzReader;
use object::ReadRef;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Where distributions put debug files.
const DEBUG_FOLDER: &str = "/usr/lib/debug";

/// Inflated symbols of `.gnu_debugdata` have no more bytes than these, and inflating them takes no more memory.
const LONGEST_MINI: u64 = 256 << 20;
const MINI_MEMORY_KIB: u32 = 128 << 10;

/// Finds the files that belong to the main one, which `data` are the bytes of.
pub(super) fn find(survey: &mut Survey<'_>, data: Data<'_>, main: &Elf) {
    let main_path = survey.module.path.clone();
    let debug = if has_debug_info(main) { None } else { debug_file(survey, main) };
    let debug = debug.map(|(candidate, debug)| {
        let path = candidate.path.clone();
        survey.add(Role::Debug, candidate, &debug);
        (path, debug)
    });
    let (path, elf) = debug.as_ref().map_or((&main_path, main), |(path, debug)| (path, debug));
    // A file without debug information keeps the link of what it had.
    if elf.alternate.is_some() && has_debug_info(elf) {
        alternate(survey, path, elf);
    }
    package(survey, main, &main_path, debug.as_ref().map(|(path, _)| path.as_str()));
    if survey.found.section_named(None, ".symtab").is_none() {
        mini(survey, data, main);
    }
}

/// The debug file of a module whose own file is not there, by build id.
pub(super) fn find_without_main(survey: &mut Survey<'_>) {
    let wanted = survey.module.build_id.clone();
    for path in by_build_id(survey, &wanted) {
        let Some((candidate, _, Some(elf))) = look_for(survey, &path) else { continue };
        if elf.build_id != wanted {
            continue;
        }
        survey.describe(&elf, elf.lowest);
        survey.add(Role::Debug, candidate, &elf);
        if elf.alternate.is_some() {
            alternate(survey, &path.to_string_lossy(), &elf);
        }
        return;
    }
}

fn has_debug_info(elf: &Elf) -> bool {
    elf.sections.iter().any(|section| section.name == ".debug_info" && section.has_bytes())
}

/// The separate debug file: by build id, then by the name that the main file gives.
fn debug_file(survey: &mut Survey<'_>, main: &Elf) -> Option<(Candidate, Elf)> {
    for path in by_build_id(survey, &main.build_id) {
        if let Some(found) = check_debug_file(survey, main, &path, None) {
            return Some(found);
        }
    }
    let link = main.debug_link.as_ref()?;
    for folder in folders_of(&survey.module.path, survey.pid.is_none()) {
        let mut paths = vec![folder.join(&link.name), folder.join(".debug").join(&link.name)];
        let inside = folder.strip_prefix("/").unwrap_or(&folder).to_owned();
        paths.extend(debug_folders(survey).map(|debug| debug.join(&inside).join(&link.name)));
        for path in paths {
            if let Some(found) = check_debug_file(survey, main, &path, Some(link.crc)) {
                return Some(found);
            }
        }
    }
    // LLDB looks in its search paths themselves as well, whatever folder the module is in.
    let folders = debug_folders(survey).collect::<Vec<_>>();
    let paths = folders.iter().flat_map(|folder| [folder.join(&link.name), folder.join(".debug").join(&link.name)]);
    paths.into_iter().find_map(|path| check_debug_file(survey, main, &path, Some(link.crc)))
}

/// Looks at a file that may be the main file's debug file. One that has the same build id is. Where one of the two has none, the file's
/// CRC has to be the one that the main file gives.
fn check_debug_file(survey: &mut Survey<'_>, main: &Elf, path: &Path, crc: Option<u32>) -> Option<(Candidate, Elf)> {
    let (candidate, _, elf) = look_for(survey, path)?;
    if survey.found.files.first().is_some_and(|main| same_file(main, &candidate.content)) {
        return None;
    }
    let Some(elf) = elf else {
        survey.problem(&candidate.path, "not an ELF file");
        return None;
    };
    let wrong = if (elf.machine, elf.layout) != (main.machine, main.layout) {
        Some(format!("is for {}, not the debug file of {}", elf.machine, survey.module.path))
    } else if !main.build_id.is_empty() && !elf.build_id.is_empty() {
        let other = || {
            format!("is the debug file of another build of {} (build id {})", survey.module.path, hex(&elf.build_id))
        };
        (main.build_id != elf.build_id).then(other)
    } else {
        match (crc, checksum(&candidate)) {
            (Some(expected), Ok(found)) if expected == found => None,
            (Some(_), Ok(_)) => {
                Some(format!("is the debug file of another build of {} (by its CRC)", survey.module.path))
            }
            (Some(_), Err(error)) => Some(format!("cannot be read: {error}")),
            (None, _) => {
                Some(format!("has no build id, so it is not known to be the debug file of {}", survey.module.path))
            }
        }
    };
    if let Some(wrong) = wrong {
        survey.note(format!("{} {wrong}", candidate.path));
        return None;
    }
    let text = |elf: &Elf| elf.sections.iter().find(|section| section.name == ".text").map(|section| section.address);
    if text(main).zip(text(&elf)).is_some_and(|(main, debug)| main != debug) {
        let what =
            format!("{} has other addresses than {}, which was prelinked since", candidate.path, survey.module.path);
        survey.note(what);
        return None;
    }
    Some((candidate, elf))
}

/// The file that holds what several debug files have in common, as dwz makes it.
fn alternate(survey: &mut Survey<'_>, path: &str, elf: &Elf) {
    let Some(link) = &elf.alternate else { return };
    let mut paths: Vec<PathBuf> =
        folders_of(path, survey.pid.is_none()).iter().map(|folder| folder.join(&link.path)).collect();
    paths.dedup();
    paths.extend(by_build_id(survey, &link.build_id));
    for path in paths {
        match look_for(survey, &path) {
            Some((candidate, _, Some(found))) if found.build_id == link.build_id && found.layout == elf.layout => {
                return survey.add(Role::Alternate, candidate, &found);
            }
            Some((candidate, ..)) => {
                let what = format!(
                    "{} is not what the debug information of {} goes on in",
                    candidate.path, survey.module.path
                );
                survey.note(what);
            }
            None => {}
        }
    }
    let what = format!(
        "its debug information goes on in {} (build id {}), which is not there",
        link.path,
        hex(&link.build_id)
    );
    survey.problem(&survey.module.path.clone(), what);
}

/// The package of the module's split debug information. Nothing in it tells whose it is, but each of its units does.
fn package(survey: &mut Survey<'_>, main: &Elf, path: &str, debug: Option<&str>) {
    let mut paths = vec![format!("{path}.dwp")];
    if let Some(debug) = debug {
        paths.push(format!("{debug}.dwp"));
        paths.extend(debug.strip_suffix(".debug").map(|stem| format!("{stem}.dwp")));
    }
    for path in paths {
        let Some((candidate, _, elf)) = look_for(survey, Path::new(&path)) else { continue };
        let indexed = |section: &Section| section.name == ".debug_cu_index" || section.name == ".debug_tu_index";
        match elf {
            Some(elf) if elf.layout == main.layout && elf.sections.iter().any(indexed) => {
                return survey.add(Role::Package, candidate, &elf);
            }
            _ => survey.problem(&candidate.path, "not a package of split debug information"),
        }
    }
}

/// The symbols that the main file has in compressed form (`.gnu_debugdata`).
fn mini(survey: &mut Survey<'_>, data: Data<'_>, main: &Elf) {
    let section = main.sections.iter().find(|section| section.name == ".gnu_debugdata" && section.has_bytes());
    let Some(Section { range, .. }) = section else { return };
    let path = format!("{} (.gnu_debugdata)", survey.module.path);
    let compressed = data.read_bytes_at(range.start, range.end - range.start);
    let compressed = compressed.map_err(|()| io::Error::from(io::ErrorKind::UnexpectedEof));
    match compressed.and_then(inflate_mini) {
        Ok(bytes) => match elf::parse(&bytes[..]) {
            Some(elf) => {
                let size = bytes.len() as u64;
                survey.add(Role::Mini, Candidate { path, content: Content::Bytes(bytes), size }, &elf);
            }
            None => survey.problem(&path, "not an ELF file"),
        },
        Err(error) => survey.problem(&path, error),
    }
}

fn inflate_mini(compressed: &[u8]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let reader = XzReader::new_mem_limit(compressed, true, MINI_MEMORY_KIB);
    reader.take(LONGEST_MINI + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST_MINI { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(bytes) }
}

/// Looks at a file that need not be there.
fn look_for(survey: &mut Survey<'_>, path: &Path) -> Option<(Candidate, Pieces, Option<Elf>)> {
    let path = path.to_str()?;
    match look(path, survey.pid) {
        Ok((candidate, data)) => {
            let elf = elf::parse(Data::Pieces(&data));
            Some((candidate, data, elf))
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => None,
        Err(error) => {
            survey.problem(path, error);
            None
        }
    }
}

fn debug_folders<'a>(survey: &Survey<'a>) -> impl Iterator<Item = &'a Path> + use<'a> {
    let default = Path::new(DEBUG_FOLDER);
    let given = survey.search.debug_folders.iter().map(PathBuf::as_path).filter(move |folder| *folder != default);
    given.chain([default])
}

/// Where a debug file with this build id would be.
fn by_build_id(survey: &Survey<'_>, build_id: &[u8]) -> Vec<PathBuf> {
    let Some((first, rest)) = build_id.split_first().filter(|(_, rest)| !rest.is_empty()) else { return Vec::new() };
    let name = format!(".build-id/{first:02x}/{}.debug", hex(rest));
    debug_folders(survey).map(|folder| folder.join(&name)).collect()
}

/// The folder that a file's path names, and the one that it is really in, if that is another and `ours` are the links on the way.
fn folders_of(path: &str, ours: bool) -> Vec<PathBuf> {
    let parent = |path: &Path| path.parent().map(Path::to_owned);
    let mut folders: Vec<PathBuf> = parent(Path::new(path)).into_iter().collect();
    if ours && let Some(real) = fs::canonicalize(path).ok().and_then(|path| parent(&path)) {
        folders.push(real);
    }
    folders.dedup();
    folders
}

fn same_file(file: &FileRef, content: &Content) -> bool {
    let identity = |content: &Content| match content {
        Content::Path { identity, .. } => Some((identity.device, identity.inode)),
        _ => None,
    };
    identity(&file.content).is_some_and(|main| Some(main) == identity(content))
}

/// The CRC-32 of a whole file.
fn checksum(candidate: &Candidate) -> io::Result<u32> {
    let Content::Path { pid, identity } = &candidate.content else { return Err(io::ErrorKind::Unsupported.into()) };
    let identity: &Identity = identity;
    let mut file = reopen(&candidate.path, *pid, identity)?;
    let mut buffer = vec![0; 1 << 20];
    let mut crc = Hasher::new();
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(crc.finalize()),
            Ok(length) => crc.update(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
