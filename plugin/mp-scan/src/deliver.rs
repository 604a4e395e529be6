//! Where a report goes: into the session, or into a file.

use crate::session::Session;
use analysis::Report;
use anyhow::{Context as _, Result, bail};
use nix::libc;
use render::{Format, Style};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// So long a report is still written once the command was interrupted: a short one is there at once.
const LAST: Duration = Duration::from_millis(40);

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

    /// Writes the report to the file; nothing if there is none. It is called on any thread. `stop` is asked now and then.
    ///
    /// # Errors
    /// If it cannot be written, or `stop` says so: the report is still kept as `job`, which is said.
    pub fn write(&self, report: &Report, job: u64, stop: &dyn Fn() -> bool) -> Result<()> {
        let Some(path) = &self.output else { return Ok(()) };
        let style = Style { color: false, width: 4096 };
        if let Err(error) = write_whole(path, |file| write_until(report, self.format, &style, file, stop)) {
            bail!("{error:#}; the report is kept: write it elsewhere with `mp-scan jobs show {job} --output FILE`");
        }
        Ok(())
    }

    /// Shows the report: in the return object, or in the file and in one line. Whoever presses Ctrl-C does not wait for the end of
    /// a long one.
    ///
    /// # Errors
    /// As for [`write`](Self::write).
    pub fn show(&self, session: &mut Session, report: &Report, job: u64) -> Result<()> {
        let began = Instant::now();
        let stop = || began.elapsed() > LAST && session.interrupt.requested();
        if let Some(path) = &self.output {
            self.write(report, job, &stop)?;
            session.output.print(&format!("{}; written to {}", render::summary(report), path.display()));
            return Ok(());
        }
        let style = if self.format == Format::Text { session.output.style() } else { Style::default() };
        let mut text = Vec::new();
        if let Err(error) = write_until(report, self.format, &style, &mut text, &stop) {
            bail!("{error}; the report is kept: mp-scan jobs show {job}");
        }
        let text = String::from_utf8_lossy(&text);
        let text = text.trim_end_matches('\n');
        match self.format {
            Format::Text => session.output.print(text),
            Format::Json | Format::Ron => session.output.document(text),
        }
        Ok(())
    }
}

fn open(path: &Path) -> Result<File> {
    // A pipe that nobody reads is an error, and not waited for.
    let file = File::options().write(true).create(true).truncate(false).custom_flags(libc::O_NONBLOCK).open(path);
    file.with_context(|| format!("cannot write to {}", path.display()))
}

/// Has `write` write a file from its beginning. What is there of one that could not be written whole is no report, and taken away.
fn write_whole(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> Result<()> {
    let mut file = open(path)?;
    let regular = file.metadata().is_ok_and(|data| data.is_file());
    if regular {
        file.set_len(0)?;
    }
    let mut written = write(&mut file);
    if written.is_err() && regular {
        // Why it could not be written says more than that it cannot be cut either.
        let _ = file.set_len(0);
    }
    if written.is_ok() {
        // A disk on another machine may tell only now that it is full.
        written = nix::unistd::close(file).map_err(io::Error::from);
    }
    written.with_context(|| format!("cannot write to {}", path.display()))
}

/// Writes a report until `stop` says so.
fn write_until(
    report: &Report,
    format: Format,
    style: &Style,
    out: &mut dyn Write,
    stop: &dyn Fn() -> bool,
) -> io::Result<()> {
    render::write(report, format, style, &mut Until { out, stop })
}

/// Takes what is written until `stop` says so.
struct Until<'a> {
    out: &'a mut dyn Write,
    stop: &'a dyn Fn() -> bool,
}

impl Write for Until<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if (self.stop)() {
            return Err(io::Error::other("interrupted while the report was written"));
        }
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
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
