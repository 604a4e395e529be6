//! Where a report goes: into the session, or into a file.

use crate::session::Session;
use analysis::Report;
use anyhow::{Context as _, Result, bail};
use nix::libc;
use render::{Format, Style};
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// How a report is wanted.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub format: Format,
    /// The file that it goes to, and then one line into the session.
    pub output: Option<PathBuf>,
}

impl Delivery {
    /// Into the session.
    pub fn here(format: Format) -> Self {
        Self { format, output: None }
    }

    /// Whether results are shown as text, where they can be shown as they are found.
    pub fn streams(&self) -> bool {
        self.format == Format::Text && self.output.is_none()
    }

    /// Makes sure, before there is a report, that its file can be written.
    ///
    /// # Errors
    /// If it cannot.
    pub fn check(&self) -> Result<()> {
        self.output.as_deref().map_or(Ok(()), |path| open(path).map(drop))
    }

    /// Writes the report to the file; nothing if there is none. It is called on any thread.
    ///
    /// # Errors
    /// If it cannot be written: the report is still kept as `job`, which is said.
    pub fn write(&self, report: &Report, job: u64) -> Result<()> {
        let Some(path) = &self.output else { return Ok(()) };
        let text = render::render(report, self.format, &Style { color: false, width: 4096 });
        if let Err(error) = write_whole(path, &text) {
            bail!("{error:#}; the report is kept: write it elsewhere with `mp-scan jobs show {job} --output FILE`");
        }
        Ok(())
    }

    /// Shows the report: in the return object, or in the file and in one line.
    ///
    /// # Errors
    /// As for [`write`](Self::write).
    pub fn show(&self, session: &mut Session, report: &Report, job: u64) -> Result<()> {
        if let Some(path) = &self.output {
            self.write(report, job)?;
            session.output.print(&format!("{}; written to {}", render::summary(report), path.display()));
            return Ok(());
        }
        match self.format {
            Format::Text => {
                let text = render::render(report, self.format, &session.output.style());
                session.output.print(text.trim_end_matches('\n'));
            }
            Format::Json | Format::Ron => {
                let text = render::render(report, self.format, &Style::default());
                session.output.document(text.trim_end_matches('\n'));
            }
        }
        Ok(())
    }
}

fn open(path: &Path) -> Result<File> {
    // A pipe that nobody reads is an error, and not waited for.
    let file = File::options().write(true).create(true).truncate(false).custom_flags(libc::O_NONBLOCK).open(path);
    file.with_context(|| format!("cannot write to {}", path.display()))
}

fn write_whole(path: &Path, text: &str) -> Result<()> {
    let mut file = open(path)?;
    let regular = file.metadata().is_ok_and(|data| data.is_file());
    if regular {
        file.set_len(0)?;
    }
    let written = file.write_all(text.as_bytes()).and_then(|()| if regular { file.sync_all() } else { Ok(()) });
    written.with_context(|| format!("cannot write to {}", path.display()))
}

/// A report's results from number `from` on, counted from 0, and at most `limit` of them.
///
/// # Errors
/// If there are none from there on: how many are kept, and how to get more.
pub fn page(report: &Report, from: u64, limit: u64) -> Result<Report> {
    let mut page = report.clone();
    let Some(kept) = page.results.count() else { return Ok(page) };
    if from > 0 && from >= kept as u64 {
        let more = if report.truncated || report.total > kept as u64 { "; a larger --limit keeps more" } else { "" };
        bail!("the report has {kept} results, counted from 0{more}");
    }
    let (from, limit) = (usize::try_from(from).unwrap_or(usize::MAX), usize::try_from(limit).unwrap_or(usize::MAX));
    page.results.page(from, limit);
    Ok(page)
}
