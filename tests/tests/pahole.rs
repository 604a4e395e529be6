//! Layouts as they are shown, beside those that pahole shows, of all structs of a real program: the C library.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::Session;

/// A member: how it is declared, the bit that it begins at, and of a bit-field how many bits it has.
type Placed = (String, u64, Option<u64>);

/// A struct as it is printed: what stands at its own level, not in a struct within it.
#[derive(Clone, Debug, Default, PartialEq)]
struct Printed {
    size: u64,
    cache_lines: u64,
    members: u64,
    /// Where cache lines begin: which, at how many bytes, how many bytes ago.
    marks: Vec<[u64; 3]>,
    /// Bits in each hole.
    holes: Vec<u64>,
    /// Bits that no member takes, at the end as well.
    unused: u64,
    /// Those of its own level.
    places: Vec<Placed>,
}

type Structs = BTreeMap<String, Vec<Printed>>;

/// The debug file of the C library, which Debian has in a package of its own.
fn debug_file() -> PathBuf {
    let library = "/lib/x86_64-linux-gnu/libc.so.6";
    let notes = Command::new("readelf").args(["-n", library]).output().expect("readelf runs: binutils");
    let notes = String::from_utf8_lossy(&notes.stdout).into_owned();
    let id = notes.lines().find_map(|line| line.trim().strip_prefix("Build ID: ")).expect("it has a build id");
    let path = PathBuf::from(format!("/usr/lib/debug/.build-id/{}/{}.debug", &id[..2], &id[2..]));
    assert!(path.is_file(), "{} is missing: scripts/setup --tests installs libc6-dbg", path.display());
    path
}

/// The numbers of a line whose other words are these; `#` stands for one.
fn numbers<const N: usize>(line: &str, pattern: &str) -> Option<[u64; N]> {
    let (mut rest, mut found) = (line, [0; N]);
    for (index, part) in pattern.split('#').enumerate() {
        if index > 0 {
            let digits = rest.len() - rest.trim_start_matches(|letter: char| letter.is_ascii_digit()).len();
            found[index - 1] = rest[..digits].parse().ok()?;
            rest = &rest[digits..];
        }
        rest = rest.strip_prefix(part)?;
    }
    rest.is_empty().then_some(found)
}

/// The member of one line.
fn place(line: &str) -> Option<Placed> {
    let (declaration, comment) = line.strip_suffix("*/")?.rsplit_once("/*")?;
    let (offset, _) = comment.trim().rsplit_once(' ')?;
    let (bytes, bits) = offset.split_once(':').unwrap_or((offset, "0"));
    let at = bytes.trim().parse::<u64>().ok()? * 8 + bits.trim().parse::<u64>().ok()?;
    let declaration = declaration.trim_end().strip_suffix(';')?;
    let bits = declaration.rsplit_once(':').and_then(|(_, bits)| bits.trim().parse().ok());
    // Each aligns its columns in its own way, and pahole names attributes.
    let declaration = declaration.split(" __attribute__").next().unwrap_or(declaration);
    Some((declaration.chars().filter(|letter| !letter.is_whitespace()).collect(), at, bits))
}

/// The structs that have names in a text whose members are indented by `indent` more than they are.
fn structs(text: &str, outer: &str, indent: &str, member: fn(&mut Printed, &str, bool)) -> Structs {
    let mut found = Structs::new();
    let mut current: Option<(String, Printed)> = None;
    let mut after_hole = false;
    for line in text.lines() {
        let Some(line) = line.strip_prefix(outer) else { continue };
        if let Some(begin) = line.strip_suffix(" {").filter(|line| !line.starts_with([' ', '\t'])) {
            let name = begin.strip_prefix("struct ").filter(|name| !name.contains(' '));
            current = name.map(|name| (name.to_owned(), Printed::default()));
            after_hole = false;
        } else if line.starts_with('}') {
            if let Some((name, printed)) = current.take() {
                found.entry(name).or_default().push(printed);
            }
        } else if let Some((_, printed)) = &mut current
            && let Some(line) = line.strip_prefix(indent)
            && !line.starts_with([' ', '\t'])
        {
            let before = printed.holes.len();
            member(printed, line, after_hole);
            after_hole = printed.holes.len() > before || after_hole && line.contains("hole");
        }
    }
    found
}

/// What pahole prints. Of a hole of bits and bytes it prints two lines.
fn pahole(path: &Path) -> Structs {
    let output = Command::new("pahole").arg(path).output().expect("pahole runs: scripts/setup --tests installs it");
    structs(&String::from_utf8_lossy(&output.stdout), "", "\t", |printed, line, after_hole| {
        let line = line
            .replace(" bits hole", " bit hole")
            .replace(" bytes hole", " byte hole")
            .replace("byte ago", "bytes ago");
        let bits = numbers(&line, "/* XXX # bit hole, try to pack */").map(|[bits]| bits);
        let bytes = numbers(&line, "/* XXX # byte hole, try to pack */").map(|[bytes]| bytes * 8);
        if let Some(bits) = bits.or(bytes) {
            match printed.holes.last_mut().filter(|_| after_hole) {
                Some(hole) => *hole += bits,
                None => printed.holes.push(bits),
            }
            printed.unused += bits;
        } else if let Some([number, at]) = numbers(&line, "/* --- cacheline # boundary (# bytes) --- */") {
            printed.marks.push([number, at, 0]);
        } else if let Some(mark) = numbers(&line, "/* --- cacheline # boundary (# bytes) was # bytes ago --- */") {
            printed.marks.push(mark);
        } else if let Some([size, lines, members]) = numbers(&line, "/* size: #, cachelines: #, members: # */") {
            (printed.size, printed.cache_lines, printed.members) = (size, lines, members);
        } else if let Some([bytes]) = numbers(&line, "/* padding: # */") {
            printed.unused += bytes * 8;
        } else if let Some([bits]) = numbers(&line, "/* bit_padding: # bits */") {
            printed.unused += bits;
        } else {
            printed.places.extend(place(&line));
        }
    })
}

/// What we print.
fn ours(path: &Path) -> Structs {
    let mut session = Session::start();
    session.ok("settings set target.preload-symbols false");
    session.ok(&format!("target create {}", path.display()));
    let text = session.ok("mp-scan types . --layout --limit 100000");
    structs(&text, "    ", "    ", |printed, line, _| {
        for wrong in [" 1 bits", " 1 bytes"] {
            assert!(!line.contains(wrong), "{line}");
        }
        let line = line.replace(" bit */", " bits */").replace(" byte", " bytes").replace("bytess", "bytes");
        if let Some([bytes, bits]) = numbers(&line, "/* hole: # bytes, # bits */") {
            printed.holes.push(bytes * 8 + bits);
        } else if let Some([bytes]) = numbers(&line, "/* hole: # bytes */") {
            printed.holes.push(bytes * 8);
        } else if let Some([bits]) = numbers(&line, "/* hole: # bits */") {
            printed.holes.push(bits);
        } else if let Some([number, at]) = numbers(&line, "/* --- cache line #, at # --- */") {
            printed.marks.push([number, at, 0]);
        } else if let Some(mark) = numbers(&line, "/* --- cache line #, at #, # bytes ago --- */") {
            printed.marks.push(mark);
        } else if let Some([size, lines, members]) = numbers(&line, "/* size: #, cache lines: #, members: # */") {
            (printed.size, printed.cache_lines, printed.members) = (size, lines, members);
        } else if let Some([bytes]) = numbers(&line, "/* taken by no member: # bytes */") {
            // In whole bytes, in all.
            printed.unused = bytes * 8;
        } else {
            printed.places.extend(place(&line));
        }
    })
}

/// What two texts have to agree in: all but how a type is spelt.
fn differs(ours: &Printed, theirs: &Printed) -> Option<&'static str> {
    let named = |(ours, theirs): (&Placed, &Placed)| {
        let name = |(declaration, ..): &Placed| -> String {
            // Of an enumeration without a name pahole prints the values where we say that it has none.
            let declaration = declaration.trim_start_matches("(anonymousenum)");
            let inner = declaration.split_once("(*").map_or(declaration, |(_, inner)| inner);
            let inner = inner.split([')', '[', ':']).next().unwrap_or(inner);
            let start = inner.rfind('*').map_or(0, |at| at + 1);
            inner[start..].trim_start_matches('}').to_owned()
        };
        let (own, other) = (name(ours), name(theirs));
        // Without spaces a type runs into its name.
        (own == other || own.ends_with(&other) || other.ends_with(&own)) && ours.1 == theirs.1 && ours.2 == theirs.2
    };
    let same_places = ours.places.len() == theirs.places.len() && ours.places.iter().zip(&theirs.places).all(named);
    // Holes in a struct without a name, which is written out where its member is, we count as well.
    let written_out = ours.places.iter().any(|(declaration, ..)| declaration.starts_with('}'));
    let parts = [
        ("size", ours.size == theirs.size),
        ("number of members", ours.members == theirs.members),
        ("cache lines", (ours.cache_lines, &ours.marks) == (theirs.cache_lines, &theirs.marks)),
        ("holes", ours.holes == theirs.holes),
        ("members' names, offsets or bits", same_places),
        (
            "what is taken by no member",
            ours.unused / 8 == theirs.unused / 8 || written_out && ours.unused > theirs.unused,
        ),
    ];
    parts.into_iter().find(|(_, same)| !same).map(|(what, _)| what)
}

#[test]
fn all_structs_of_the_c_library_are_shown_as_pahole_shows_them() {
    let path = debug_file();
    let (theirs, ours) = (pahole(&path), ours(&path));
    assert!(theirs.len() > 400, "{}", theirs.len());
    let mut wrong = Vec::new();
    for (name, theirs) in &theirs {
        let own = ours.get(name).map(Vec::as_slice).unwrap_or_default();
        for theirs in theirs {
            if own.iter().all(|own| differs(own, theirs).is_some()) {
                wrong.push(format!(
                    "{name}: {:?}: {own:?}\npahole: {theirs:?}",
                    own.first().and_then(|own| differs(own, theirs))
                ));
            }
        }
        // Of several definitions of a name, pahole may show one; we show all that differ, and none twice.
        assert!(own.len() >= theirs.len(), "{name}: {} of {}", own.len(), theirs.len());
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), theirs.len(), wrong[..wrong.len().min(8)].join("\n"));
    // What only we show: types of functions' own, which it leaves out, and structs that only a typedef names, of which we give that
    // name. gdb says how large those are.
    let only_ours: Vec<&String> =
        ours.keys().filter(|name| !theirs.contains_key(*name) && !name.contains("()::")).collect();
    for (name, size) in only_ours.iter().zip(sizes(&path, &only_ours)) {
        assert!(ours[*name].iter().any(|own| Some(own.size) == size), "{name}: {:?}, gdb: {size:?}", ours[*name]);
    }
    assert!(only_ours.len() > 20, "{only_ours:?}");
}

/// How large types are, by gdb.
fn sizes(path: &Path, names: &[&String]) -> Vec<Option<u64>> {
    let mut gdb = Command::new("gdb");
    gdb.args(["--nx", "--batch"]).env_remove("DEBUGINFOD_URLS");
    for name in names {
        gdb.args(["-ex", &format!("output sizeof({name})"), "-ex", "echo \\n"]);
    }
    let output = gdb.arg(path).output().expect("gdb runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let sizes: Vec<Option<u64>> = text.lines().map(|line| line.trim().parse().ok()).collect();
    assert_eq!(sizes.len(), names.len(), "{text}");
    sizes
}
