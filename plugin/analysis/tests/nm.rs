//! Against `nm` of GNU binutils, over large programs that are there: every symbol that it shows is found, and nothing else.

use analysis::files::FileAnalysis;
use analysis::symbols::{Found, Symbols, SymbolsOptions};
use analysis::{Cut, Driver, Executor, InProcess, Sink};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use target::Access;
use target::modules::{FileSet, Files, Module, Search, survey};

/// Address, where there is one, and name.
type Shown = (Option<u64>, String);

/// So many times.
type Counts = BTreeMap<Shown, u32>;

/// What `nm` with these options shows.
fn nm(path: &Path, options: &[&str]) -> Vec<Shown> {
    let output = Command::new("nm").args(options).arg("-p").arg(path).output().expect("nm runs: binutils");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = |line: &str| {
        let (address, rest) = line.split_at_checked(16)?;
        let name = rest.get(3..)?.to_owned();
        Some((u64::from_str_radix(address, 16).ok(), name))
    };
    text.lines().filter_map(line).collect()
}

/// What we find in a file.
fn found(path: &Path, regex: &str, mangled: bool) -> Vec<Found> {
    let module = Module { path: path.to_string_lossy().into_owned(), ..Module::default() };
    let set = FileSet::new(vec![survey(&module, &Search::default())]);
    let options = SymbolsOptions { regex: regex.into(), mangled, limit: usize::MAX, ..SymbolsOptions::default() };
    let analysis = Arc::new(Symbols::new(set.clone(), options).unwrap());
    let files = Arc::new(Files::new(set, Vec::new(), Access::Mapped, None));
    let mut executor = InProcess::new(Arc::clone(&analysis), Arc::clone(&files), 2);
    let mut all: Vec<Found> = Vec::new();
    let cut = Cut { block: 64 << 10, task: 1 << 20, sparse: 1 << 20 };
    let mut driver = Driver::new(&*analysis, cut, Executor::<Symbols>::width(&executor));
    while !driver.step(&*analysis, &mut executor, &files, Duration::from_millis(10), &mut all as &mut dyn Sink<Found>) {
    }
    let mut outcome = driver.finish();
    while analysis.finish(&mut outcome.merge, &mut all) {}
    assert_eq!(outcome.skipped, []);
    assert_eq!(analysis.total(&outcome.merge), all.len() as u64);
    all
}

fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

/// Without what is shown twice: once in each table.
fn counts(tables: [Vec<Shown>; 2]) -> Counts {
    let mut all = Counts::new();
    for table in tables {
        let mut counts = Counts::new();
        for shown in table {
            *counts.entry(shown).or_default() += 1;
        }
        for (shown, count) in counts {
            let before = all.entry(shown).or_default();
            *before = count.max(*before);
        }
    }
    all
}

fn without_version(name: &str) -> String {
    match name.find('@') {
        Some(at) if at > 0 && !name.contains("operator") => name[..at].to_owned(),
        _ => name.to_owned(),
    }
}

/// Compares, and gives back the names that differ: nm's and ours, by address and mangled name.
fn compare(path: &Path) -> Vec<(String, String, String)> {
    let plain = |options: [&[&str]; 2]| {
        let table =
            |options: &[&str]| nm(path, options).into_iter().map(|(at, name)| (at, without_version(&name))).collect();
        counts(options.map(table))
    };
    let theirs_mangled = plain([&[], &["-D", "--without-symbol-versions"]]);
    let theirs = plain([&["-C"], &["-D", "-C", "--without-symbol-versions"]]);
    let mut ours_mangled = Counts::new();
    let mut ours = Counts::new();
    let mut mangled: BTreeMap<Shown, String> = BTreeMap::new();
    let tls = nm(path, &["-D"]).into_iter().chain(nm(path, &[])).filter(|(at, _)| at.is_some_and(|at| at < 0x10000));
    let tls: BTreeMap<String, Option<u64>> = tls.map(|(at, name)| (without_version(&name), at)).collect();
    for symbol in found(path, "", false) {
        let name = text(&symbol.name);
        let raw = symbol.mangled.as_deref().map_or_else(|| name.clone(), text);
        // nm shows where in its thread's block a variable lies.
        let address = match symbol.place.address {
            None if !symbol.undefined => tls.get(&raw).copied().flatten(),
            address => address,
        };
        *ours_mangled.entry((address, raw.clone())).or_default() += 1;
        *ours.entry((address, name.clone())).or_default() += 1;
        mangled.insert((address, name), raw);
    }
    for (symbol, count) in &theirs_mangled {
        assert_eq!(ours_mangled.get(symbol), Some(count), "{symbol:x?} of {}", path.display());
    }
    assert_eq!(theirs_mangled.len(), ours_mangled.len());
    let mut missing: BTreeMap<Option<u64>, Vec<String>> = BTreeMap::new();
    for ((address, name), _) in theirs.iter().filter(|(shown, _)| !ours.contains_key(shown)) {
        missing.entry(*address).or_default().push(name.clone());
    }
    let mut differ = Vec::new();
    for shown in ours.keys().filter(|shown| !theirs.contains_key(shown)) {
        let names = missing.get(&shown.0).cloned().unwrap_or_default();
        differ.push((mangled[shown].clone(), names.join(" | "), shown.1.clone()));
    }
    differ
}

/// Why a name is written in another way, where that is right.
fn reason(mangled: &str, theirs: &str, ours: &str) -> Option<&'static str> {
    let rust = mangled.starts_with("_R");
    let left = theirs == mangled;
    match () {
        () if left && mangled.len() > 1024 => Some("nm leaves long names as they are"),
        () if left && mangled.contains('.') => Some("nm leaves copies of data as they are"),
        () if left && mangled.starts_with("_ZGR") => Some("nm knows no discriminator there"),
        () if rust && theirs.contains("0x") => Some("nm cuts constants of more than 64 bits"),
        () if theirs.replace(", , ", ", ") == *ours => Some("nm writes the comma of an empty pack"),
        () if left && mangled.contains("u7__decay") => Some("nm knows no arguments of vendor types"),
        () if ours.contains("__remove_") || ours.contains("__decay<") => {
            Some("nm takes arguments of vendor types for types")
        }
        () if left && mangled.contains("EUlRKS") => Some("nm looks for what a generic lambda's parameter stands for"),
        () if ["C1B", "C2B"].iter().any(|tagged| mangled.contains(tagged)) => {
            Some("nm takes a parameter of a tagged constructor for what it returns")
        }
        () if mangled.contains("Ut_E") => Some("nm counts an unnamed type twice, and llvm-cxxfilt does not"),
        () => None,
    }
}

fn check(path: &Path) {
    let differ = compare(path);
    let wrong: Vec<_> =
        differ.iter().filter(|(mangled, theirs, ours)| reason(mangled, theirs, ours).is_none()).take(4).collect();
    assert!(wrong.is_empty(), "{}: {wrong:#?}", path.display());
}

/// The output of a command, where there is that command.
fn output(command: &str, argument: &str) -> Option<String> {
    let output = Command::new(command).arg(argument).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn files_in(folder: &Path, begin: &str) -> Vec<PathBuf> {
    let names = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let named = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(begin));
    names.filter(named).filter(|path| path.metadata().is_ok_and(|data| data.is_file())).collect()
}

/// A library of C++ with a dynamic table only.
fn llvm() -> PathBuf {
    let found = files_in(Path::new("/usr/lib/x86_64-linux-gnu"), "libLLVM");
    found
        .into_iter()
        .max_by_key(|path| path.metadata().unwrap().len())
        .expect("libLLVM is there: scripts/test installs lldb")
}

#[test]
fn a_large_library_of_cpp() {
    check(&llvm());
}

#[test]
fn a_large_library_of_rust_with_v0_names() {
    let root = output("rustc", "--print=sysroot").expect("rustc is there");
    let found = files_in(&Path::new(&root).join("lib"), "librustc_driver");
    check(found.first().expect("the compiler is a library"));
}

/// This one, of which all is there: its names are Rust's in the older form, as far as the compiler's default is that, and those of what
/// it is linked with.
#[test]
fn a_large_program_of_rust_with_legacy_names() {
    let program = std::env::current_exe().unwrap();
    let names = nm(&program, &[]);
    let legacy = names.iter().filter(|(_, name)| name.starts_with("_ZN") && name.contains("17h")).count();
    assert!(legacy > 2000 && names.len() > 5000, "{legacy} of {}", names.len());
    check(&program);
}

/// The debugger and the linker, which scripts/setup installs.
#[test]
fn large_programs_of_cpp() {
    for path in ["/usr/lib/x86_64-linux-gnu/liblldb-22.so.1", "/usr/lib/llvm-22/bin/lld"] {
        assert!(
            nm(Path::new(path), &["-D"]).iter().filter(|(_, name)| name.starts_with("_ZN")).count() > 1000,
            "{path}"
        );
        check(Path::new(path));
    }
}

/// Whatever else there may be: LLDB 23 (C++, libc++), node (C++, GCC), programs of Rust with legacy names.
#[test]
fn large_programs_that_may_be_there() {
    let hosts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../hosts/lldb-23");
    let lldb = hosts.join("lib/python3.11/site-packages/lldb/native/_lldb.abi3.so");
    let program = |name: &str| output("which", name).map(PathBuf::from);
    let programs = ["node", "cargo-nextest", "rustup"].into_iter().filter_map(program);
    for path in programs.chain([lldb]).filter(|path| path.is_file()) {
        check(&path);
    }
}

/// Names in both manglings of Rust and of C++, as the compilers here write them today.
#[test]
fn what_is_compiled_here() {
    let folder = tempfile::tempdir().unwrap();
    let rust = folder.path().join("names.rs");
    std::fs::write(
        &rust,
        r#"
        use std::collections::HashMap;
        pub trait Shape<const N: usize> { fn area(&self) -> f64; }
        pub struct Round<T>(pub T);
        impl<T: Into<f64> + Copy, const N: usize> Shape<N> for Round<T> {
            #[inline(never)]
            fn area(&self) -> f64 { (0..N).map(|side| side as f64 * self.0.into()).sum() }
        }
        mod größe { #[inline(never)] pub fn länge(x: &dyn Fn(i32) -> char) -> char { x(1) } }
        fn main() {
            let shapes: Vec<Box<dyn Shape<3>>> = vec![Box::new(Round(1.5f32)), Box::new(Round(2u8))];
            let mut areas: HashMap<String, (f64, [u8; 4])> = HashMap::new();
            for shape in &shapes { areas.insert(format!("{}", shape.area()), (1.0, [0; 4])); }
            println!("{areas:?} {}", größe::länge(&|x| char::from(x as u8)));
        }"#,
    )
    .unwrap();
    for mangling in ["legacy", "v0"] {
        let program = folder.path().join(mangling);
        let mut rustc = Command::new("rustc");
        rustc.env("RUSTC_BOOTSTRAP", "1").args(["-Zunstable-options", "-O", "--edition=2024", "-o"]).arg(&program);
        let built = rustc.arg(format!("-Csymbol-mangling-version={mangling}")).arg(&rust).output().unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        check(&program);
    }
}

/// Versions are shown where the regex has an `@` in it.
#[test]
fn versions_of_dynamic_symbols() {
    let libc = Path::new("/lib/x86_64-linux-gnu/libc.so.6");
    for path in [libc, &llvm()] {
        let theirs: BTreeSet<String> = nm(path, &["-D", "-C"]).into_iter().map(|(_, name)| name).collect();
        let ours: BTreeSet<String> = found(path, "@|", false).iter().map(|found| text(&found.name)).collect();
        let both: BTreeSet<_> = ours.intersection(&theirs).cloned().collect();
        assert_eq!(both, theirs, "{}", path.display());
    }
    let memcpy: BTreeSet<String> = found(libc, "^memcpy@", false).iter().map(|found| text(&found.name)).collect();
    assert_eq!(memcpy, BTreeSet::from(["memcpy@@GLIBC_2.14".to_owned(), "memcpy@GLIBC_2.2.5".to_owned()]));
    assert_eq!(found(libc, "^memcpy$", false).len(), 2);
    // Mangled names have theirs only where that is asked for, too.
    let (_, name) = nm(libc, &["-D", "--without-symbol-versions"]).into_iter().find(|(at, _)| at.is_some()).unwrap();
    assert_eq!(found(libc, &format!("^{name}$"), true).first().map(|found| text(&found.name)), Some(name));
}
