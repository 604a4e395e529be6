//! The same types, wherever the debug information is: in other sections, other files, compressed, shared.

use crate::programs::{Answer, Build, layouts, search_by, sorted};
use analysis::types::Sort;
use analysis::{MemberRow, TypeRow};
use object::{Object, ObjectSection};

/// What has to be the same. Paths of modules and the order of definitions are not.
fn essence(answer: &Answer) -> Vec<String> {
    fn members(rows: &[MemberRow]) -> Vec<String> {
        rows.iter().map(|row| format!("{} {:?} {:?} {:?}", row.declaration, row.offset, row.size, row.bits)).collect()
    }
    let essence = |row: &TypeRow| {
        let layout = row.layout.as_ref().map(|layout| members(&layout.members));
        let file = row.file.as_deref().map(|file| file.rsplit('/').next().unwrap().to_owned());
        format!("{} {} {:?} {:?} {:?} {:?} {layout:?}", row.kind, row.name, row.size, row.padding, row.line, file)
    };
    let mut all: Vec<String> = answer.rows.iter().map(essence).collect();
    all.sort_unstable();
    all
}

#[track_caller]
fn assert_same(ours: &[String], plain: &[String], what: &str) {
    let only = |these: &[String], those: &[String]| -> Vec<String> {
        these.iter().filter(|text| !those.contains(text)).cloned().collect()
    };
    let (more, less) = (only(ours, plain), only(plain, ours));
    assert!(more.is_empty() && less.is_empty() && ours.len() == plain.len(), "{what}: {more:#?} in place of {less:#?}");
}

/// The .dwo file that `program` has been made with.
fn read_dwo(build: &Build, program: &str) -> Vec<u8> {
    let files = std::fs::read_dir(build.path(".")).unwrap().flatten().map(|entry| entry.path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|extension| extension == "dwo")).collect();
    files.retain(|path| path.file_name().unwrap().to_str().unwrap().starts_with(&format!("{program}-")));
    let [file] = &files[..] else { panic!("{files:?}") };
    std::fs::read(file).unwrap()
}

/// Whether a section of that name, or of that of old compressed ones, is compressed.
fn is_compressed(file: &[u8], name: &[u8]) -> bool {
    let file = object::File::parse(file).unwrap();
    let mut sections = file.sections().filter(|section| {
        let own = section.name_bytes().unwrap();
        own == name || own.strip_prefix(b".z") == name.strip_prefix(b".")
    });
    sections.any(|section| section.compressed_file_range().unwrap().format != object::CompressionFormat::None)
}

#[test]
fn where_debug_information_is_makes_no_difference() {
    let build = Build::new();
    for gxx in ["g++", "clang++-22"] {
        for version in [4, 5] {
            let compile = format!("{gxx} -std=c++20 -gdwarf-{version} -O0 FIXTURES/types.cpp");
            build.run(&format!("{compile} -o plain"));
            let plain = essence(&build.search("plain", layouts("store::|Hidden")));
            assert!(plain.len() > 20);
            let same = |name: &str| {
                let answer = build.search(name, layouts("store::|Hidden"));
                assert_eq!(answer.problems, [] as [String; 0], "{gxx} {version} {name}");
                assert_same(&essence(&answer), &plain, &format!("{gxx} {version} {name}"));
            };
            build.run(&format!("{compile} -fdebug-types-section -o type_units"));
            same("type_units");
            build.run("objcopy --compress-debug-sections=zlib plain zlib");
            same("zlib");
            build.run("objcopy --compress-debug-sections=zstd plain zstd");
            same("zstd");
            build.run(&format!("{compile} -gsplit-dwarf -o split"));
            same("split");
            build.run(&format!("{compile} -gsplit-dwarf -fdebug-types-section -o split_type_units"));
            same("split_type_units");
            for (compression, able) in [("zlib", "clang++-22 g++"), ("zlib-gnu", "g++"), ("zstd", "clang++-22")] {
                if able.split(' ').all(|able| able != gxx) {
                    continue;
                }
                for units in ["", "-fdebug-types-section"] {
                    build.run(&format!("{compile} -gsplit-dwarf {units} -gz={compression} -o compressed"));
                    let compressed = read_dwo(&build, "compressed");
                    assert!(is_compressed(&compressed, b".debug_info.dwo"), "{gxx} {version} {units} {compression}");
                    same("compressed");
                }
            }
            // dwp and llvm-dwp crash or never end at what GCC writes in version 5.
            if (gxx, version) == ("g++", 5) {
                continue;
            }
            for name in ["split", "split_type_units"] {
                build.run(&format!(
                    "{compile} -gsplit-dwarf {} -o {name}",
                    if name == "split" { "" } else { "-fdebug-types-section" }
                ));
                build.run(&format!("llvm-dwp-22 -e {name} -o {name}.dwp"));
                let dwo = std::fs::read_dir(build.path("."))
                    .unwrap()
                    .flatten()
                    .filter(|entry| entry.path().extension().is_some_and(|ext| ext == "dwo"));
                dwo.for_each(|entry| std::fs::remove_file(entry.path()).unwrap());
                same(name);
                for format in ["zlib", "zstd"] {
                    build.run(&format!("llvm-objcopy-22 --compress-debug-sections={format} {name}.dwp"));
                    let package = std::fs::read(build.path(&format!("{name}.dwp"))).unwrap();
                    assert!(is_compressed(&package, b".debug_str.dwo"), "{gxx} {version} {name} {format}");
                    same(name);
                    build.run(&format!("llvm-objcopy-22 --decompress-debug-sections {name}.dwp"));
                }
                std::fs::remove_file(build.path(&format!("{name}.dwp"))).unwrap();
            }
            let missing = build.search("split", layouts("store::"));
            assert_eq!(missing.total, 0);
            assert!(missing.problems.iter().any(|problem| problem.contains(".dwo")), "{:?}", missing.problems);
        }
    }
}

#[test]
fn what_dwz_shares_between_files_is_found_in_both() {
    let build = Build::new();
    for version in [4, 5] {
        for name in ["one", "two"] {
            build.run(&format!("g++ -std=c++20 -gdwarf-{version} -O0 FIXTURES/types.cpp -o {name}"));
        }
        build.run("g++ -std=c++20 -gdwarf-5 -O1 -c FIXTURES/types.cpp -o other.o");
        let plain = build.search("one", layouts("store::|Hidden"));
        build.run(&format!("dwz --dwarf-5 -m {} -M {} one two", build.path("shared"), build.path("shared")));
        for name in ["one", "two"] {
            let answer = build.search(name, layouts("store::|Hidden"));
            assert_eq!(answer.problems, [] as [String; 0]);
            assert_same(&essence(&answer), &essence(&plain), name);
        }
    }
}

#[test]
fn the_answer_is_the_same_however_it_is_cut_and_by_however_many() {
    let build = Build::new();
    build.run("g++ -std=c++20 -g -fdebug-types-section FIXTURES/types.cpp -o cpp");
    build.run("gcc -g FIXTURES/types.c -o c");
    let paths = [build.path("cpp"), build.path("c")];
    for options in [layouts("."), sorted(".", Sort::Size, 9), sorted("t", Sort::Padding, 20)] {
        let first = crate::programs::search(&paths, options.clone());
        for threads in [1, 2, 7] {
            assert_eq!(search_by(&paths, options.clone(), threads), first);
        }
    }
}

#[test]
fn a_literal_in_the_regex_changes_nothing_but_the_time() {
    let build = Build::new();
    build.run("g++ -std=c++20 -g FIXTURES/types.cpp -o types");
    // A class of one letter is no literal, so every name is looked at.
    for (plain, slow) in [
        ("Buffer", "[B][u][f][f][e][r]"),
        ("store::Circle", "[s][t][o][r][e]::[C][i][r][c][l][e]"),
        ("Iterator$", "[I][t][e][r][a][t][o][r]$"),
        ("work", "[w][o][r][k]"),
        (r"Outer::work\(\)::Lo", r"[O][u][t][e][r]::[w][o][r][k]\(\)::[L][o]"),
        ("Hidden", "[H]idde[n]"),
        ("anonymous", "[a]nonymou[s]"),
    ] {
        let expected = build.search("types", layouts(&format!("(?:{slow}|[0])")));
        let found = build.search("types", layouts(plain));
        assert!(found.total > 0, "{plain}");
        assert_eq!(found.rows, expected.rows, "{plain}");
    }
}
