//! What is kept of units changes nothing of what is found.

use crate::programs::{Build, layouts, search, search_kept, sorted};
use analysis::types::{Sort, TypesOptions};
use std::fmt::Write as _;
use std::fs;

/// A program of several units, large enough that something is kept: of types that all units define, and of some that each has by
/// itself, one name of which each defines in its own way.
fn program(build: &Build) -> String {
    let mut common = String::new();
    for number in 0..3000 {
        let _ = write!(
            common,
            "struct common_{number} {{ char c; long l[{}]; struct common_{number} *next; }};",
            number % 7
        );
        let _ =
            write!(common, "typedef struct common_{number} alias_{number}; enum kind_{number} {{ value_{number} }};");
    }
    fs::write(build.path("common.h"), common).unwrap();
    let mut units = String::new();
    for unit in 0..4 {
        let mut text = "#include \"common.h\"\n".to_owned();
        for number in 0..3000 {
            let _ = write!(text, "alias_{number} object_{unit}_{number}; enum kind_{number} one_{unit}_{number};");
        }
        let _ = write!(
            text,
            "struct own_{unit} {{ int i; }} own_{unit}; struct differs {{ char c[{}]; }} differs_{unit};",
            unit + 1
        );
        // Of the same type, one knows the size and the others do not.
        let body = if unit == 2 { "{ int i[5]; }" } else { "" };
        let _ = write!(text, "struct sized {body}; typedef struct sized late; late *late_{unit};");
        if unit == 0 {
            text += "int main(void) { return 0; }";
        }
        fs::write(build.path(&format!("unit{unit}.c")), text).unwrap();
        let _ = write!(units, " unit{unit}.c");
    }
    // One unit only declares what the other defines.
    for (define, object) in [("MAIN", "user.o"), ("HOME", "home.o"), ("OTHER", "other.o")] {
        build.run(&format!("clang++-22 -g -D{define} -Dmain=user -c FIXTURES/homed.cpp -o {object}"));
    }
    build.run(&format!("gcc -g -O0 user.o {units} home.o other.o -lstdc++ -Wl,--build-id -o large"));
    build.path("large")
}

#[test]
fn what_is_kept_changes_nothing() {
    let build = Build::new();
    let path = program(&build);
    let folder = tempfile::tempdir().unwrap();
    let searches = [
        layouts("."),
        layouts("^common_17$"),
        layouts("own_|differs|late"),
        layouts("(?i)COMMON_1.*9"),
        layouts("nothing"),
        TypesOptions { min_size: 8, ..layouts("late|sized") },
        sorted(".", Sort::Size, 40),
        sorted("common", Sort::Padding, 40),
        sorted("_1", Sort::Name, 7),
        layouts("^homed::"),
        sorted("^homed::", Sort::Padding, 40),
        sorted("^homed::", Sort::Padding, 2),
    ];
    let expected = searches.each_ref().map(|options| search(std::slice::from_ref(&path), options.clone()));
    assert!(expected[0].total > 9000 && expected[0].problems.is_empty(), "{}", expected[0].total);
    assert!(expected[5].rows.iter().any(|row| row.name == "late" && row.size == Some(20)), "{:?}", expected[5].rows);
    let boxes = [9, 10].map(|search: usize| expected[search].row("homed::Boxes").padding);
    assert_eq!(boxes, [Some(4 + 7), Some(4 + 7)]);
    let all = || searches.iter().zip(&expected);
    // Nothing is kept yet, and then it is.
    let (first, chores) = search_kept(&path, searches[0].clone(), folder.path(), true);
    assert!(first == expected[0] && chores > 0);
    let kept = || fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    assert_eq!(kept().len(), chores);
    for (options, expected) in all() {
        let (found, chores) = search_kept(&path, options.clone(), folder.path(), false);
        assert_eq!(chores, 0);
        assert!(found == *expected, "{options:?}: {} for {}", found.total, expected.total);
    }
    // It is the same whoever keeps it.
    let bytes = || kept().iter().map(|path| fs::read(path).unwrap()).collect::<Vec<_>>();
    let before = bytes();
    kept().iter().for_each(|path| fs::write(path, b"damaged").unwrap());
    let (found, chores) = search_kept(&path, searches[1].clone(), folder.path(), true);
    assert!(found == expected[1] && chores == before.len());
    assert_eq!(bytes(), before);
}
