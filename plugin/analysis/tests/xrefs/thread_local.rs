//! What refers to variables that each thread has of its own.

use crate::build::Build;
use crate::search::{How, Image};
use ::analysis::xrefs::{Kind, Named, Through};

/// The functions with references to a variable, in the order of their addresses, and what each goes through.
fn users(image: &Image, module: usize, target: &Named) -> Vec<(String, Through)> {
    let target = [target.clone()];
    let found = image.references(module, &target, How::Sweep);
    for size in [64, 1000, 1 << 20] {
        assert_eq!(image.references(module, &target, How::Scan(size)), found, "{target:x?} in tasks of {size}");
    }
    assert!(found.iter().all(|reference| reference.kind == Kind::Mention), "{found:x?}");
    let user = |address: u64| {
        let names = ["next", "entry", "enter", "outside", "main", "library_next", "library_hidden"];
        let all = names.into_iter().filter_map(|name| Some((image.symbol(name)?, name)));
        let mut within = all.filter(|((start, size, _), _)| address.wrapping_sub(*start) < *size);
        within.next().map_or_else(|| format!("{address:#x}"), |(_, name)| name.to_owned())
    };
    found.iter().map(|reference| (user(reference.address), reference.through)).collect()
}

fn expected(users: &[(&str, Through)]) -> Vec<(String, Through)> {
    users.iter().map(|(name, through)| ((*name).to_owned(), *through)).collect()
}

/// By an offset from the thread pointer, by one that the dynamic linker writes into a slot, and by what asks a function.
#[test]
fn code_that_uses_a_variable_of_its_thread_is_found() {
    use Through::{Direct, Got};
    let build = Build::new();
    for dialect in ["gnu", "gnu2"] {
        let options = format!("-O1 -mtls-dialect={dialect} -fPIC -shared");
        let library = build.compile("gcc", "xrefs_thread_library.c", "liblibrary.so", &options);
        let library = Image::read(&library);
        for (compiler, options) in [
            ("gcc", "-pie -fPIE"),
            ("gcc", "-no-pie -fno-pie"),
            ("clang-22", "-pie -fPIE"),
            ("clang-22", "-fuse-ld=lld-22 -pie -fPIE"),
        ] {
            let options = format!("-O1 {options} -L. -llibrary");
            let program = Image::read(&build.compile(compiler, "xrefs_thread.c", "program", &options));
            for (name, found) in [
                ("counter", &[("next", Direct), ("next", Direct)][..]),
                ("table", &[("entry", Direct), ("enter", Direct)]),
                ("first", &[("main", Direct)]),
            ] {
                let target = program.thread_local(0, name);
                assert_eq!(users(&program, 0, &target), expected(found), "{name}: {compiler} {options}");
                assert_eq!(users(&library, 1, &target), [], "{name}");
            }
            let target = library.thread_local(1, "library_counter");
            assert_eq!(users(&program, 0, &target), expected(&[("outside", Got)]), "{compiler} {options}");
            assert_eq!(users(&library, 1, &target), expected(&[("library_next", Got)]), "{dialect}");
        }
        // What asks for all of the library's variables at once says of none which it is.
        let own = users(&library, 1, &library.thread_local(1, "library_own"));
        let alone = if dialect == "gnu2" { expected(&[("library_hidden", Got)]) } else { Vec::new() };
        assert_eq!(own, alone, "{dialect}");
    }
}
