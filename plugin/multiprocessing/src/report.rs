//! What is known of a worker after its death: which task it had begun, and what it printed.
//!
//! Both are in one piece of shared memory that the worker has as its standard error. The text is bounded, for the memory is
//! sealed, and needs no reader: a worker that prints a lot neither blocks nor fills anything.

use crate::memory::SharedMemory;
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};

const STARTED: usize = 0;
/// Where the text begins; the page before it holds the number.
const TEXT: usize = 4096;
/// The most text that is kept of one task, in bytes.
const TEXT_LIMIT: usize = 60 * 1024;

/// The memory, on either side.
#[derive(Debug)]
pub(crate) struct Report {
    memory: SharedMemory,
    /// The same descriptor once more, for its position, which both sides share.
    position: File,
}

impl Report {
    /// New memory for a worker that is about to be started.
    pub(crate) fn new() -> io::Result<Report> {
        Report::over(SharedMemory::new(TEXT + TEXT_LIMIT)?)
    }

    /// The memory behind the standard error of this process, if it is a worker.
    pub(crate) fn of_this_worker() -> io::Result<Report> {
        let report = Report::over(SharedMemory::from_descriptor(io::stderr().as_fd().try_clone_to_owned()?)?)?;
        if report.memory.len() < TEXT {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "too small for a report"));
        }
        Ok(report)
    }

    fn over(memory: SharedMemory) -> io::Result<Report> {
        let mut position = File::from(memory.as_fd().try_clone_to_owned()?);
        position.seek(SeekFrom::Start(TEXT as u64))?;
        Ok(Report { memory, position })
    }

    fn started_word(&self) -> &AtomicU64 {
        self.memory.atomic_u64(STARTED).expect("the memory has a first page")
    }

    /// In the worker: a task begins, so earlier text is of no more interest.
    pub(crate) fn start(&mut self, sequence: u64) {
        self.started_word().store(sequence, Ordering::Release);
        // Seeking in memory does not fail; if it did, the text would be longer than needed.
        let _ = self.position.seek(SeekFrom::Start(TEXT as u64));
    }

    /// In the pool: the last task that the worker began; 0 if none.
    pub(crate) fn started(&self) -> u64 {
        self.started_word().load(Ordering::Acquire)
    }

    /// In the pool: what the worker printed since that task began.
    pub(crate) fn text(&mut self) -> String {
        let end = self.position.stream_position().map_or(TEXT, |end| usize::try_from(end).unwrap_or(TEXT));
        let mut bytes = vec![0; end.clamp(TEXT, self.memory.len()) - TEXT];
        self.memory.read(TEXT, &mut bytes).expect("clamped to the memory");
        String::from_utf8_lossy(&bytes).trim().to_owned()
    }
}

impl AsFd for Report {
    /// What the worker gets as its standard error.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn text_is_that_of_the_last_task_and_bounded() {
        let mut report = Report::new().expect("memory");
        let mut worker = report.position.try_clone().expect("descriptor");
        worker.write_all(b"before").expect("room");
        report.start(7);
        worker.write_all(b" during \n").expect("room");
        assert_eq!(report.started(), 7);
        assert_eq!(report.text(), "during");
        report.start(8);
        assert_eq!(report.text(), "");
        while worker.write_all(&[b'x'; 1000]).is_ok() {}
        assert!(report.text().len() <= TEXT_LIMIT);
        assert!(report.text().len() > TEXT_LIMIT - 1000);
    }
}
