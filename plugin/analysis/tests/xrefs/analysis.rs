//! The analysis, as a command runs it.

use crate::build::Build;
use crate::search::{How, Image};
use ::analysis::files::FileAnalysis;
use ::analysis::xrefs::{Found, Kind, Kinds, Target, Xrefs, XrefsOptions};
use ::analysis::{Cut, InProcess, Results, Serial, Sink, Stop, run};
use std::path::Path;
use std::sync::Arc;
use target::modules::{FileSet, Files, Module, Search, survey};
use target::{Access, AddressRange};

fn set(paths: &[&Path]) -> FileSet {
    let module = |path: &&Path| Module { path: path.to_str().unwrap().to_owned(), ..Module::default() };
    FileSet::new(paths.iter().map(|path| survey(&module(path), &Search::default())).collect())
}

fn options(target: Target, kinds: Kinds) -> XrefsOptions {
    XrefsOptions { targets: vec![target], labels: vec!["it".to_owned()], kinds, limit: u64::MAX }
}

/// What a search finds, with tasks of at most so many bytes, on so many threads; and the notes.
fn found(set: FileSet, options: XrefsOptions, task: u64, threads: usize) -> (Vec<Found>, Vec<String>) {
    let analysis = Arc::new(Xrefs::new(set.clone(), options).unwrap());
    let files = Arc::new(Files::new(set, Vec::new(), Access::Pread, None));
    let cut = Cut { block: task, task, sparse: task };
    let mut found: Vec<Found> = Vec::new();
    let mut outcome = match threads {
        0 => run(&*analysis, &mut Serial::new(Arc::clone(&analysis), Arc::clone(&files)), &files, cut, &mut found),
        threads => {
            let mut executor = InProcess::new(Arc::clone(&analysis), Arc::clone(&files), threads);
            run(&*analysis, &mut executor, &files, cut, &mut found)
        }
    };
    while analysis.finish(&mut outcome.merge, &mut found) {}
    assert_eq!(outcome.skipped, []);
    assert_eq!(analysis.total(&outcome.merge), found.len() as u64);
    (found, analysis.notes(&outcome.merge))
}

#[test]
fn a_search_through_several_modules_finds_the_same_however_it_is_cut() {
    let build = Build::new();
    let library = build.compile("gcc", "xrefs_library.c", "liblibrary.so", "-O2 -g -fPIC -shared");
    for option in ["-no-pie -fno-pie", "-pie -fPIE"] {
        let program = build.compile("gcc", "xrefs.c", "program", &format!("-O2 -g {option} -L. -llibrary"));
        let images = [Image::read(&program), Image::read(&library)];
        let set = set(&[&program, &library]);
        for (module, name) in [(0, "step"), (0, "counter"), (1, "library_step"), (1, "library_counter")] {
            let target = images[module].target(module, name);
            let mut expected: Vec<Found> = Vec::new();
            for (number, image) in images.iter().enumerate() {
                let references = image.references(number, std::slice::from_ref(&target), How::Sweep);
                expected.extend(references.into_iter().map(|reference| Found { module: number as u32, reference }));
            }
            for (task, threads) in [(1 << 20, 0), (100, 0), (100, 3), (4096, 2)] {
                let options = options(target.target.clone(), Kinds::ALL);
                let (found, _) = found(set.clone(), options, task, threads);
                assert_eq!(found, expected, "{name} {option} in tasks of {task} bytes on {threads} threads");
            }
            for kind in [Kind::Call, Kind::Jump, Kind::Mention, Kind::Pointer] {
                let options = options(target.target.clone(), Kinds::only(kind));
                let (found, _) = found(set.clone(), options, 1 << 20, 0);
                let expected: Vec<Found> =
                    expected.iter().filter(|found| found.reference.kind == kind).copied().collect();
                assert_eq!(found, expected, "{name} {option} {kind:?}");
            }
        }
    }
}

#[test]
fn what_no_module_defines_is_known_by_its_name() {
    let build = Build::new();
    build.compile("gcc", "xrefs_library.c", "liblibrary.so", "-O2 -fPIC -shared");
    let program = build.compile("gcc", "xrefs.c", "program", "-O2 -pie -fPIE -L. -llibrary");
    let options = options(Target::Outside(b"library_run".to_vec()), Kinds::ALL);
    let (found, _) = found(set(&[&program]), options, 1 << 20, 0);
    assert_eq!(found.iter().map(|found| found.reference.kind).collect::<Vec<_>>(), [Kind::Call]);
}

#[test]
fn of_what_each_thread_has_it_is_said_what_is_not_found() {
    let build = Build::new();
    build.compile("gcc", "xrefs_thread_library.c", "liblibrary.so", "-O1 -fPIC -shared");
    let program = build.compile("gcc", "xrefs_thread.c", "program", "-O1 -pie -fPIE -L. -llibrary");
    let target = Image::read(&program).thread_local(0, "counter").target;
    let (found, notes) = found(set(&[&program]), options(target, Kinds::ALL), 1 << 20, 0);
    assert_eq!(found.len(), 2);
    let note = "code that first works out where a thread's own variables are, and then adds an offset, is not found";
    assert_eq!(notes, [note]);
}

#[test]
fn nothing_found_is_said_with_where_it_was_looked_for() {
    let build = Build::new();
    let library = build.compile("gcc", "xrefs_library.c", "liblibrary.so", "-O2 -fPIC -shared");
    let target = Target::Place { module: 0, range: AddressRange { start: 1, end: 2 } };
    let (found, notes) = found(set(&[&library]), options(target, Kinds::ALL), 1 << 20, 0);
    assert_eq!((found, notes), (Vec::new(), vec!["nothing in the one module refers to it".to_owned()]));
}

/// Says to stop after the first task.
struct Impatient(u32);

impl Sink<Found> for Impatient {
    fn found(&mut self, _: Vec<Found>) {}

    fn stop(&mut self) -> Option<Stop> {
        self.0 += 1;
        (self.0 > 2).then_some(Stop::Cancelled)
    }
}

#[test]
fn a_search_is_cancelled_between_its_tasks() {
    let set = set(&[Path::new("/usr/lib/x86_64-linux-gnu/libstdc++.so.6")]);
    let target = Target::Place { module: 0, range: AddressRange { start: 0, end: u64::MAX } };
    let analysis = Arc::new(Xrefs::new(set.clone(), options(target, Kinds::ALL)).unwrap());
    let files = Arc::new(Files::new(set, Vec::new(), Access::Pread, None));
    let mut executor = InProcess::new(Arc::clone(&analysis), Arc::clone(&files), 2);
    let outcome =
        run(&*analysis, &mut executor, &files, Cut { block: 4096, task: 4096, sparse: 4096 }, &mut Impatient(0));
    assert_eq!(outcome.stopped, Some(Stop::Cancelled));
    assert!(outcome.stats.bytes_scanned < outcome.stats.bytes_planned);
}

#[test]
fn rows_say_where_in_which_function_a_reference_is() {
    let build = Build::new();
    let library = build.compile("gcc", "xrefs_library.c", "liblibrary.so", "-O1 -g -fPIC -shared");
    let program = build.compile("gcc", "xrefs.c", "program", "-O1 -g -pie -fPIE -L. -llibrary");
    let set = set(&[&program, &library]);
    let image = Image::read(&program);
    let options = options(image.target(0, "step").target, Kinds::ALL);
    let analysis = Xrefs::new(set.clone(), options.clone()).unwrap();
    let files = Files::new(set.clone(), Vec::new(), Access::Pread, None);
    let (found, _) = found(set, options, 1 << 20, 0);
    let Results::Xrefs(rows) = analysis.describe(&mut Default::default(), &found, &files, &|| false) else { panic!() };
    let place = |row: &::analysis::XrefRow| {
        (row.kind.clone(), row.function.clone().unwrap_or_default(), row.line, row.offset.is_some())
    };
    let rows: Vec<_> = rows.iter().map(place).collect();
    let row = |kind: &str, function: &str, line: Option<u64>| (kind.to_owned(), function.to_owned(), line, true);
    assert_eq!(
        rows,
        [
            row("call", "twice", Some(11)),
            row("call", "twice", Some(11)),
            row("call", "tail", Some(13)),
            row("mention", "chosen", Some(17)),
            row("pointer", "pointer", None),
            row("pointer", "operations", None),
        ]
    );
}
