//! Snapshots of what a user sees, without what differs from run to run.

/// What is replaced, and by what: regular expressions for insta's `filters`.
const FILTERS: &[(&str, &str)] = &[
    (r"0x[0-9a-f]{4,}", "0x…"),
    (r"\b[0-9]+(\.[0-9]+)? [kKMGT]?i?B/s", "SPEED"),
    (r"\b[0-9]+(\.[0-9]+)? (µs|us|ms|s|min)\b", "TIME"),
    (r"\b[0-9]+(\.[0-9]+)? [KMGT]iB\b", "SIZE"),
    (r"\b[0-9]+ mappings? \(", "N mappings ("),
    (r"\bpid(:?) [0-9]+", "pid$1 PID"),
    (r"seconds: [0-9.e-]+", "seconds: TIME"),
    (r#"[^ "]*/fixtures/([a-z]+)-[0-9a-f]{16}"#, "FIXTURES/$1"),
    (r#"[^ "]*/scratch/test-[A-Za-z0-9]+"#, "SCRATCH"),
];

/// Compares `text` with the snapshot `name` in `tests/snapshots`.
#[track_caller]
pub fn check(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_filters(FILTERS.iter().copied());
    settings.set_snapshot_path("../snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.bind(|| insta::assert_snapshot!(name, text));
}
