//! The rows of a report. Of many, several threads write the text, since that takes as long as finding them.

use super::deadlocks::{DeadlockDocument, deadlock_row};
use super::heap::{
    FindingDocument, HeapDocument, LeakDocument, ObjectDocument, RefDocument, finding_row, heap_row, leak_row,
    object_row, ref_row,
};
use super::stacks::{BranchDocument, StackDocument, branch_row, stack_row};
use super::symbols::{
    LineDocument, LookupDocument, SymbolDocument, TypeDocument, XrefDocument, line_row, lookup_row, symbol_row,
    type_row, xref_row,
};
use super::{
    HostDocument, JobDocument, MapRow, MatchRow, WorkerDocument, host_row, job_row, map_row, match_row, worker_row,
};
use analysis::Results;
use serde::{Serialize, Serializer};
use serde_json::ser::Formatter;
use std::io::{self, Write};
use std::slice;
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, Scope};

/// So many rows are made into one text by one thread. Some have thousands of members, so they are few.
const PIECE: usize = 256;

/// So many texts of a thread wait to be written.
const AHEAD: usize = 2;

/// The rows of results, each of them made when it is written.
pub(super) struct Rows<'a> {
    results: &'a Results,
    /// Which of their pieces; `None` for all of them.
    piece: Option<usize>,
}

impl<'a> Rows<'a> {
    pub(super) fn all(results: &'a Results) -> Self {
        Self { results, piece: None }
    }

    fn of<T>(&self, rows: &'a [T]) -> slice::Iter<'a, T> {
        let rows = match self.piece {
            Some(piece) => rows.chunks(PIECE).nth(piece).unwrap_or_default(),
            None => rows,
        };
        rows.iter()
    }
}

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.results {
            Results::Matches(matches) => to.collect_seq(self.of(matches).map(match_row).map(Row::Match)),
            Results::Mappings(mappings) => to.collect_seq(self.of(mappings).map(map_row).map(Row::Mapping)),
            Results::Symbols(rows) => to.collect_seq(self.of(rows).map(symbol_row).map(Row::Symbol)),
            Results::Types(rows) => to.collect_seq(self.of(rows).map(type_row).map(Row::Type)),
            Results::Xrefs(rows) => to.collect_seq(self.of(rows).map(xref_row).map(Row::Xref)),
            Results::Lookups(rows) => to.collect_seq(self.of(rows).map(lookup_row).map(Row::Lookup)),
            Results::Lines(rows) => to.collect_seq(self.of(rows).map(line_row).map(Row::Line)),
            Results::Heap(heap) => to.collect_seq(self.of(&heap.rows).map(heap_row).map(Row::Heap)),
            Results::Leaks(leaks) => to.collect_seq(self.of(&leaks.rows).map(leak_row).map(Row::Leak)),
            Results::Refs(rows) => to.collect_seq(self.of(rows).map(ref_row).map(Row::Ref)),
            Results::Objects(rows) => to.collect_seq(self.of(&rows.rows).map(object_row).map(Row::Object)),
            Results::Findings(rows) => to.collect_seq(self.of(rows).map(finding_row).map(Row::Finding)),
            Results::Stacks(rows) => to.collect_seq(self.of(&rows.rows).map(stack_row).map(Row::Stack)),
            Results::Branches(rows) => to.collect_seq(self.of(rows).map(branch_row).map(Row::Branch)),
            Results::Deadlocks(rows) => to.collect_seq(self.of(rows).map(deadlock_row).map(Row::Deadlock)),
            Results::Jobs(jobs) => to.collect_seq(self.of(jobs).map(job_row).map(Row::Job)),
            Results::Pool(pool) => to.collect_seq(self.of(&pool.workers).map(worker_row).map(Row::Worker)),
            Results::Hosts(hosts) => to.collect_seq(self.of(hosts).map(host_row).map(Row::Host)),
            Results::Versions(versions) => {
                to.collect_seq(self.of(versions).map(|(name, version)| Row::Version { name, version }))
            }
        }
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum Row<'a> {
    Match(MatchRow<'a>),
    Mapping(MapRow<'a>),
    Symbol(SymbolDocument<'a>),
    Type(TypeDocument<'a>),
    Xref(XrefDocument<'a>),
    Lookup(LookupDocument<'a>),
    Line(LineDocument<'a>),
    Heap(HeapDocument<'a>),
    Leak(LeakDocument<'a>),
    Ref(RefDocument<'a>),
    Object(ObjectDocument<'a>),
    Finding(FindingDocument<'a>),
    Deadlock(DeadlockDocument<'a>),
    Stack(StackDocument<'a>),
    Branch(BranchDocument<'a>),
    Job(JobDocument<'a>),
    Worker(WorkerDocument<'a>),
    Host(HostDocument<'a>),
    Version { name: &'a str, version: &'a str },
}

/// Where in a JSON document the rows are: bytes, which nothing else in it is, so that [`Placed`] is asked to write them.
pub(super) struct Place;

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(&[])
    }
}

/// Writes JSON without spaces, and these rows at their [`Place`].
pub(super) struct Placed<'a>(pub(super) &'a Results);

impl Formatter for Placed<'_> {
    fn write_byte_array<W: ?Sized + Write>(&mut self, to: &mut W, _: &[u8]) -> io::Result<()> {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let pieces = self.0.count().unwrap_or_default().div_ceil(PIECE);
        if threads > 1 && pieces > threads {
            return write_pieces(self.0, pieces, threads, to);
        }
        Ok(serde_json::to_writer(to, &Rows::all(self.0))?)
    }
}

/// Writes all rows as a JSON array, of which each of some threads makes every so manieth piece.
fn write_pieces<W: ?Sized + Write>(results: &Results, pieces: usize, threads: usize, to: &mut W) -> io::Result<()> {
    thread::scope(|scope| {
        let makers = (0..threads).map(|first| make(scope, results, (first..pieces).step_by(threads)));
        let Ok(makers) = makers.collect::<io::Result<Vec<_>>>() else {
            return Ok(serde_json::to_writer(to, &Rows::all(results))?);
        };
        to.write_all(b"[")?;
        for (piece, texts) in (0..pieces).zip(makers.iter().cycle()) {
            let text = texts.recv().map_err(|_| io::Error::other("a row could not be written"))??;
            if piece > 0 {
                to.write_all(b",")?;
            }
            // Without its brackets.
            to.write_all(text.get(1..text.len() - 1).unwrap_or_default())?;
        }
        to.write_all(b"]")
    })
}

/// Starts a thread that makes the texts of pieces, one after another, until nobody takes them.
fn make<'s>(
    scope: &'s Scope<'s, '_>,
    results: &'s Results,
    pieces: impl Iterator<Item = usize> + Send + 's,
) -> io::Result<Receiver<serde_json::Result<Vec<u8>>>> {
    let (sender, texts) = mpsc::sync_channel(AHEAD);
    let run = move || {
        for piece in pieces {
            if sender.send(serde_json::to_vec(&Rows { results, piece: Some(piece) })).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("mp-scan rows".into()).spawn_scoped(scope, run)?;
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use analysis::{FrameRow, LookupRow};

    fn lookups(count: usize) -> Results {
        let row = |number: usize| {
            let frame = FrameRow { line: Some(number as u64), ..FrameRow::default() };
            LookupRow { address: number as u64, frames: vec![frame; number % 3], ..LookupRow::default() }
        };
        Results::Lookups((0..count).map(row).collect())
    }

    #[test]
    fn pieces_of_several_threads_are_the_rows_in_their_order() {
        for count in [1, PIECE, PIECE + 1, 5 * PIECE, 9 * PIECE - 1] {
            let results = lookups(count);
            let expected = serde_json::to_string(&Rows::all(&results)).unwrap();
            for threads in 1..4 {
                let mut text = Vec::new();
                write_pieces(&results, count.div_ceil(PIECE), threads, &mut text).unwrap();
                assert!(text == expected.as_bytes(), "{count} rows, {threads} threads");
            }
        }
    }

    #[test]
    fn an_error_of_the_writer_ends_all_threads() {
        let results = lookups(20 * PIECE);
        let mut full = [0; 3 * PIECE];
        let written = write_pieces(&results, 20, 3, &mut &mut full[..]);
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::WriteZero);
    }
}
