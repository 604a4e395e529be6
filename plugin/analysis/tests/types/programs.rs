//! Programs that are compiled for a test, and searches in them.

use analysis::files::FileAnalysis;
use analysis::types::{Sort, Types, TypesOptions};
use analysis::{Analysis, Cut, Executor, InProcess, Outcome, Results, Serial, Sink, Stop, TypeRow, run};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use target::Access;
use target::cache::Cache;
use target::modules::{FileSet, Files, Module, Search, survey};
use tempfile::TempDir;

/// How files are cut in tests: into the smallest tasks.
pub const CUT: Cut = Cut { block: 64, task: 256, sparse: 256 };

/// A folder of what is compiled.
pub struct Build(TempDir);

impl Build {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    /// Runs a tool in the folder; `FIXTURES/` in its words is the folder of sources.
    #[track_caller]
    pub fn run(&self, line: &str) -> String {
        let fixtures = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/");
        let line = line.replace("FIXTURES/", fixtures.to_str().unwrap());
        let mut words = line.split_whitespace();
        let program = words.next().unwrap();
        let output = Command::new(program).args(words).current_dir(self.0.path()).output();
        let output = output.unwrap_or_else(|error| panic!("{program} is needed: {error}"));
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// A search in one of its files.
    pub fn search(&self, name: &str, options: TypesOptions) -> Answer {
        search(&[self.path(name)], options)
    }

    /// The same, in tasks of the size that they have for real.
    pub fn search_at_once(&self, name: &str, options: TypesOptions) -> Answer {
        let (analysis, files) = prepare(&[self.path(name)], options);
        let outcome = run_on(&analysis, &mut Serial::new(&*analysis, &*files), &files);
        answer(&analysis, &files, outcome)
    }

    /// All types of one of its files, with their layouts.
    #[track_caller]
    pub fn all(&self, name: &str) -> Answer {
        let answer = self.search(name, layouts("."));
        assert_eq!(answer.problems, [] as [String; 0], "{name}");
        answer
    }
}

/// What a search has come to.
#[derive(Debug, PartialEq)]
pub struct Answer {
    pub rows: Vec<TypeRow>,
    pub total: u64,
    pub notes: Vec<String>,
    /// What was skipped, and what the survey says.
    pub problems: Vec<String>,
}

impl Answer {
    /// The only type of that name that is no typedef.
    #[track_caller]
    pub fn row(&self, name: &str) -> &TypeRow {
        let mut rows = self.rows.iter().filter(|row| row.name == name && row.kind != "typedef");
        let row = rows.next().unwrap_or_else(|| panic!("no {name} among {:?}", self.names()));
        assert_eq!(rows.next(), None, "several {name}");
        row
    }

    pub fn names(&self) -> Vec<&str> {
        self.rows.iter().map(|row| row.name.as_str()).collect()
    }
}

/// Everything that matches, with layouts.
pub fn layouts(regex: &str) -> TypesOptions {
    TypesOptions { regex: regex.to_owned(), layout: true, limit: 1_000_000, ..TypesOptions::default() }
}

pub fn sorted(regex: &str, sort: Sort, limit: usize) -> TypesOptions {
    TypesOptions { regex: regex.to_owned(), sort, limit, ..TypesOptions::default() }
}

/// A search in modules of these files, task by task on this thread.
pub fn search(paths: &[String], options: TypesOptions) -> Answer {
    let (analysis, files) = prepare(paths, options);
    let outcome = run(&*analysis, &mut Serial::new(&*analysis, &*files), &files, CUT, &mut Quiet);
    answer(&analysis, &files, outcome)
}

/// The same with a folder of facts. Returns also of how many parts it would be worth keeping something; if `keep` says so, that
/// is done.
pub fn search_kept(path: &str, options: TypesOptions, folder: &Path, keep: bool) -> (Answer, usize) {
    let module = Module { path: path.to_owned(), ..Module::default() };
    let (analysis, _) = prepare_modules(&[module], options);
    let cache = Cache::open(folder.to_owned(), 1 << 30);
    let files = Files::new(analysis.set().clone(), Vec::new(), Access::Mapped, Some(cache));
    let outcome = run_on(&analysis, &mut Serial::new(&*analysis, &files), &files);
    let chores = analysis.chores(&outcome.merge);
    let answer = answer(&analysis, &files, outcome);
    if keep {
        chores.iter().for_each(|part| analysis.chore(*part, &files, &|| false));
    }
    (answer, chores.len())
}

/// The same on several threads, as it is cut for real.
pub fn search_by(paths: &[String], options: TypesOptions, threads: usize) -> Answer {
    let (analysis, files) = prepare(paths, options);
    let mut executor = InProcess::new(Arc::clone(&analysis), Arc::clone(&files), threads);
    let outcome = run_on(&analysis, &mut executor, &files);
    answer(&analysis, &files, outcome)
}

/// The same, but cut into the smallest tasks.
pub fn search_by_in_parts(paths: &[String], options: TypesOptions, threads: usize) -> Answer {
    let (analysis, files) = prepare(paths, options);
    let mut executor = InProcess::new(Arc::clone(&analysis), Arc::clone(&files), threads);
    let outcome = run(&*analysis, &mut executor, &files, CUT, &mut Quiet);
    answer(&analysis, &files, outcome)
}

fn run_on(analysis: &Types, executor: &mut dyn Executor<Types>, files: &Files) -> Outcome<<Types as Analysis>::Merge> {
    let cut = Cut { block: 64 << 10, task: 4 << 20, sparse: 4 << 20 };
    run(analysis, executor, files, cut, &mut Quiet)
}

/// A search in a module that is these bytes.
pub fn search_image(image: Vec<u8>, options: TypesOptions) -> Answer {
    let module = Module { path: "[image]".to_owned(), image: Some(image), ..Module::default() };
    let (analysis, files) = prepare_modules(&[module], options);
    let outcome = run(&*analysis, &mut Serial::new(&*analysis, &*files), &files, CUT, &mut Quiet);
    answer(&analysis, &files, outcome)
}

fn prepare(paths: &[String], options: TypesOptions) -> (Arc<Types>, Arc<Files>) {
    let module = |path: &String| Module { path: path.clone(), ..Module::default() };
    prepare_modules(&paths.iter().map(module).collect::<Vec<_>>(), options)
}

fn prepare_modules(modules: &[Module], options: TypesOptions) -> (Arc<Types>, Arc<Files>) {
    let set = FileSet::new(modules.iter().map(|module| survey(module, &Search::default())).collect());
    let files = Files::new(set.clone(), Vec::new(), Access::Mapped, None);
    (Arc::new(Types::new(set, options)), Arc::new(files))
}

fn answer(analysis: &Types, files: &Files, mut outcome: Outcome<<Types as Analysis>::Merge>) -> Answer {
    struct Last(Vec<<Types as Analysis>::Item>);
    impl Sink<<Types as Analysis>::Item> for Last {
        fn found(&mut self, mut items: Vec<<Types as Analysis>::Item>) {
            self.0.append(&mut items);
        }
    }
    let mut items = Last(Vec::new());
    while analysis.finish(&mut outcome.merge, &mut items) {}
    let mut scanner = analysis.scanner().unwrap();
    let Results::Types(rows) = analysis.describe(&mut scanner, &items.0, files, &|| false) else { unreachable!() };
    let surveyed = files.set().modules.iter().flat_map(|module| module.problems.clone());
    let skipped = outcome.skipped.into_iter().map(|skip| skip.reason);
    Answer {
        rows,
        total: analysis.total(&outcome.merge),
        notes: analysis.notes(&outcome.merge),
        problems: surveyed.chain(skipped).chain(analysis.unread(&mut scanner)).collect(),
    }
}

struct Quiet;

impl<T> Sink<T> for Quiet {
    fn found(&mut self, _: Vec<T>) {}

    fn stop(&mut self) -> Option<Stop> {
        None
    }
}
