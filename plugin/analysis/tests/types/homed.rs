//! Classes that a unit only declares, because the compiler expects another unit to define them.

use crate::programs::{Answer, Build, layouts, search, search_by, search_by_in_parts, sorted};
use analysis::TypeRow;
use analysis::types::{Sort, TypesOptions};

/// Links the fixture's units, of which the one with `main` comes first or last.
pub fn build(build: &Build, options: &str, first: bool, name: &str) {
    for (define, object) in [("-DMAIN", "main"), ("-DHOME", "home"), ("-DOTHER", "other")] {
        build.run(&format!("clang++-22 {options} {define} -c FIXTURES/homed.cpp -o {name}_{object}.o"));
    }
    let order = if first { ["main", "home", "other"] } else { ["other", "home", "main"] };
    let objects = order.map(|object| format!("{name}_{object}.o")).join(" ");
    build.run(&format!("clang++-22 {objects} -o {name}"));
}

/// Those that have members or bases which other units define, all of them in one way.
const USERS: [&str; 7] = ["Member", "Table", "Base", "Nothing", "Split", "Boxes", "Plain"];

/// They, whichever module they are of.
fn users(answer: &Answer) -> Vec<TypeRow> {
    USERS.map(|name| TypeRow { module: String::new(), ..answer.row(&format!("homed::{name}")).clone() }).to_vec()
}

fn sizes(row: &TypeRow) -> Vec<Option<u64>> {
    row.layout.as_ref().unwrap().members.iter().map(|member| member.size).collect()
}

#[test]
fn what_another_unit_defines_is_as_large_as_it_says() {
    let folder = Build::new();
    for version in ["-gdwarf-4", "-gdwarf-5", "-gdwarf-5 -gsplit-dwarf", "-gdwarf-4 -fdebug-types-section"] {
        build(&folder, &format!("{version} -fstandalone-debug"), true, "whole");
        let whole = folder.search("whole", layouts("^homed::"));
        for first in [true, false] {
            build(&folder, version, first, "limited");
            let limited = folder.search("limited", layouts("^homed::"));
            assert_eq!(limited.problems, [] as [String; 0]);
            assert_eq!(users(&limited), users(&whole), "{version}");
            assert!(users(&limited).iter().flat_map(sizes).all(|size| size.is_some()));
        }
    }
    // By itself, the unit does not say.
    build(&folder, "-g", true, "limited");
    let [alone, linked] = ["limited_main.o", "limited"].map(|name| folder.search(name, layouts("^homed::")));
    assert_eq!(sizes(alone.row("homed::Member")), [Some(1), None, Some(1)]);
    let boxes = [&alone, &linked].map(|answer| answer.row("homed::Boxes").padding);
    assert_eq!(boxes, [Some(7), Some(4 + 7)]);
    let alias = [&alone, &linked].map(|answer| answer.rows.iter().find(|row| row.name == "homed::Alias").unwrap().size);
    assert_eq!(alias, [None, Some(12)]);
}

#[test]
fn what_another_module_defines_is_as_large_as_it_says() {
    let folder = Build::new();
    build(&folder, "-g -fstandalone-debug", true, "whole");
    build(&folder, "-g -fPIC", true, "limited");
    for part in ["main", "home", "other"] {
        folder.run(&format!("clang++-22 -shared limited_{part}.o -o {part}.so"));
    }
    let [main, home, other] = ["main.so", "home.so", "other.so"].map(|name| folder.path(name));
    let expected = users(&folder.search("whole", layouts("^homed::")));
    for paths in [[&main, &home, &other], [&other, &home, &main]] {
        let answer = search(&paths.map(String::clone), layouts("^homed::"));
        assert_eq!(answer.problems, [] as [String; 0]);
        assert_eq!(users(&answer), expected);
        // The two modules that define it do not agree.
        assert_eq!(sizes(answer.row("homed::Unsure")), [Some(1), None, Some(1)]);
    }
    let alone = search(&[main, other], layouts("^homed::"));
    assert_eq!(sizes(alone.row("homed::Member")), [Some(1), None, Some(1)]);
}

#[test]
fn what_two_units_define_in_two_ways_is_of_unknown_size() {
    let folder = Build::new();
    build(&folder, "-g", true, "limited");
    let limited = folder.search("limited", layouts("^homed::"));
    assert_eq!(limited.rows.iter().filter(|row| row.name == "homed::Either").count(), 2);
    assert_eq!(sizes(limited.row("homed::Unsure")), [Some(1), None, Some(1)]);
    assert_eq!(limited.row("homed::Unsure").padding, Some(7 + 7));
}

#[test]
fn an_instance_whose_name_does_not_say_of_what_is_of_unknown_size() {
    let folder = Build::new();
    build(&folder, "-g -gsimple-template-names", true, "limited");
    let limited = folder.search("limited", layouts("^homed::"));
    assert_eq!(sizes(limited.row("homed::Boxes")), [None, None, Some(1)]);
    assert_eq!(sizes(limited.row("homed::Member")), [Some(1), Some(12), Some(1)]);
}

#[test]
fn types_are_ranked_by_what_other_units_define_whoever_finds_them() {
    let folder = Build::new();
    build(&folder, "-g -fstandalone-debug", true, "whole");
    let ranked = |answer: &Answer| -> Vec<(String, Option<u64>)> {
        answer.rows.iter().map(|row| (row.name.clone(), row.padding)).collect()
    };
    let expected = ranked(&folder.search("whole", sorted("^homed::[^EU]", Sort::Padding, 100)));
    assert!(expected.len() >= 12 && expected[3].1 > Some(0), "{expected:?}");
    for first in [true, false] {
        build(&folder, "-g", first, "limited");
        for limit in [1, 2, 3, 100] {
            let options = || sorted("^homed::[^EU]", Sort::Padding, limit);
            let found = folder.search("limited", options());
            assert_eq!(ranked(&found), expected[..limit.min(expected.len())]);
            let path = [folder.path("limited")];
            for threads in [1, 2, 7] {
                assert_eq!(search_by(&path, options(), threads), found);
                assert_eq!(search_by_in_parts(&path, options(), threads), found);
            }
        }
    }
}

#[test]
fn a_size_that_any_unit_knows_is_known() {
    let folder = Build::new();
    let declares = "struct body; typedef struct body *pointer; typedef struct body late; late *PLACE;";
    std::fs::write(folder.path("declares.c"), declares).unwrap();
    let defines =
        "struct body { int i[5]; }; typedef struct body late; late *PLACE; late object; int main(void) { return 0; }";
    std::fs::write(folder.path("defines.c"), defines).unwrap();
    for version in ["-gdwarf-4", "-gdwarf-5", "-gdwarf-4 -fdebug-types-section", "-gdwarf-5 -gsplit-dwarf"] {
        for (unit, place) in [("declares", "one"), ("defines", "two"), ("declares", "three")] {
            folder.run(&format!("gcc {version} -DPLACE={place} -c {unit}.c -o {place}.o"));
        }
        for order in ["one.o two.o three.o", "two.o one.o three.o", "one.o three.o two.o"] {
            folder.run(&format!("gcc {order} -o program"));
            let late = |options: TypesOptions| {
                let answers = [folder.search("program", options.clone()), folder.search_at_once("program", options)];
                assert_eq!(answers[0], answers[1], "{version} {order}");
                let [answer, _] = answers;
                assert_eq!(answer.problems, [] as [String; 0]);
                answer.rows.into_iter().map(|row| (row.name, row.size)).collect::<Vec<_>>()
            };
            let expected = [("late".to_owned(), Some(20))];
            assert_eq!(late(sorted("^late$", Sort::Name, 10)), expected, "{version} {order}");
            let largest = late(sorted("late|body|pointer", Sort::Size, 2));
            assert!(largest.contains(&expected[0]) && largest.len() == 2, "{version} {order}: {largest:?}");
            let large = TypesOptions { min_size: 20, ..sorted("^late$", Sort::Size, 10) };
            assert_eq!(late(large), expected, "{version} {order}");
        }
    }
}
