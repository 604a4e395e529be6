//! Bytes that are read at the back and dropped at the front.

/// Where blocks begin in memory: reading whole pages onto page borders is faster.
const PAGE: usize = 4096;

/// A stretch of the target's memory that moves on. It is kept from task to task, so that its pages are used again.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    head: usize,
    tail: usize,
}

impl Buffer {
    pub(crate) fn data(&self) -> &[u8] {
        &self.bytes[self.head..self.tail]
    }

    pub(crate) fn clear(&mut self) {
        (self.head, self.tail) = (0, 0);
    }

    /// Drops all but the last `keep` bytes, and moves these so that the next byte lies on a page border.
    pub(crate) fn keep(&mut self, keep: usize) {
        let keep = keep.min(self.tail - self.head);
        let misaligned = self.bytes.as_ptr().align_offset(PAGE);
        let mut tail = if misaligned < PAGE { misaligned } else { 0 };
        while tail < keep {
            tail += PAGE;
        }
        if tail > self.bytes.len() {
            self.bytes.resize(tail, 0);
        }
        self.bytes.copy_within(self.tail - keep..self.tail, tail - keep);
        (self.head, self.tail) = (tail - keep, tail);
    }

    /// Appends what `fill` brings: it is given room for `most` bytes, and says how many of them it has filled.
    pub(crate) fn append<E>(
        &mut self,
        most: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<usize, E> {
        let end = self.tail + most;
        if end > self.bytes.len() {
            self.bytes.resize(end, 0);
        }
        let filled = fill(&mut self.bytes[self.tail..end])?.min(most);
        self.tail += filled;
        Ok(filled)
    }

    pub(crate) fn append_zeros(&mut self, count: usize) {
        let filled: Result<usize, ()> = self.append(count, |room| {
            room.fill(0);
            Ok(count)
        });
        debug_assert!(filled == Ok(count));
    }
}

#[cfg(test)]
mod tests {
    use super::Buffer;

    #[test]
    fn keeps_the_tail_through_moves_and_growth() {
        let mut buffer = Buffer::default();
        let mut twin: Vec<u8> = Vec::new();
        for (step, keep) in [(10, 3), (5000, 4500), (1, 4501), (70_000, 0), (8192, 8192), (100, 5)].into_iter() {
            let bytes: Vec<u8> = (0..step).map(|at| (at * 7 + keep) as u8).collect();
            let appended: Result<usize, ()> = buffer.append(step + 9, |room| {
                room[..step].copy_from_slice(&bytes);
                Ok(step)
            });
            assert_eq!(appended, Ok(step));
            twin.extend(&bytes);
            buffer.append_zeros(2);
            twin.extend([0, 0]);
            assert_eq!(buffer.data(), twin);
            buffer.keep(keep);
            twin.drain(..twin.len().saturating_sub(keep));
            assert_eq!(buffer.data(), twin);
        }
        buffer.clear();
        assert!(buffer.data().is_empty());
    }
}
