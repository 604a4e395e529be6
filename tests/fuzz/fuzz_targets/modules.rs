//! The files of modules: what a survey finds of them, and reading all of it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use target::Access;
use target::modules::{FileSet, Files, Module, Search, inflate, survey};

fuzz_target!(|bytes: &[u8]| {
    let image = Some(bytes.to_vec());
    let module = Module { path: "file".into(), base: Some(0x10000), image, ..Module::default() };
    let surveyed = survey(&module, &Search::default());
    let set = FileSet::new(vec![surveyed.clone(), surveyed.clone()]);
    let files = Files::new(set, Vec::new(), Access::Pread, None);
    for (index, section) in surveyed.sections.iter().enumerate() {
        let range = files.set().range(1, index);
        let content = files.section(1, index);
        if let Ok(content) = &content {
            assert_eq!(content.len() as u64, range.len());
        }
        if !range.is_empty() {
            let (module, found, offset) = files.set().locate(range.start).expect("a section is there");
            assert_eq!((module, files.set().range(1, found).start + offset), (1, range.start));
        }
        // A bad relocation is an error, too.
        if section.compressed.is_some() && !surveyed.files[section.file].relocatable {
            assert_eq!(inflate(&surveyed, index).is_ok(), content.is_ok());
        }
    }
});
