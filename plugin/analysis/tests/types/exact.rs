//! A name, or a part of one, finds what going through all types finds, wherever debug information keeps names.

use crate::programs::{Build, sorted};
use analysis::types::Sort;
use regex_automata::meta::Regex;
use std::collections::BTreeMap;

/// Kinds and sizes of what was found, by name.
type Types = BTreeMap<String, Vec<(String, Option<u64>)>>;

#[track_caller]
fn types(build: &Build, name: &str, regex: &str) -> Types {
    let answer = build.search_at_once(name, sorted(regex, Sort::Name, 1_000_000));
    assert_eq!(answer.problems, [] as [String; 0], "{name}: {regex}");
    let mut types = Types::new();
    for row in answer.rows {
        types.entry(row.name).or_default().push((row.kind, row.size));
    }
    types.values_mut().for_each(|all| all.sort_unstable());
    types
}

/// For each type of `name`: that it is found by its name and by parts of it, each with all else that is to be found by them.
#[track_caller]
fn checked(build: &Build, name: &str) {
    let all = types(build, name, ".");
    assert!(all.len() > 10, "{name}: {:?}", all.keys());
    for (number, spelled) in all.keys().enumerate() {
        let escape = |text: &str| regex_syntax::escape(text);
        let middle = spelled.char_indices().nth(1 + number % 5).map_or(0, |(at, _)| at);
        let last = spelled.rsplit("::").next().unwrap();
        let regex = match number % 6 {
            0 => escape(&spelled[middle..]),
            1 => format!("^{}", escape(&spelled[..spelled.len() - middle.min(spelled.len() / 2)])),
            2 => format!("{}$", escape(&spelled[middle..])),
            3 => format!("(^|::){}$", escape(last)),
            4 => escape(last),
            _ => format!("^.*{}", escape(&spelled[middle..])),
        };
        for regex in [format!("^{}$", escape(spelled)), regex] {
            let matching = Regex::new(&regex).unwrap();
            let expected: Types = all
                .iter()
                .filter(|(name, _)| matching.is_match(name))
                .map(|(name, all)| (name.clone(), all.clone()))
                .collect();
            assert!(!expected.is_empty(), "{name}: {regex}");
            assert_eq!(types(build, name, &regex), expected, "{name}: {regex}");
        }
    }
}

#[test]
fn in_one_file() {
    let build = Build::new();
    for compiler in ["g++", "clang++-22"] {
        for options in ["-gdwarf-4", "-gdwarf-5", "-gdwarf-5 -fdebug-types-section", "-gdwarf-5 -gdwarf64 -O2"] {
            build.run(&format!("{compiler} -std=c++20 -O0 {options} FIXTURES/types.cpp -o one"));
            checked(&build, "one");
        }
        let c = compiler.replace("++", if compiler == "g++" { "cc" } else { "" });
        build.run(&format!("{c} -g FIXTURES/types.c -o c"));
        checked(&build, "c");
    }
}

#[test]
fn in_split_files_and_packages() {
    let build = Build::new();
    for compiler in ["g++", "clang++-22"] {
        for options in ["-gdwarf-4", "-gdwarf-5", "-gdwarf-5 -fdebug-types-section"] {
            build.run(&format!("{compiler} -std=c++20 -O0 -gsplit-dwarf {options} FIXTURES/types.cpp -o split"));
            checked(&build, "split");
            // It never ends at what GCC writes in version 5.
            if compiler == "g++" && options.contains('5') {
                continue;
            }
            build.run("llvm-dwp-22 -e split -o split.dwp");
            checked(&build, "split");
            std::fs::remove_file(build.path("split.dwp")).unwrap();
        }
    }
}

#[test]
fn in_several_units_of_which_some_only_declare_it() {
    let build = Build::new();
    for compiler in ["g++", "clang++-22"] {
        for options in ["-gdwarf-4", "-gdwarf-5"] {
            for part in ["FIRST", "SECOND"] {
                let file = part.to_lowercase();
                build.run(&format!("{compiler} -std=c++20 {options} -D{part} -c FIXTURES/names.cpp -o {file}.o"));
            }
            build.run(&format!("{compiler} first.o second.o -o several"));
            checked(&build, "several");
        }
    }
}

#[test]
fn in_a_program_of_rust() {
    let build = Build::new();
    for options in ["-C opt-level=0", "-C opt-level=2 -C codegen-units=4"] {
        build.run(&format!("rustc --edition 2021 -g {options} FIXTURES/types.rs -o rust"));
        checked(&build, "rust");
    }
}

#[test]
fn in_a_file_that_shares_names_with_others() {
    let build = Build::new();
    for name in ["one", "two"] {
        build.run(&format!("g++ -std=c++20 -gdwarf-5 -O0 FIXTURES/types.cpp -o {name}"));
    }
    build.run(&format!("dwz --dwarf-5 -m {} -M {} one two", build.path("shared"), build.path("shared")));
    checked(&build, "one");
}
