//! How random memory looks: the Shannon entropy of its bytes.

use crate::driver::Sink;
use crate::memory::{Buffer, Walk};
use crate::plan::{Analysis, ScanRange, Scanned, Task};
use crate::report::Stop;
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;
use target::{AddressRange, ReadMemory};

/// Counts the bytes of each of its ranges, one for each region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entropy {
    /// Where, in address order.
    pub ranges: Vec<ScanRange>,
    /// Whether pages in swap are read.
    pub swapped: bool,
    /// Bytes read at once.
    pub block: u32,
}

impl Default for Entropy {
    /// Nothing; all else as the command's defaults are.
    fn default() -> Self {
        Self { ranges: Vec::new(), swapped: true, block: 512 << 10 }
    }
}

/// How often each byte was seen.
pub type Histogram = Vec<u64>;

/// How often each byte was seen in each range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntropyMerge {
    /// By the index of the range.
    histograms: Vec<Histogram>,
}

/// A buffer, kept from one task to the next.
#[derive(Debug, Default)]
pub struct EntropyScanner {
    buffer: Buffer,
}

impl EntropyMerge {
    /// The entropy of what was read of a range, in bits a byte, 0 to 8; `None` if nothing of it could be read.
    pub fn entropy(&self, index: usize) -> Option<f64> {
        let histogram = self.histograms.get(index)?;
        let total: u64 = histogram.iter().sum();
        if total == 0 {
            return None;
        }
        let share = |count: &u64| *count as f64 / total as f64;
        let bits: f64 =
            histogram.iter().map(share).filter(|share| *share > 0.0).map(|share| -share * share.log2()).sum();
        // Not -0.0, where there is but one byte.
        Some(bits.max(0.0))
    }
}

impl Analysis for Entropy {
    const NAME: &'static str = "entropy";
    type Input = dyn ReadMemory;
    type Partial = Histogram;
    type Scanner = EntropyScanner;
    type Merge = EntropyMerge;
    type Item = ();

    fn ranges(&self) -> &[ScanRange] {
        &self.ranges
    }

    fn reach(&self) -> u64 {
        0
    }

    fn reads_swapped(&self) -> bool {
        self.swapped
    }

    fn scanner(&self) -> Result<EntropyScanner, String> {
        Ok(EntropyScanner::default())
    }

    fn scan(
        &self,
        scanner: &mut EntropyScanner,
        task: &Task,
        memory: &dyn ReadMemory,
        stop: &dyn Fn() -> bool,
    ) -> Scanned<Histogram> {
        let scan = task.scan_range(&self.ranges);
        let walk = Walk {
            memory,
            range: task.range,
            region: scan.region,
            sparse: scan.sparse,
            swapped: self.swapped,
            before: 0,
            reach: 1,
            zero_reach: 1,
            zeros: false,
            block: self.block.max(1) as usize,
            stop,
        };
        let mut histogram = vec![0; 256];
        let mut seen = 0;
        let walked = walk.run(&mut scanner.buffer, |window| {
            let data = &window.data[window.starts.clone()];
            seen += data.len() as u64;
            count(data, &mut histogram);
            ControlFlow::Continue(())
        });
        let bytes = walked.bytes(task.range);
        // What was not shown was known to be zeros.
        histogram[0] += bytes.saturating_sub(seen);
        Scanned {
            partial: histogram,
            bytes,
            skipped: walked.skipped,
            rest: walked.rest.map(|rest| AddressRange::new(rest, task.range.end)),
            gone: walked.gone,
        }
    }

    fn merge(&self) -> EntropyMerge {
        EntropyMerge { histograms: vec![vec![0; 256]; self.ranges.len()] }
    }

    fn absorb(
        &self,
        merge: &mut EntropyMerge,
        task: &Task,
        partial: Histogram,
        _memory: &dyn ReadMemory,
        _sink: &mut dyn Sink<()>,
    ) -> ControlFlow<Stop> {
        if let Some(histogram) = merge.histograms.get_mut(task.index) {
            for (sum, count) in histogram.iter_mut().zip(partial) {
                *sum = sum.saturating_add(count);
            }
        }
        ControlFlow::Continue(())
    }

    fn weight(partial: &Histogram) -> usize {
        size_of_val(&partial[..])
    }
}

/// Counts bytes. Equal bytes that follow one another are counted in different tables, so that no addition waits for the one
/// before.
fn count(data: &[u8], histogram: &mut [u64]) {
    let mut tables = [[0u32; 256]; 8];
    // As many bytes as a table can count for certain.
    for part in data.chunks(1 << 30) {
        let (words, rest) = part.as_chunks::<8>();
        for word in words {
            for (table, byte) in tables.iter_mut().zip(word) {
                table[usize::from(*byte)] += 1;
            }
        }
        for byte in rest {
            tables[0][usize::from(*byte)] += 1;
        }
        for table in &mut tables {
            for (sum, count) in histogram.iter_mut().zip(table) {
                *sum += u64::from(std::mem::take(count));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Chaos, PAGE, Page, Random, TestMemory};
    use crate::{Cut, run};

    #[test]
    fn counts_every_byte_that_there_is() {
        for seed in 0..60 {
            let mut random = Random::new(seed);
            let pages = 1 + random.below(8);
            let kinds =
                (0..pages).map(|_| *random.of(&[Page::Normal, Page::Normal, Page::Empty, Page::Hole, Page::Swapped]));
            let kinds = kinds.collect();
            let bytes = (0..pages * PAGE).map(|_| random.next() as u8).collect();
            let mut memory = TestMemory::new(0x4000, bytes, kinds);
            let region = memory.region();
            let middle = region.start + random.below(region.len());
            let ranges = [AddressRange::new(region.start, middle), AddressRange::new(middle, region.end)];
            let swapped = random.one_in(2);
            memory.may_swap = swapped;
            let ranges: Vec<ScanRange> = ranges.map(|range| memory.scan(range)).into();
            let entropy = Entropy { ranges: ranges.clone(), swapped, block: 1 + random.below(9000) as u32 };
            let mut chaos = Chaos::new(&entropy, &memory, random.clone());
            chaos.carried = random.one_in(2).then(|| 1 + random.below(9000));
            let outcome =
                run(&entropy, &mut chaos, &memory, Cut { block: 1000, task: 5000, sparse: 9000 }, &mut Vec::new());
            for (index, scan) in ranges.iter().enumerate() {
                let mut naive = vec![0; 256];
                for (start, bytes) in memory.runs(swapped) {
                    for (at, byte) in bytes.iter().enumerate() {
                        if scan.range.contains(start + at as u64) {
                            naive[usize::from(*byte)] += 1;
                        }
                    }
                }
                assert_eq!(outcome.merge.histograms[index], naive);
            }
            assert_eq!(memory.touched.into_inner(), 0);
        }
    }

    #[test]
    fn entropy_of_what_is_known() {
        let merge = |counts: &[(usize, u64)]| {
            let mut histogram = vec![0; 256];
            counts.iter().for_each(|(byte, count)| histogram[*byte] = *count);
            EntropyMerge { histograms: vec![histogram] }
        };
        assert_eq!(merge(&[]).entropy(0), None);
        assert_eq!(merge(&[]).entropy(1), None);
        assert_eq!(merge(&[(7, 100)]).entropy(0).map(f64::to_bits), Some(0.0f64.to_bits()));
        assert_eq!(merge(&[(0, 3), (255, 3)]).entropy(0), Some(1.0));
        let all: Vec<(usize, u64)> = (0..256).map(|byte| (byte, 5)).collect();
        assert_eq!(merge(&all).entropy(0), Some(8.0));
    }
}
