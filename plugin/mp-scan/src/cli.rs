//! What the scanning commands' lines have in common: options, and patterns in their order.

use crate::settings::MOST_WORKERS;
use clap::builder::ValueRange;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use render::Format;
use std::path::PathBuf;
use std::time::Duration;

/// Options of every scanning command.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Output and workers")]
pub struct ScanOptions {
    /// How the report is shown.
    #[arg(long, value_name = "text|json|ron", default_value = "text", hide_default_value = true)]
    pub format: Format,

    /// Write the report to FILE, and print one summary line.
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Worker processes to use; 0 runs in this process [default: the setting `workers`].
    #[arg(long, value_name = "N", value_parser = workers)]
    pub workers: Option<usize>,

    /// Return the prompt at once; see `mp-scan jobs`.
    #[arg(long)]
    pub background: bool,

    /// Show at most N results [default: the setting `limit`, 256].
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,

    /// Stop after S seconds with what was found by then [default: none].
    #[arg(long, value_name = "S", value_parser = seconds)]
    pub timeout: Option<Duration>,
}

fn workers(text: &str) -> Result<usize, String> {
    let count: usize = text.parse().map_err(|_| "not a number of workers".to_owned())?;
    if count > MOST_WORKERS { Err(format!("more than {MOST_WORKERS}")) } else { Ok(count) }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    if seconds <= 0.0 {
        return Err("it must be more than 0 seconds".into());
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| "too many seconds".into())
}

/// A pattern as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternText {
    pub kind: PatternKind,
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatternKind {
    String,
    Utf16,
    Bytes,
    Regex,
    Int,
    Float,
    Pointer,
    PointerRange,
}

/// Option, value's name, help.
const PATTERNS: [(PatternKind, &str, &str, &str); 8] = [
    (PatternKind::String, "string", "S", "The bytes of S, in UTF-8"),
    (PatternKind::Utf16, "utf16", "S", "S in UTF-16, in the target's byte order"),
    (PatternKind::Bytes, "bytes", "HEX", "Bytes in hex: 'de ad ?? e?', deadbeef, '\\xde\\xad'; ? is any digit"),
    (PatternKind::Regex, "regex", "R", "A regex over bytes; Unicode is off, so . is any byte but a line feed"),
    (PatternKind::Int, "int", "N[:SIZE]", "A number of SIZE bytes: 1, 2, 4 (default) or 8"),
    (PatternKind::Float, "float", "X[:SIZE]", "A floating-point number of SIZE bytes: 4 or 8 (default)"),
    (PatternKind::Pointer, "pointer", "ADDR", "A pointer to ADDR"),
    (PatternKind::PointerRange, "pointer-range", "A..B", "A pointer to anything from A up to, not including, B"),
];

/// The patterns of a line, in its order.
#[derive(Clone, Debug, Default)]
pub struct PatternArguments(pub Vec<PatternText>);

impl Args for PatternArguments {
    fn augment_args(command: Command) -> Command {
        PATTERNS.iter().fold(command, |command, (kind, name, value, help)| {
            // Hex bytes may come as several words. Anything else may begin with a hyphen.
            let bytes = *kind == PatternKind::Bytes;
            command.arg(
                Arg::new(*name)
                    .long(*name)
                    .value_name(*value)
                    .help(*help)
                    .help_heading("Patterns, any number, searched in one pass")
                    .action(ArgAction::Append)
                    .num_args(if bytes { ValueRange::from(1..) } else { ValueRange::SINGLE })
                    .allow_hyphen_values(!bytes)
                    .required(false),
            )
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for PatternArguments {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut found = Vec::new();
        for (kind, name, _, _) in &PATTERNS {
            if matches.value_source(name) != Some(ValueSource::CommandLine) {
                continue;
            }
            let mut indices = matches.indices_of(name).into_iter().flatten();
            for values in matches.get_occurrences::<String>(name).into_iter().flatten() {
                let words: Vec<&str> = values.map(String::as_str).collect();
                let place = indices.by_ref().take(words.len()).min();
                found.push((place, PatternText { kind: *kind, text: words.join(" ") }));
            }
        }
        found.sort_by_key(|(place, _)| *place);
        Ok(Self(found.into_iter().map(|(_, pattern)| pattern).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The mark before an ADDR that is a full expression.
pub const EXPRESSION: &str = "--expr ";

/// Joins each `--expr` with the word after it, so that an option's value may be `--expr EXPRESSION`.
pub fn join_expressions(words: &[String]) -> Vec<String> {
    let mut joined = Vec::with_capacity(words.len());
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match (word.as_str(), words.as_slice().first()) {
            ("--expr", Some(expression)) => {
                joined.push(format!("{EXPRESSION}{expression}"));
                words.next();
            }
            _ => joined.push(word.clone()),
        }
    }
    joined
}
