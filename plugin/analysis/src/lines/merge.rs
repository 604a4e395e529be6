//! The rows of a module's units, in address order, none of them twice.

use super::Lines;
use super::scan::{LinesPart, Row};
use crate::driver::Sink;
use crate::report::LineRow;
use std::collections::HashMap;
use std::sync::Arc;
use target::AddressRange;

/// As many rows of a module are held, 24 bytes each.
const MOST_ROWS: usize = 8 << 20;

/// The rows of a module so far, and how many there were in the modules before.
#[derive(Debug)]
pub struct LinesMerge {
    limit: usize,
    module: Option<usize>,
    rows: Vec<Row>,
    /// Rows of this module that are not held, because they will not be shown.
    dropped: u64,
    files: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, u32>,
    total: u64,
    shown: usize,
    /// Whether rows that several units tell of may have been counted more than once.
    inexact: bool,
    most: usize,
}

impl LinesMerge {
    pub(super) fn new(limit: u64) -> Self {
        Self {
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            module: None,
            rows: Vec::new(),
            dropped: 0,
            files: Vec::new(),
            numbers: HashMap::new(),
            total: 0,
            shown: 0,
            inexact: false,
            most: MOST_ROWS,
        }
    }

    pub(super) fn total(&self) -> u64 {
        self.total
    }

    pub(super) fn note(&self) -> Option<String> {
        let note = "a module has very many ranges: those that several of its units tell of are counted for each";
        self.inexact.then(|| note.to_owned())
    }

    pub(super) fn absorb(&mut self, plan: &Lines, module: usize, part: LinesPart, sink: &mut dyn Sink<LineRow>) {
        if self.module != Some(module) {
            self.end_module(plan, sink);
            self.module = Some(module);
        }
        let mut numbers = Vec::with_capacity(part.files.len());
        for file in part.files {
            let file: Arc<str> = file.into();
            let files = &mut self.files;
            numbers.push(*self.numbers.entry(Arc::clone(&file)).or_insert_with(|| {
                files.push(file);
                (files.len() - 1) as u32
            }));
        }
        let rows = part.rows.into_iter();
        self.rows.extend(rows.filter_map(|row| Some(Row { file: *numbers.get(row.file as usize)?, ..row })));
        if self.rows.len() > self.most {
            self.tidy();
            // What is shown is held in any case, so that the rows are the right ones.
            let held = (self.most / 2).max(self.limit - self.shown);
            if self.rows.len() > held {
                self.dropped += (self.rows.len() - held) as u64;
                self.inexact = true;
                self.rows.truncate(held);
            }
        }
    }

    fn tidy(&mut self) {
        self.rows.sort_unstable();
        self.rows.dedup();
    }

    /// Gives the rows of the module to `sink`, up to the limit.
    pub(super) fn end_module(&mut self, plan: &Lines, sink: &mut dyn Sink<LineRow>) {
        let Some(module) = self.module.take() else { return };
        self.tidy();
        self.total += self.rows.len() as u64 + std::mem::take(&mut self.dropped);
        let surveyed = &plan.set.modules[module];
        let bias = surveyed.bias.filter(|_| plan.loaded).unwrap_or(0);
        let path: Arc<str> = surveyed.path.as_str().into();
        let row = |row: &Row| LineRow {
            range: AddressRange::new(row.start.wrapping_add(bias), row.end.wrapping_add(bias)),
            file: Arc::clone(&self.files[row.file as usize]),
            line: row.line.into(),
            module: Arc::clone(&path),
        };
        let rows: Vec<LineRow> = self.rows.iter().take(self.limit - self.shown).map(row).collect();
        self.shown += rows.len();
        if !rows.is_empty() {
            sink.found(rows);
        }
        self.rows.clear();
        self.files.clear();
        self.numbers.clear();
    }
}
