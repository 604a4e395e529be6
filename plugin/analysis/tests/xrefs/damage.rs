//! Damaged files.

use crate::build::Build;
use crate::search::{How, Image};
use ::analysis::xrefs::{Name, Named, Target};
use std::path::PathBuf;

/// A small program that is linked by hand: with code, stubs, relocations and unwind tables.
fn small(build: &Build) -> PathBuf {
    let library = build.compile("gcc", "xrefs_library.c", "liblibrary.so", "-O2 -fPIC -shared");
    assert!(library.exists());
    let options = "-O2 -pie -fPIE -nostartfiles -Wl,-e,main -Wl,-z,noseparate-code -Wl,-z,norelro -Wl,--hash-style=gnu -L. -llibrary";
    build.compile("gcc", "xrefs.c", "small", options)
}

/// Searches a damaged file, in both ways: either it is refused, or both find the same.
fn search(bytes: Vec<u8>, targets: &[Named]) -> bool {
    let image = Image::of(bytes);
    let found = image.try_references(0, targets, How::Scan(1 << 20));
    if let Some(found) = &found {
        assert_eq!(image.try_references(0, targets, How::Sweep).as_ref(), Some(found));
    }
    found.is_some()
}

fn targets(image: &Image) -> Vec<Named> {
    let outside = Name { name: b"library_step".to_vec(), version: None, address: 0 };
    let outside = Named { target: Target::Outside(outside.name.clone()), names: vec![outside] };
    vec![image.target(0, "step"), image.target(0, "counter"), outside]
}

#[test]
fn a_file_that_is_cut_off_anywhere_is_searched_or_refused() {
    let build = Build::new();
    let image = Image::read(&small(&build));
    let targets = targets(&image);
    let bytes = image.bytes();
    assert!(search(bytes.to_vec(), &targets));
    let mut refused = 0;
    for length in 0..bytes.len() {
        refused += usize::from(!search(bytes[..length].to_vec(), &targets));
    }
    assert!(refused > 0);
}

#[test]
fn a_file_with_any_byte_changed_is_searched_or_refused() {
    let build = Build::new();
    let image = Image::read(&small(&build));
    let targets = targets(&image);
    let bytes = image.bytes();
    let mut searched = 0;
    for place in 0..bytes.len() {
        for change in [0x01, 0xff] {
            let mut damaged = bytes.to_vec();
            damaged[place] ^= change;
            searched += usize::from(search(damaged, &targets));
        }
    }
    assert!(searched > bytes.len());
}
