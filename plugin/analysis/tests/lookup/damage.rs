//! Debug information that is damaged.

use crate::build::Build;
use crate::search::text;
use analysis::dwarf::{DebugInfo, Part, Source};
use analysis::lookup::{Kept, Question, Spelling, look_up};
use gimli::RunTimeEndian;
use object::{Object, ObjectSection};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Sections in memory.
struct Sections(HashMap<String, Vec<u8>>);

impl<'a> Source<'a> for &'a Sections {
    fn endian(&self) -> RunTimeEndian {
        RunTimeEndian::Little
    }

    fn has(&self, part: Part) -> bool {
        part == Part::Own
    }

    fn section(&self, _: Part, name: &str) -> Result<&'a [u8], String> {
        Ok(self.0.get(name).map(Vec::as_slice).unwrap_or_default())
    }

    fn other(&self, path: &str) -> Result<&'a [u8], String> {
        Err(format!("{path} is not there"))
    }
}

/// Looks up addresses, and says how many have a frame and how many parts could not be read.
fn look(sections: &Sections, addresses: &[u64]) -> (usize, usize) {
    let source = &sections;
    let Ok(debug) = DebugInfo::load(source) else { return (0, 1) };
    let mut kept = Kept::new(&debug, addresses);
    let part = 0..sections.0[".debug_info"].len() as u64;
    let question = Question { part, spelling: Spelling::Demangled, functions: true };
    // What goes on for ever is a failure, and stops.
    let until = Instant::now() + Duration::from_secs(20);
    let found = look_up(&debug, source, &mut kept, &question, &|| Instant::now() > until);
    assert_eq!(found.stopped, None);
    (found.part.innermost.len(), found.unread.len())
}

fn sections(options: &str, compiler: &str) -> (Sections, Vec<u64>) {
    let build = Build::new();
    let program = build.compile(compiler, "lookup.c", "program", options);
    let bytes = std::fs::read(&program).unwrap();
    let file = object::File::parse(&*bytes).unwrap();
    let debug = file.sections().filter(|section| section.name().unwrap().starts_with(".debug_"));
    let sections = debug.map(|section| (section.name().unwrap().to_owned(), section.data().unwrap().to_vec()));
    (Sections(sections.collect()), text(&program).collect())
}

/// What a damaged section may cost, each byte in turn: no panic, no endless loop.
fn flip_all(mut sections: Sections, addresses: &[u64]) {
    let (whole, unread) = look(&sections, addresses);
    assert!(whole > 100 && unread == 0);
    let names: Vec<String> = sections.0.keys().cloned().collect();
    let mut worse = 0;
    for name in &names {
        for at in 0..sections.0[name].len() {
            for change in [0xff, 0x01, 0x80] {
                sections.0.get_mut(name).unwrap()[at] ^= change;
                worse += usize::from(look(&sections, addresses) != (whole, 0));
                sections.0.get_mut(name).unwrap()[at] ^= change;
            }
        }
        let bytes = sections.0[name].clone();
        for length in 0..bytes.len() {
            sections.0.get_mut(name).unwrap().truncate(length);
            look(&sections, addresses);
            sections.0.insert(name.clone(), bytes.clone());
        }
    }
    assert!(worse > 0);
    assert_eq!(look(&sections, addresses), (whole, 0));
}

#[test]
fn no_flipped_or_missing_byte_of_version_5_does_more_than_cost_frames() {
    let (sections, addresses) = sections("-O2 -gdwarf-5", "gcc");
    flip_all(sections, &addresses);
}

#[test]
fn no_flipped_or_missing_byte_of_version_4_does_more_than_cost_frames() {
    let (sections, addresses) = sections("-O2 -gdwarf-4", "clang-22");
    flip_all(sections, &addresses);
}

#[test]
fn a_malformed_unit_costs_itself_and_is_said() {
    let build = Build::new();
    build.compile("gcc", "lookup.c", "first.o", "-c -O2 -g");
    let renamed = ["total", "outer", "generated", "sink", "main"].map(|name| format!(" -D{name}=second_{name}"));
    build.compile("gcc", "lookup.c", "second.o", &format!("-c -O2 -g{}", renamed.concat()));
    build.run("gcc", "first.o second.o -o program");
    let bytes = std::fs::read(build.path("program")).unwrap();
    let file = object::File::parse(&*bytes).unwrap();
    let debug = file.sections().filter(|section| section.name().unwrap().starts_with(".debug_"));
    let map = debug.map(|section| (section.name().unwrap().to_owned(), section.data().unwrap().to_vec()));
    let mut sections = Sections(map.collect());
    let addresses: Vec<u64> = text(&build.path("program")).collect();
    let (whole, _) = look(&sections, &addresses);
    // The first unit's version.
    sections.0.get_mut(".debug_info").unwrap()[4] = 77;
    let (rest, unread) = look(&sections, &addresses);
    assert_eq!(unread, 1);
    assert!(rest > 100 && rest < whole, "{rest} of {whole}");
    let source = &&sections;
    let debug = DebugInfo::load(source).unwrap();
    let mut kept = Kept::new(&debug, &addresses);
    let part = 0..sections.0[".debug_info"].len() as u64;
    let question = Question { part, spelling: Spelling::Demangled, functions: true };
    let found = look_up(&debug, source, &mut kept, &question, &|| false);
    let (range, reason) = &found.unread[0];
    assert_eq!(range.start, 0);
    assert!(reason.starts_with("the unit at 0x0 is malformed: "), "{reason}");
}
