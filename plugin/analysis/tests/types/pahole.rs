//! Layouts beside those that pahole prints.

use crate::programs::{Answer, Build};
use analysis::{MemberRow, TypeRow};
use std::collections::BTreeMap;
use std::process::Command;

/// Where a member lies: the bit that it begins at, and bytes; of a bit-field, those of its storage unit are left out.
type Place = (u64, Option<u64>);

/// A struct or union as pahole prints it.
#[derive(Debug, Default, PartialEq)]
struct Printed {
    size: Option<u64>,
    /// Members in their order, those of nested ones before the nested one itself.
    members: Vec<Place>,
}

/// What pahole prints of a file, by name; only names that it prints once.
fn pahole(build: &Build, name: &str) -> BTreeMap<String, Printed> {
    let mut found: BTreeMap<String, Vec<Printed>> = BTreeMap::new();
    let (mut current, mut open): (Option<(String, Printed)>, Vec<usize>) = (None, Vec::new());
    for line in build.run(&format!("pahole {name}")).lines() {
        if !line.starts_with(['\t', '}', '#', '/']) && line.ends_with('{') {
            // `struct name : base {`, `class name {`, `typedef struct {`.
            let words = line.trim_end_matches('{').split(" : ").next().unwrap().trim();
            let name = words.split_once(' ').map_or("", |(_, name)| name);
            current = Some((name.to_owned(), Printed::default()));
        }
        let Some((_, printed)) = &mut current else { continue };
        if line.starts_with('}') {
            if let Some(name) = current.take().filter(|(name, _)| !name.is_empty() && !name.starts_with("struct")) {
                found.entry(name.0).or_default().push(name.1);
            }
            continue;
        }
        if let Some(size) = line.trim().strip_prefix("/* size: ") {
            printed.size = size.split(',').next().and_then(|size| size.parse().ok());
        }
        // What is defined within, and is no member, is printed as well.
        if line.trim_end().ends_with('{') && line.starts_with('\t') {
            open.push(printed.members.len());
        }
        let place = place(line);
        if line.trim_start().starts_with('}')
            && let Some(before) = open.pop()
            && place.is_none()
        {
            printed.members.truncate(before);
        }
        printed.members.extend(place.filter(|_| !line.trim_start().starts_with("static ")));
    }
    found.into_iter().filter_map(|(name, mut all)| (all.len() == 1).then(|| (name, all.remove(0)))).collect()
}

/// What stands in the comment at the end of a member's line: `/*  offset[:bit]  size */`.
fn place(line: &str) -> Option<Place> {
    let (_, comment) = line.trim_end().strip_suffix("*/")?.rsplit_once("/*")?;
    let comment = comment.trim();
    let (place, size) = comment.rsplit_once(' ')?;
    let size: u64 = size.parse().ok()?;
    match place.split_once(':') {
        Some((byte, bit)) => Some((byte.trim().parse::<u64>().ok()? * 8 + bit.trim().parse::<u64>().ok()?, None)),
        None => Some((place.trim().parse::<u64>().ok()? * 8, Some(size))),
    }
}

/// Our members in the same order.
fn places(members: &[MemberRow], found: &mut Vec<Place>) {
    for member in members {
        // What is known only at run time, pahole makes up.
        let Some(offset) = member.offset else { continue };
        places(&member.members, found);
        match member.bits {
            Some((bit, _)) => found.push((offset * 8 + bit, None)),
            // It does not know how large `_Atomic int` or `atomic_int` is.
            None if ["atomic_", "_Atomic"].iter().any(|begin| member.type_name.starts_with(begin)) => {
                found.push((offset * 8, Some(0)))
            }
            None => found.push((offset * 8, member.size)),
        }
    }
}

fn printed(row: &TypeRow) -> Printed {
    let mut members = Vec::new();
    places(&row.layout.as_ref().unwrap().members, &mut members);
    Printed { size: row.size, members }
}

/// Compares all that both know by the last part of the name. Returns how many that are.
fn compare(answer: &Answer, pahole: &BTreeMap<String, Printed>, differs: impl Fn(&TypeRow) -> bool) -> usize {
    let mut compared = 0;
    let mut by_name: BTreeMap<&str, Vec<&TypeRow>> = BTreeMap::new();
    for row in answer.rows.iter().filter(|row| matches!(row.kind.as_str(), "struct" | "class" | "union")) {
        by_name.entry(last(&row.name)).or_default().push(row);
    }
    for (name, theirs) in pahole {
        let Some(rows) = by_name.get(name.as_str()) else { panic!("we have no {name}") };
        // It leaves the size out for unions.
        let same = |row: &&&TypeRow| {
            let ours = printed(row);
            agree(&ours.members, &theirs.members) && theirs.size.is_none_or(|size| Some(size) == ours.size)
        };
        if rows.iter().find(same).is_none() && !rows.iter().any(|row| differs(row)) {
            panic!("{name}: pahole says {theirs:?}, we {:?}", rows.iter().map(|row| printed(row)).collect::<Vec<_>>());
        }
        compared += 1;
    }
    compared
}

/// Whether members lie alike. pahole says that an empty base has no bytes, we that its type has one.
fn agree(ours: &[Place], theirs: &[Place]) -> bool {
    let same = |(ours, theirs): (&Place, &Place)| {
        ours == theirs || ours.0 == theirs.0 && (ours.1, theirs.1) == (Some(1), Some(0))
    };
    // We have them in the order of their places, it in that in which they are declared.
    let sorted = |places: &[Place]| {
        let mut places = places.to_vec();
        places.sort_by_key(|place| place.0);
        places
    };
    ours.len() == theirs.len() && sorted(ours).iter().zip(&sorted(theirs)).all(same)
}

/// The last part of a qualified name: what stands behind the last `::` outside of angle brackets.
fn last(name: &str) -> &str {
    let (mut depth, mut start) = (0, 0);
    for (at, letter) in name.char_indices() {
        match letter {
            '<' => depth += 1,
            '>' => depth -= 1,
            ':' if depth == 0 => start = at + 1,
            _ => {}
        }
    }
    &name[start..]
}

#[test]
fn structs_of_c_lie_as_pahole_prints_them() {
    let build = Build::new();
    for options in ["gcc -gdwarf-5 -O0", "gcc -gdwarf-4 -O1", "clang-22 -gdwarf-5 -O0", "clang-22 -gdwarf-4 -O1"] {
        build.run(&format!("{options} FIXTURES/types.c -o types"));
        let compared = compare(&build.all("types"), &pahole(&build, "types"), |_| false);
        assert!(compared >= 12, "{options}: {compared}");
    }
}

#[test]
fn all_structs_of_the_systems_headers_lie_as_pahole_prints_them() {
    let build = Build::new();
    let headers = [
        "pthread.h",
        "stdio.h",
        "signal.h",
        "sys/socket.h",
        "netinet/in.h",
        "netinet/ip.h",
        "netinet/tcp.h",
        "net/if.h",
        "arpa/inet.h",
        "sys/stat.h",
        "sys/ptrace.h",
        "sys/user.h",
        "sys/procfs.h",
        "elf.h",
        "link.h",
        "dirent.h",
        "termios.h",
        "pwd.h",
        "netdb.h",
        "ucontext.h",
        "rpc/netdb.h",
        "sys/resource.h",
        "sys/shm.h",
        "linux/perf_event.h",
        "linux/bpf.h",
        "linux/if_packet.h",
        "linux/input.h",
        "linux/videodev2.h",
        "linux/fuse.h",
        "linux/kvm.h",
        "linux/btrfs.h",
        "linux/ethtool.h",
        "linux/io_uring.h",
        "linux/nl80211.h",
        "linux/usbdevice_fs.h",
        "sound/asound.h",
        "rdma/ib_user_verbs.h",
        "drm/i915_drm.h",
        "scsi/scsi.h",
        "regex.h",
        "wchar.h",
        "time.h",
    ];
    let includes = headers.map(|name| format!("#if __has_include(<{name}>)\n#include <{name}>\n#endif\n")).concat();
    std::fs::write(build.path("headers.c"), format!("#define _GNU_SOURCE\n{includes}int main(void) {{ return 0; }}\n"))
        .unwrap();
    build.run("gcc -g -fno-eliminate-unused-debug-types headers.c -o headers");
    let compared = compare(&build.all("headers"), &pahole(&build, "headers"), |_| false);
    assert!(compared > 300, "{compared}");
}

/// The library that is nearly all of CPython, if it was built here with debug information, as is usual.
fn cpython() -> Option<String> {
    let ask = "import sysconfig; print(*map(sysconfig.get_config_var, ('LIBDIR', 'INSTSONAME')), sep='/')";
    let output = Command::new("python3").args(["-c", ask]).output().ok()?;
    let path = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    let sections = Command::new("readelf").args(["-SW", &path]).output().ok()?;
    String::from_utf8_lossy(&sections.stdout).contains(" .debug_info").then_some(path)
}

#[test]
fn every_struct_of_cpython_lies_as_pahole_prints_it() {
    let Some(path) = cpython() else {
        eprintln!("left out: there is no CPython with debug information");
        return;
    };
    let build = Build::new();
    let compared = compare(&build.all(&path), &pahole(&build, &path), |_| false);
    assert!(compared > 150, "{compared}");
}

#[test]
fn classes_of_cpp_lie_as_pahole_prints_them() {
    let build = Build::new();
    // It prints no types of namespaces.
    let source = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/types.cpp")).unwrap();
    let flat = ["namespace store {", "} // namespace store", "namespace {", "} // namespace", "store::"];
    let source = flat.iter().fold(source, |source, text| source.replace(text, ""));
    std::fs::write(build.path("flat.cpp"), source).unwrap();
    // It gives a virtual base the place in the table of virtual functions at which the base's own place is found; a reference 4
    // bytes and a pointer to a member function 8, where gdb and the ABI have 8 and 16.
    let differs = |row: &TypeRow| {
        let members = &row.layout.as_ref().unwrap().members;
        row.name == "Members" || members.iter().any(|member| member.note.as_deref() == Some("virtual base"))
    };
    for options in ["g++ -gdwarf-5", "g++ -gdwarf-4 -O2", "clang++-22 -gdwarf-5"] {
        build.run(&format!("{options} -std=c++20 flat.cpp -o flat"));
        let compared = compare(&build.all("flat"), &pahole(&build, "flat"), differs);
        assert!(compared >= 12, "{options}: {compared}");
    }
}

#[test]
fn classes_that_other_units_define_lie_as_pahole_prints_them() {
    let build = Build::new();
    let source = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/homed.cpp")).unwrap();
    std::fs::write(build.path("flat.cpp"), source.replace("namespace homed {", "extern \"C++\" {")).unwrap();
    for (options, name) in [("-g -fstandalone-debug", "whole"), ("-g", "limited")] {
        for unit in ["MAIN", "HOME"] {
            build.run(&format!("clang++-22 {options} -D{unit} -c flat.cpp -o {name}_{unit}.o"));
        }
        build.run(&format!("clang++-22 -r {name}_MAIN.o {name}_HOME.o -o {name}"));
    }
    // Of what is only declared it knows no size, and it makes up places of virtual bases.
    let mut theirs = pahole(&build, "whole");
    theirs.retain(|name, _| !matches!(name.as_str(), "Parted" | "Split" | "Either" | "Unsure"));
    let compared = compare(&build.all("limited"), &theirs, |_| false);
    assert!(compared >= 9, "{compared}: {theirs:?}");
}
