//! The scripts that a user runs.

use std::process::{Command, Output};
use tests::{Batch, check, compile, root, scratch};

/// Runs a script that must succeed.
fn run(name: &str, arguments: &[&str]) -> Output {
    let output = Command::new(root().join("scripts").join(name)).args(arguments).output().expect("the script runs");
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

#[test]
fn what_is_installed_can_be_used() {
    let folder = scratch();
    // A path with a blank in it is a path, too.
    let prefix = folder.path().join("a prefix");
    let prefix = prefix.to_str().expect("it is UTF-8");
    // Twice: an installation is replaced by the next.
    run("install", &["--prefix", prefix]);
    let printed = String::from_utf8(run("install", &["--prefix", prefix]).stdout).expect("it is UTF-8");
    check("install", &printed);
    let mut files: Vec<_> = std::fs::read_dir(format!("{prefix}/lib/mp-scan"))
        .expect("the folder is there")
        .map(|entry| entry.expect("it can be read").file_name().into_string().expect("it is UTF-8"))
        .collect();
    files.sort();
    assert_eq!(files, ["libmp_scan.so", "lldbinit", "mp-worker"]);

    let truth = folder.path().join("truth");
    let transcript = Batch::without_plugin()
        .commands([
            format!("command source \"{prefix}/lib/mp-scan/lldbinit\""),
            format!("target create {}", compile("values.c").display()),
            "breakpoint set --name ready".to_owned(),
            format!("process launch -- {}", truth.display()),
            "mfind --string 'Find Me' --in anonymous".to_owned(),
            "mstrings --in anonymous --regex '^id='".to_owned(),
            "mmap --summary".to_owned(),
            "mjobs list".to_owned(),
            "process kill".to_owned(),
        ])
        .run();
    for expected in ["\"Find Me\"\n1 match;", "\"id=1234567;\"\n1 string;", "8 kinds", "3 jobs"] {
        assert!(
            transcript.stdout.contains(expected),
            "no '{expected}' in:\n{}{}",
            transcript.stdout,
            transcript.stderr
        );
    }
}

#[test]
fn the_demo_shows_all_and_leaves_nothing_running() {
    let output = run("demo", &[]);
    let (printed, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!printed.contains("error:") && !errors.contains("error:"), "{printed}\n{errors}");
    for expected in ["token=tok_", "hunter2", "job 15", "\"schema\":1", "2 workers", "detached"] {
        assert!(printed.contains(expected), "no '{expected}' in:\n{printed}");
    }
}
