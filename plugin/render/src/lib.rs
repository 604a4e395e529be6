//! A [`Report`] as text, JSON or RON. Nothing else formats results.
//!
//! JSON and RON show one document, whose fields are fixed; text is for people, and says the same.

mod document;
mod hexdump;
mod text;
mod units;

use analysis::Report;
use std::str::FromStr;

pub use text::{Style, progress_line, results, summary, survey_line, thread_list};
pub use units::{bytes, speed};

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
    match format {
        Format::Text => {
            let mut text: String = report.notes.iter().map(|note| format!("note: {note}\n")).collect();
            text.push_str(&results(&report.results, report.columns, style));
            let summary = summary(report);
            if !summary.is_empty() {
                text.push_str(&summary);
                text.push('\n');
            }
            text
        }
        Format::Json => document::json(report),
        Format::Ron => document::ron(report),
    }
}
