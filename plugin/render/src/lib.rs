//! A [`Report`] as text, JSON or RON. Nothing else formats results.
//!
//! JSON and RON show one document, whose fields are fixed; text is for people, and says the same.

mod document;
mod hexdump;
mod text;
mod units;

use analysis::Report;
use std::io::{self, BufWriter, Write};
use std::str::FromStr;

pub use text::{Style, progress_line, results, summary, survey_line, thread_list};
pub use units::{bytes, speed};

/// Bytes that are written at a time.
const PIECE: usize = 64 << 10;

/// What a report is shown as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    #[default]
    Text,
    Json,
    Ron,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Format::Text),
            "json" => Ok(Format::Json),
            "ron" => Ok(Format::Ron),
            _ => Err("use text, json or ron".into()),
        }
    }
}

/// The whole report in one piece, with a line break at its end.
pub fn render(report: &Report, format: Format, style: &Style) -> String {
    text_of(|out| write(report, format, style, out))
}

/// Writes the whole report, piece by piece, with a line break at its end.
///
/// # Errors
/// Those of `out`.
pub fn write(report: &Report, format: Format, style: &Style, out: &mut dyn Write) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(PIECE, out);
    match format {
        Format::Text => {
            for note in &report.notes {
                writeln!(out, "note: {note}")?;
            }
            text::write_results(&report.results, report.columns, style, &mut out)?;
            let summary = summary(report);
            if !summary.is_empty() {
                writeln!(out, "{summary}")?;
            }
        }
        Format::Json => document::json(report, &mut out)?,
        Format::Ron => document::ron(report, &mut out)?,
    }
    out.flush()
}

/// What `write` writes, as a text.
fn text_of(write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> String {
    let mut text = Vec::new();
    write(&mut text).expect("memory takes all that is written");
    String::from_utf8(text).expect("results are shown as text")
}
