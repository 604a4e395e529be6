//! What a worker prints on its standard error.

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use std::collections::VecDeque;
use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// So many bytes are kept, the last ones.
const LIMIT: usize = 16 * 1024;
/// So many are read at a time.
const CHUNK: usize = 16 * 1024;
/// So often in a row, so that a worker that never stops printing does not hold up the others.
const CHUNKS: usize = 8;

/// The pool's end of a pipe, and the last bytes that came from it.
#[derive(Debug)]
pub(super) struct Text {
    /// `None` once the other end is closed.
    pipe: Option<PipeReader>,
    last: VecDeque<u8>,
}

impl Text {
    /// A new one, and the end that the worker gets.
    pub(super) fn new() -> io::Result<(Text, PipeWriter)> {
        let (reader, writer) = io::pipe()?;
        fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok((Text { pipe: Some(reader), last: VecDeque::new() }, writer))
    }

    /// What is read from this end of a pipe.
    pub(super) fn over(pipe: OwnedFd) -> io::Result<Text> {
        fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok(Text { pipe: Some(pipe.into()), last: VecDeque::new() })
    }

    /// What to wait for.
    pub(super) fn pipe(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// Takes what there is.
    pub(super) fn read(&mut self) {
        let mut chunk = [0; CHUNK];
        for _ in 0..CHUNKS {
            let Some(pipe) = &mut self.pipe else { return };
            match pipe.read(&mut chunk) {
                Ok(0) => self.pipe = None,
                Ok(count) => {
                    self.last.extend(&chunk[..count]);
                    self.last.drain(..self.last.len().saturating_sub(LIMIT));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.pipe = None,
            }
        }
    }

    /// What came so far is of no more interest.
    pub(super) fn clear(&mut self) {
        self.last.clear();
    }

    /// The last of what came, after it has died.
    pub(super) fn take(&mut self) -> String {
        self.read();
        String::from_utf8_lossy(self.last.make_contiguous()).trim().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn the_last_bytes_are_kept() {
        let (mut text, mut writer) = Text::new().expect("a pipe");
        writer.write_all(b"before").expect("room");
        text.read();
        text.clear();
        writer.write_all(b" after \n").expect("room");
        assert_eq!(text.take(), "after");
        for _ in 0..10 {
            writer.write_all(&[b'x'; 10_000]).expect("room");
            text.read();
        }
        writer.write_all(b"end").expect("room");
        drop(writer);
        let last = text.take();
        assert!(last.ends_with("xend") && last.len() == LIMIT);
        assert!(text.pipe().is_none());
    }
}
