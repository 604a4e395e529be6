//! Other allocators, as Debian has them.

use super::build::Build;
use analysis::heap::View;
use analysis::heap::allocators::{Allocators, Runtimes};
use analysis::heap::types::Languages;
use analysis::{Cut, Serial, run};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use target::Opened;

/// What is recognised in a target.
pub fn recognise(target: &Opened) -> Runtimes {
    let plan = Allocators::new(&target.space);
    let view = View { memory: target.memory().unwrap(), index: Default::default(), tables: Vec::new() };
    let outcome = run(&plan, &mut Serial::new(&plan, &view), &view, Cut::default(), &mut Vec::new());
    assert_eq!(outcome.skipped, []);
    plan.finish(&outcome.merge)
}

/// Runs a program, with a library before all others, and recognises what is in it.
fn recognise_in(program: &Path, preload: &str) -> Runtimes {
    let mut command = Command::new(program);
    if !preload.is_empty() {
        command.env("LD_PRELOAD", preload);
    }
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    let found = recognise(&target::live::open(child.id(), &Default::default()).unwrap());
    child.kill().unwrap();
    child.wait().unwrap();
    found
}

#[test]
fn other_allocators_are_recognised() {
    let build = Build::new();
    let packages = "libjemalloc2 libjemalloc-dev libtcmalloc-minimal4 libmimalloc2.0 musl musl-dev";
    let get = format!("apt-get -q download {packages} && for package in *.deb; do dpkg -x $package .; done");
    let got = Command::new("timeout").args(["60", "sh", "-c", &get]).current_dir(build.path("")).output().unwrap();
    if !got.status.success() {
        eprintln!("skipped: {packages} cannot be had here: {}", String::from_utf8_lossy(&got.stderr));
        return;
    }
    std::fs::write(
        build.path("waits.c"),
        "#include <stdio.h>\n#include <stdlib.h>\nvoid *volatile kept;\nint main() { kept = malloc(100); printf(\"%s%c\", \"ready\", 10); fflush(stdout); getchar(); }",
    )
    .unwrap();
    let libraries = build.path("usr/lib/x86_64-linux-gnu");
    let library = |name: &str| libraries.join(name).display().to_string();
    build.run("gcc", "-O1 -o waits waits.c");
    build.run("gcc", &format!("-O1 -s -o own waits.c {} -lm -lstdc++ -lpthread", library("libjemalloc.a")));
    let musl = "-static -s -nostdinc -nostdlib -isystem usr/include/x86_64-linux-musl -o musl waits.c";
    let start = ["crt1.o", "libc.a"].map(|name| format!("usr/lib/x86_64-linux-musl/{name}")).join(" ");
    build.run("gcc", &format!("-O1 {musl} {start}"));

    let waits = build.path("waits");
    assert_eq!(recognise_in(&waits, ""), Runtimes::default());
    let preloaded =
        [("jemalloc", "libjemalloc.so.2"), ("tcmalloc", "libtcmalloc_minimal.so.4"), ("mimalloc", "libmimalloc.so.2")];
    for (name, file) in preloaded {
        let renamed = build.path("renamed.so");
        std::fs::copy(libraries.join(file), &renamed).unwrap();
        for path in [library(file), renamed.display().to_string()] {
            let found = recognise_in(&waits, &path);
            let real = std::fs::canonicalize(&path).unwrap().display().to_string();
            let [only] = &found.allocators[..] else { panic!("{path}: {found:?}") };
            assert_eq!((&*only.name, &*only.evidence), (name, &*real));
        }
    }
    for (name, file) in [("jemalloc", "own"), ("musl", "musl")] {
        let found = recognise_in(&build.path(file), "");
        let [only] = &found.allocators[..] else { panic!("{file}: {found:?}") };
        assert_eq!((&*only.name, &*only.evidence), (name, &*build.path(file).display().to_string()));
    }
    assert_eq!(recognise_in(&build.path("musl"), "").languages, Languages::default());
}
