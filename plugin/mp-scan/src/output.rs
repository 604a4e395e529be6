//! Where a command's output goes.

use lldb::{CommandReturn, Debugger, OutputFile};
use render::Style;
use std::time::{Duration, Instant};

/// A command's output.
///
/// At a prompt, what is printed goes out at once, through the debugger's output file: after an interrupt, some versions
/// of LLDB drop what a command has collected. It is in the return object as well, for whoever runs the command and reads
/// it from there; in an editor or a script that is the only place.
#[derive(Debug)]
pub struct Output<'a> {
    result: &'a mut CommandReturn,
    /// The debugger's own output.
    file: OutputFile,
    /// Whether there is a prompt, so that someone reads the debugger's output.
    prompt: bool,
    /// Whether the return object passes on to `file` what it gets.
    immediate: bool,
    /// Whether what was put out is for a program to read.
    document: bool,
    terminal: bool,
    width: usize,
    color: bool,
    /// How many columns of a progress line are on the screen.
    progress: usize,
    /// When it was last written.
    progressed: Option<Instant>,
}

/// A progress line is not written anew before this time is over: nobody reads faster, and a slow terminal is spared.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

impl<'a> Output<'a> {
    pub fn new(debugger: &Debugger, result: &'a mut CommandReturn) -> Self {
        let file = debugger.output_file();
        let prompt = debugger.command_interpreter().is_active();
        let terminal = prompt && debugger.is_terminal();
        // Elsewhere there is no edge that a line would have to end at, but one has to read it.
        let columns = usize::try_from(debugger.terminal_width()).ok().filter(|width| *width > 0);
        let width = columns.filter(|_| terminal).unwrap_or(160);
        let color = terminal && debugger.use_color();
        Self {
            result,
            file,
            prompt,
            immediate: false,
            document: false,
            terminal,
            width,
            color,
            progress: 0,
            progressed: None,
        }
    }

    /// Whether it goes to a terminal, where lines can be taken away again.
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// What text is to look like here.
    pub fn style(&self) -> Style {
        Style { color: self.color, width: self.width }
    }

    /// Prints something that the user should know beside the results.
    pub fn note(&mut self, text: &str) {
        self.print(&format!("note: {text}"));
    }

    /// Prints text: one line or more, the last without its end.
    pub fn print(&mut self, text: &str) {
        self.clear_progress();
        if self.prompt && !self.immediate {
            self.result.set_immediate_output(&self.file);
            self.immediate = true;
        }
        self.result.append_line(text);
        if self.immediate {
            self.flush();
        }
    }

    /// Puts a document into the return object, and nowhere else. LLDB prints it at a prompt.
    pub fn document(&mut self, text: &str) {
        self.clear_progress();
        self.document = true;
        self.result.append_line(text);
    }

    /// To be called once the command was interrupted and has printed all that it will: where there is no prompt, an
    /// editor takes the command's end for a cancellation and drops the return object, so the text goes to the debugger's
    /// output as well, which the editor shows.
    pub fn interrupted(&mut self) {
        if !self.prompt && !self.document {
            self.raw(&self.result.output());
        }
    }

    /// Shows a line that goes away when anything else is printed, if there is a terminal to show it on. What does not
    /// fit is cut off.
    pub fn progress(&mut self, text: &str) {
        if !self.terminal || self.progressed.is_some_and(|at| at.elapsed() < PROGRESS_INTERVAL) {
            return;
        }
        self.progressed = Some(Instant::now());
        let mut line: String = text.chars().take(self.width.saturating_sub(1)).collect();
        let columns = line.chars().count();
        // What the line before leaves on the right is written over.
        line.extend(std::iter::repeat_n(' ', self.progress.saturating_sub(columns)));
        self.raw(&format!("\r{line}"));
        self.progress = columns;
    }

    /// Takes the progress line away.
    pub fn clear_progress(&mut self) {
        if self.progress > 0 {
            self.raw(&format!("\r{}\r", " ".repeat(self.progress)));
            self.progress = 0;
        }
    }

    /// Writes to the debugger's output alone.
    fn raw(&self, text: &str) {
        // An output that is gone is no reason for a command to fail: its result is still collected.
        let _ = self.file.write(text);
        self.flush();
    }

    fn flush(&self) {
        let _ = self.file.flush();
    }
}

impl Drop for Output<'_> {
    fn drop(&mut self) {
        self.clear_progress();
    }
}
