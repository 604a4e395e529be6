//! What a command runs in.

use crate::cli::{EXPRESSION, ScanOptions};
use crate::engine::engine;
use crate::inspect::{Inspected, inspect};
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::settings::Settings;
use analysis::{Columns, Report, Results, Stats};
use anyhow::Result;
use lldb::{CommandReturn, Debugger};
use render::Format;
use std::cell::OnceCell;
use std::time::{Duration, Instant};

/// The debugger that a command was typed in, where its output goes, and whether it is to stop.
#[derive(Debug)]
pub struct Session<'a> {
    pub debugger: &'a Debugger,
    pub output: Output<'a>,
    pub interrupt: Interrupt<'a>,
    /// The command as it was typed, without `mp-scan`.
    pub command_line: String,
    /// When the command began.
    pub started: Instant,
    /// Read once a command.
    settings: OnceCell<Settings>,
}

impl<'a> Session<'a> {
    pub fn new(debugger: &'a Debugger, result: &'a mut CommandReturn, command_line: String) -> Self {
        let started = Instant::now();
        let output = Output::new(debugger, result);
        let interrupt = Interrupt::new(debugger);
        Self { debugger, output, interrupt, command_line, started, settings: OnceCell::new() }
    }

    /// What the debugger debugs.
    ///
    /// # Errors
    /// One line that says what is missing.
    pub fn inspect(&self) -> Result<Inspected> {
        inspect(self.debugger)
    }

    /// The user's settings.
    ///
    /// # Errors
    /// If their file is not understood.
    pub fn settings(&self) -> Result<Settings> {
        if let Some(settings) = self.settings.get() {
            return Ok(settings.clone());
        }
        let settings = Settings::load()?;
        Ok(self.settings.get_or_init(|| settings).clone())
    }

    /// How many results a scan shows.
    ///
    /// # Errors
    /// If the settings are not understood.
    pub fn limit(&self, options: &ScanOptions) -> Result<u64> {
        options.limit.map_or_else(|| Ok(self.settings()?.limit), Ok)
    }

    /// After how long a foreground command goes to the background: in a host that cannot interrupt it. CodeLLDB's adapter
    /// is one, and knows nothing more until the command ends.
    ///
    /// # Errors
    /// If the settings are not understood.
    pub fn hand_over_after(&self) -> Result<Option<Duration>> {
        let seconds = self.settings()?.foreground;
        let host = std::env::current_exe().unwrap_or_default();
        let deaf = host.file_name().is_some_and(|name| name == "codelldb");
        Ok((deaf && seconds > 0.0).then(|| Duration::from_secs_f64(seconds)))
    }

    /// Says which background jobs have ended since the last command.
    pub fn announce(&mut self) {
        for job in engine().jobs.newly_ended() {
            let row = job.row();
            self.output.print(&format!("job {0} ({1}) {2}: mp-scan jobs show {0}", row.job, row.command, row.state));
        }
    }

    /// Says that expressions among `written` may change the process: no other command or option can.
    pub fn note_expressions<'t>(&mut self, written: impl IntoIterator<Item = &'t String>, format: Format) {
        let any = written.into_iter().any(|text| text.contains(EXPRESSION));
        if any && format == Format::Text {
            self.output.note("evaluating --expr may map a page in the process");
        }
    }

    /// A report that no scan is behind.
    pub fn plain_report(&self, command: &str, results: Results, total: u64) -> Report {
        Report {
            command: command.to_owned(),
            target: None,
            stats: Stats { seconds: self.started.elapsed().as_secs_f64(), ..Stats::default() },
            total,
            truncated: false,
            stopped: None,
            skipped: Vec::new(),
            results,
            notes: Vec::new(),
            columns: Columns::default(),
        }
    }
}
