//! Layouts of fixtures that are known from their sources.

use crate::programs::{Answer, Build, layouts, sorted};
use analysis::types::Sort;
use analysis::{HoleRow, LayoutRow, MemberRow, TypeRow, Unknown};

const COMPILERS: [(&str, &str); 2] = [("gcc", "g++"), ("clang-22", "clang++-22")];

/// `name type@offset+size`, with bits and notes where there are any; members of members in brackets.
fn written(member: &MemberRow) -> String {
    let MemberRow { name, declaration, offset, size, bits, note, members, .. } = member;
    let what = if declaration.is_empty() { name } else { declaration };
    let mut text = match (offset, bits) {
        (None, _) => format!("{what}@?"),
        (Some(offset), None) => format!("{what}@{offset}+{}", size.unwrap_or(0)),
        (Some(offset), Some((bit, count))) => format!("{what}@{}:{count}", offset * 8 + bit),
    };
    if let Some(note) = note {
        text.push_str(&format!(" ({note})"));
    }
    if !members.is_empty() {
        text.push_str(&format!(" [{}]", members.iter().map(written).collect::<Vec<_>>().join(", ")));
    }
    text
}

fn members(answer: &Answer, name: &str) -> Vec<String> {
    let LayoutRow { members, .. } = answer.row(name).layout.as_ref().unwrap();
    members.iter().map(written).collect()
}

fn holes(answer: &Answer, name: &str) -> Vec<(u64, u64, u64)> {
    let LayoutRow { holes, .. } = answer.row(name).layout.as_ref().unwrap();
    holes.iter().map(|HoleRow { offset, size, bits, .. }| (*offset, *size, *bits)).collect()
}

#[test]
fn structs_of_c_have_their_members_holes_and_padding() {
    let build = Build::new();
    for (gcc, _) in COMPILERS {
        for version in [4, 5] {
            build.run(&format!("{gcc} -gdwarf-{version} -gstrict-dwarf -O0 FIXTURES/types.c -o types"));
            let all = build.all("types");
            assert_eq!(
                members(&all, "plain"),
                ["char letter@0+1", "int number@4+4", "short end@8+2"].map(|text| {
                    if gcc == "gcc" { text.replace("short end", "short int end") } else { text.to_owned() }
                })
            );
            assert_eq!(holes(&all, "plain"), [(1, 3, 0)]);
            assert_eq!((all.row("plain").size, all.row("plain").padding), (Some(12), Some(5)));
            assert_eq!(members(&all, "packed"), ["char letter@0+1", "int number@1+4"]);
            assert_eq!(all.row("packed").padding, Some(0));
            let bits = members(&all, "bits");
            let places: Vec<&str> = bits.iter().map(|text| text.rsplit_once('@').unwrap().1).collect();
            assert_eq!(places, ["0:3", "5:7", "12:33", "6+1", "56:5"]);
            assert_eq!(holes(&all, "bits"), [(0, 0, 2), (5, 0, 3)]);
            let straddling = members(&all, "straddling");
            let places: Vec<&str> = straddling.iter().map(|text| text.rsplit_once('@').unwrap().1).collect();
            assert_eq!(places, ["0:9", "9:9", "18:1"]);
            assert_eq!(all.row("none").size, Some(0));
            assert_eq!(members(&all, "flexible")[1], "struct plain items[]@8+0");
            assert_eq!(members(&all, "large").len(), 5);
            assert_eq!(holes(&all, "large"), [(71, 1, 0), (104, 24, 0)]);
            assert_eq!(all.row("large").padding, Some(1 + 24 + 60));
            let anonymous = members(&all, "anonymous");
            assert!(
                anonymous[1].ends_with("[long number@8+8, char text[12]@8+12]")
                    || anonymous[1].ends_with("[long int number@8+8, char text[12]@8+12]"),
                "{anonymous:?}"
            );
            assert!(
                anonymous[2].contains("(anonymous struct) named@24+16 [char inner@24+1, double precise@32+8]"),
                "{anonymous:?}"
            );
            assert_eq!(all.row("anonymous").padding, Some(4 + 4 + 7 + 4));
            assert_eq!(all.row("either").size, Some(16));
            assert_eq!(all.row("point").kind, "struct", "a struct whose only name is a typedef's");
            assert_eq!(all.row("side").kind, "enum");
            let color: Vec<String> = all
                .row("color")
                .layout
                .as_ref()
                .unwrap()
                .members
                .iter()
                .map(|member| format!("{}={}", member.name, member.note.as_deref().unwrap_or("?")))
                .collect();
            assert_eq!(color, ["red=0", "green=5", "blue=-1"]);
            assert_eq!(all.row("local_type()::local").size, Some(16));
            assert!(
                !all.names().contains(&"declared")
                    || all.rows.iter().any(|row| row.name == "declared" && row.kind == "typedef")
            );
            let typedef = all.rows.iter().find(|row| row.name == "callback").unwrap();
            assert_eq!((typedef.kind.as_str(), typedef.size), ("typedef", Some(8)));
        }
    }
}

#[test]
fn members_are_declared_as_in_c() {
    let build = Build::new();
    build.run("gcc -g FIXTURES/types.c -o types");
    let all = build.all("types");
    assert_eq!(
        members(&all, "list"),
        [
            "struct list *next@0+8",
            "struct list **previous@8+8",
            "const char *name@16+8",
            "int (*compare)(const struct list *, const struct list *, ...)@24+8",
        ]
    );
    assert_eq!(
        members(&all, "arrays"),
        [
            "int matrix[3][4]@0+48",
            "char *names[5]@48+40",
            "int (*pointer)[7]@88+8",
            "struct plain (*make[2])(void)@96+16",
            "volatile const int fixed@112+4",
        ]
    );
}

#[test]
fn classes_of_cpp_have_bases_and_full_names() {
    let build = Build::new();
    for (_, gxx) in COMPILERS {
        for version in [4, 5] {
            build.run(&format!("{gxx} -std=c++20 -gdwarf-{version} -O0 FIXTURES/types.cpp -o types"));
            let all = build.all("types");
            let order = members(&all, "store::Order");
            assert_eq!(order[0], "store::Tagged@0+16 (base)");
            // The first member lies in what the base leaves free at its end.
            assert!(order[1] == "char flag@9+1" || order[1] == "char flag@16+1", "{order:?}");
            let bare = members(&all, "store::Bare");
            assert_eq!(bare, ["store::Empty@0+1 (base)", "int number@0+4"]);
            assert_eq!(all.row("store::Bare").padding, Some(0));
            let circle = members(&all, "store::Circle");
            assert_eq!(circle[0], "store::Shape@0+16 (base)");
            assert_eq!(circle[2..], ["store::Circle::Point centre@24+8", "store::Circle::Fill fill@32+1"]);
            assert_eq!(circle.len(), 4, "a static member is no part: {circle:?}");
            let shape = members(&all, "store::Shape");
            assert!(shape[0].contains("_vptr") && shape[0].ends_with("@0+8 (vptr)"), "{shape:?}");
            let left = members(&all, "store::Left");
            assert!(left.contains(&"store::Top@? (virtual base)".to_owned()), "{left:?}");
            assert_eq!(all.row("store::Left").padding, None);
            let buffer = members(&all, "store::Buffer<int, 7>");
            assert_eq!(buffer[0], "int items[7]@0+28");
            assert_eq!(buffer[1..], ["int used@224:4", "bool full@228:1"]);
            let iterator = members(&all, "store::Buffer<int, 7>::Iterator");
            assert_eq!(iterator, ["store::Buffer<int, 7> *buffer@0+8", "int *at@8+8"]);
            assert_eq!(
                members(&all, "store::Members")[..7],
                [
                    "int &reference@0+8",
                    "int &&moved@8+8",
                    "int store::Tagged::*field@16+8",
                    "double (store::Shape::*method)() const@24+16",
                    "void (*free_function)(const store::Tagged &, store::Tagged *const *)@40+8",
                    "const char *const *names@48+8",
                    "int (&array)[4]@56+8",
                ]
                .map(str::to_owned)
            );
            // Members stand in the order of their places.
            let late = members(&all, "store::Late");
            assert!(late[0].ends_with("@0+8 (vptr)"), "{late:?}");
            assert_eq!(late[1..], ["store::Plain@8+4 (base)", "char letter@12+1"]);
            let typedef = |name: &str| {
                let row = all.rows.iter().find(|row| row.name == name).unwrap();
                row.layout.as_ref().unwrap().members[0].declaration.clone()
            };
            assert_eq!(typedef("store::Triple"), "int store::Triple[3]");
            assert_eq!(typedef("store::Callback"), "void (*store::Callback)(int, store::Triple &)");
            assert_eq!(typedef("store::Method"), "int (store::Plain::*store::Method)(int) const volatile");
            let unknown = |name: &str| all.row(name).layout.as_ref().unwrap().unknown;
            assert_eq!(unknown("store::Left"), Some(Unknown::VirtualBase));
            assert_eq!(unknown("store::Late"), None);
            assert_eq!(all.row("store::Outer::Inner").size, Some(16));
            assert_eq!(all.row("store::Outer::work()::Local").size, Some(4));
            assert_eq!(all.row("(anonymous namespace)::Hidden").size, Some(16));
            assert_eq!(all.row("store::Circle::Fill").kind, "enum");
        }
    }
}

#[test]
fn what_a_member_of_unknown_size_may_take_is_not_unused() {
    let build = Build::new();
    for (_, gxx) in COMPILERS {
        build.run(&format!("{gxx} -std=c++20 -g -fPIC -shared FIXTURES/declared.cpp -o user"));
        let all = build.all("user");
        assert!(!all.names().contains(&"store::Keyed"), "{gxx}: {:?}", all.names());
        let unsized_of = |name: &str| -> Vec<&str> {
            let members = &all.row(name).layout.as_ref().unwrap().members;
            members.iter().filter(|row| row.size.is_none()).map(|row| row.declaration.as_str()).collect()
        };
        assert_eq!(unsized_of("store::Between"), ["store::Keyed keyed"]);
        assert_eq!(holes(&all, "store::Between"), [(1, 7, 0)], "{gxx}: before it, not behind it");
        assert_eq!(all.row("store::Between").padding, Some(7 + 7));
        assert_eq!(unsized_of("store::Derived"), ["store::Keyed"]);
        assert_eq!(holes(&all, "store::Derived"), []);
        assert_eq!(all.row("store::Derived").padding, Some(0), "virtual bases of its base may lie at the end");
        assert_eq!(unsized_of("store::Several"), ["store::Keyed pair[2]"]);
        // From the flag to the union.
        assert_eq!(holes(&all, "store::Several"), [(49, 7, 0)]);
        assert_eq!(all.row("store::Several").padding, Some(7), "{gxx}: the one in the union may be as large as that");
        assert_eq!(all.row("store::Nested").padding, Some(0));
        let padded = build.search("user", sorted("^store::", Sort::Padding, 2));
        let ranked: Vec<_> = padded.rows.iter().map(|row| (row.name.as_str(), row.padding)).collect();
        assert_eq!(ranked, [("store::Between", Some(14)), ("store::Several", Some(7))]);
    }
}

#[test]
fn enumerations_of_rust_have_variants() {
    let build = Build::new();
    build.run("rustc --edition 2021 -g -C opt-level=0 FIXTURES/types.rs -o types");
    let all = build.search("types", layouts("^types::"));
    assert_eq!(all.problems, [] as [String; 0]);
    let message = all.row("types::Message");
    assert_eq!((message.kind.as_str(), message.size), ("enum", Some(24)));
    let variants = members(&all, "types::Message");
    assert!(variants[0].ends_with("(discriminant)"), "{variants:?}");
    let names: Vec<&str> = message.layout.as_ref().unwrap().members[1..].iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names, ["Quit", "Move", "Write", "Batch"]);
    assert!(variants[2].contains("[i64 y@") && variants[2].contains("i32 x@"), "{variants:?}");
    assert_eq!(all.row("types::Level").kind, "enum");
    assert_eq!(all.row("types::Either").kind, "union");
    let order = members(&all, "types::Order<types::Level>");
    for part in ["u8 id", "&str name", "types::Level item", "[u16; 3] list", "fn(u32) -> u64 call", "(u8, u32) pair"] {
        assert!(order.iter().any(|member| member.starts_with(&format!("{part}@"))), "no {part}: {order:?}");
    }
}

#[test]
fn variants_of_rust_say_of_which_values_and_are_not_ranked_by_what_they_leave() {
    let build = Build::new();
    build.run("rustc --edition 2021 -g -C opt-level=0 FIXTURES/types.rs -o types");
    let all = build.search("types", layouts("^(types|core|alloc)::"));
    let notes = |name: &str| -> Vec<(String, String)> {
        let members = &all.row(name).layout.as_ref().unwrap().members;
        members.iter().map(|row| (row.name.clone(), row.note.clone().unwrap_or_default())).collect()
    };
    let of = |name: &str, note: &str| (name.to_owned(), note.to_owned());
    assert_eq!(notes("types::Signed")[1..], [of("Below", "variant -3"), of("Above", "variant 253")]);
    let text = notes("core::option::Option<alloc::string::String>");
    assert_eq!(text[1..], [of("None", "variant 9223372036854775808"), of("Some", "variant, any other value")]);
    let number = notes("core::result::Result<u128, ()>");
    assert_eq!(number[1..], [of("Ok", "variant 0"), of("Err", "variant 1")]);
    let wide = &all.row("types::Wide").layout.as_ref().unwrap().members;
    assert!(wide.is_sorted_by_key(|row| row.offset) && wide.len() == 4, "{wide:?}");
    let below = all.row("types::Signed::Below");
    let unknown = below.layout.as_ref().unwrap().unknown;
    assert_eq!((below.kind.as_str(), below.padding, unknown), ("variant", None, Some(Unknown::Variant)));
    let ranked = build.search("types", sorted("^types::", Sort::Padding, 1_000));
    let padded = ranked.rows.iter().take_while(|row| row.padding > Some(0));
    assert!(padded.clone().count() > 0 && padded.clone().all(|row| row.kind != "variant"), "{:?}", ranked.rows);
    assert!(ranked.rows.iter().any(|row| row.kind == "variant"), "{:?}", ranked.names());
}

#[test]
fn different_definitions_of_one_name_are_both_there() {
    let build = Build::new();
    build.run("gcc -g -c FIXTURES/types.c -o one.o");
    build.run("gcc -g -DOTHER -Wno-main -c FIXTURES/types.c -o other.o -Dlocal_type=other_local -fno-common");
    build.run("gcc -Wl,--allow-multiple-definition one.o other.o -o types");
    let all = build.all("types");
    let twins: Vec<_> = all.rows.iter().filter(|row| row.name == "twin").collect();
    assert_eq!(twins.iter().map(|row| row.definitions).collect::<Vec<_>>(), [Some(2), Some(2)]);
    let mut sizes: Vec<_> = twins.iter().map(|row| (row.size, row.line)).collect();
    sizes.sort_unstable();
    assert_eq!(sizes.len(), 2);
    assert!(sizes[0].0 == Some(8) && sizes[1].0 == Some(16) && sizes[0].1 < sizes[1].1, "{sizes:?}");
    assert!(twins.iter().all(|row| row.file.as_deref().is_some_and(|file| file.ends_with("/fixtures/types.c"))));
    // What both units define alike is there once.
    assert_eq!(all.row("plain").definitions, None);
    assert_eq!(all.total as usize, all.rows.len());
    assert!(
        all.notes.contains(&"1 name has several definitions".to_owned()),
        "{:?} {:?}",
        all.notes,
        all.rows.iter().filter(|row| row.definitions.is_some()).collect::<Vec<_>>()
    );
}

#[test]
fn members_of_one_name_in_several_namespaces_make_several_definitions() {
    let build = Build::new();
    for (number, space) in [(1, "one"), (2, "other")] {
        let text = format!(
            "namespace {space} {{ struct Part {{ int number; }}; class Outer {{ public: struct Inner {{ char c; }}; }}; }}
             struct Shared {{ {space}::Part part; {space}::Outer::Inner *inner; }} shared_{number};
             struct Same {{ int number; }} same_{number};
             typedef {space}::Part Name; Name name_{number};
             namespace both {{ struct Part {{ int number; }}; }}
             struct Alike {{ both::Part part; }} alike_{number};
             template <class T> using Alias = T *;
             template <class T> struct Holder {{ template <class U> using Other = Holder<U>; Other<T *> *next; }};
             Holder<int>::Other<char> holder_{number}; Alias<int> alias_{number}; Holder<int>::Other<long> held_{number};
             Alias<char> letters_{number};"
        );
        std::fs::write(build.path(&format!("{number}.cpp")), text).unwrap();
    }
    std::fs::write(build.path("main.cpp"), "int main() {}").unwrap();
    for options in
        ["g++ -gdwarf-5", "g++ -gdwarf-4 -fdebug-types-section", "clang++-22 -gdwarf-5", "clang++-22 -gdwarf-4"]
    {
        build.run(&format!("{options} 1.cpp 2.cpp main.cpp -o shared"));
        let all = build.all("shared");
        let count = |name: &str| {
            let rows = all.rows.iter().filter(|row| row.name == name);
            rows.map(|row| row.definitions.unwrap_or(1)).collect::<Vec<_>>()
        };
        for name in ["Shared", "Name"] {
            assert_eq!(count(name), [2, 2], "{options}: {name}");
        }
        for name in ["Same", "Alike", "both::Part", "one::Part"] {
            assert_eq!(count(name), [1], "{options}: {name}");
        }
        let several = |count: usize| format!("{count} names have several definitions");
        assert!(all.notes.contains(&several(2)), "{options}: {:?}", all.notes);
        // Found by its name, each is one of two as well.
        let found = build.search("shared", sorted("^Shared$", Sort::Name, 10));
        assert_eq!(found.rows.iter().map(|row| row.definitions).collect::<Vec<_>>(), [Some(2), Some(2)], "{options}");
    }
}

#[test]
fn a_struct_that_only_a_typedef_names_is_found_in_its_type_unit() {
    let build = Build::new();
    let text = "typedef struct { int a; char b; } Name; typedef Name Again; Name name; Again again;
                struct Around { Name member; } around; enum class Plain { one } plain; int main() {}";
    std::fs::write(build.path("name.cpp"), text).unwrap();
    for compiler in ["g++", "clang++-22"] {
        for version in [4, 5] {
            build.run(&format!("{compiler} -gdwarf-{version} name.cpp -o plain"));
            build.run(&format!("{compiler} -gdwarf-{version} -fdebug-types-section name.cpp -o units"));
            let told = |file: &str, regex: &str| {
                let answer = build.search(file, layouts(regex));
                let row = |row: &TypeRow| (row.kind.clone(), row.size, row.layout.clone());
                answer.rows.iter().map(row).collect::<Vec<_>>()
            };
            for regex in ["^Name$", "^Again$", "^Around$"] {
                assert_eq!(told("units", regex), told("plain", regex), "{compiler} {version}: {regex}");
            }
            let name = build.search("units", layouts("^Name$"));
            assert_eq!(members(&name, "Name"), ["int a@0+4", "char b@4+1"], "{compiler} {version}");
        }
    }
}

#[test]
fn types_are_ranked_and_limited_and_the_total_is_exact() {
    let build = Build::new();
    build.run("g++ -std=c++20 -g FIXTURES/types.cpp -o types");
    let all = build.search("types", sorted(".", Sort::Name, 1_000_000));
    // Those without a name of their own come last.
    let order = |row: &TypeRow| (row.name.ends_with(")") && row.name.contains("(anonymous "), row.name.clone());
    assert!(all.rows.is_sorted_by_key(order));
    let few = build.search("types", sorted(".", Sort::Name, 5));
    assert_eq!((few.total, &few.rows[..]), (all.total, &all.rows[..5]));
    let large = build.search("types", sorted(".", Sort::Size, 7));
    let mut sizes: Vec<_> = all.rows.iter().map(|row| row.size).collect();
    sizes.sort_unstable_by_key(|size| std::cmp::Reverse(*size));
    assert_eq!(large.rows.iter().map(|row| row.size).collect::<Vec<_>>(), sizes[..7]);
    let padded = build.search("types", sorted("^store::", Sort::Padding, 3));
    assert!(padded.rows[0].padding > Some(0) && padded.rows[0].padding >= padded.rows[1].padding);
    let mut options = sorted("^store::", Sort::Name, 100);
    options.min_size = 16;
    let large = build.search("types", options);
    assert!(!large.rows.is_empty() && large.rows.iter().all(|row| row.size >= Some(16)));
    assert_eq!(build.search("types", sorted("no such type", Sort::Name, 5)).total, 0);
}

#[test]
fn gdb_prints_the_same_layouts_of_classes() {
    let build = Build::new();
    build.run("g++ -std=c++20 -g FIXTURES/types.cpp -o types");
    let all = build.all("types");
    for name in ["store::Order", "store::Circle", "store::Second", "store::Held", "store::Members"] {
        std::fs::write(build.path("script"), format!("ptype /o struct {name}\n")).unwrap();
        let printed = build.run("gdb -nx -batch -x script types");
        // `/*     24      |       8 */    store::Circle::Point centre;`; what is in a member's type stands further right.
        let code = |line: &str| line.split_once("*/").map(|(_, code)| code.len() - code.trim_start().len());
        let left = printed.lines().filter(|line| line.trim_end().ends_with(';')).filter_map(code).min();
        let theirs: Vec<(u64, u64)> = printed
            .lines()
            .filter(|line| line.trim_end().ends_with(';') && !line.contains(")(") && code(line) == left)
            .filter_map(|line| {
                let comment = line.trim_start().strip_prefix("/*")?.split_once("*/")?.0;
                let (offset, size) = comment.split_once('|')?;
                Some((offset.trim().parse().ok()?, size.trim().parse().ok()?))
            })
            .collect();
        let ours = all.row(name).layout.as_ref().unwrap().members.iter();
        let ours: Vec<(u64, u64)> = ours.filter_map(|member| Some((member.offset?, member.size?))).collect();
        assert!(!theirs.is_empty(), "{printed}");
        for place in &theirs {
            assert!(ours.contains(place), "{name}: gdb has {place:?} in {printed}, we {ours:?}");
        }
    }
}
