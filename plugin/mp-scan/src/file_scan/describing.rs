//! Has what was found described, a batch of items at a time, and gives the rows back in order.

use analysis::Results;
use analysis::files::{Answer, FileAnalysis, Request};
use multiprocessing::{Job, Next, codec};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use target::modules::Files;

/// As many rows are given at a time where nobody describes them.
const PLAIN: usize = 1024;

/// So many lines about what could not be read are shown; the others are counted.
const MOST_UNREAD: usize = 8;

/// What is being described.
pub struct Describing<A: FileAnalysis> {
    analysis: Arc<A>,
    hands: Hands<A::Item>,
    batches: VecDeque<Batch<A::Item>>,
    /// The id of the first of `batches`.
    first: u64,
    /// Items whose rows are plain because describing them was lost, and why the last of them were.
    lost: Option<(usize, String)>,
    /// What could not be read for rows. Several workers may say the same.
    unread: BTreeSet<String>,
}

/// Rows, and what could not be read for them.
type Rows = (Results, Vec<String>);

struct Batch<T> {
    items: Vec<T>,
    rows: Option<Results>,
}

/// Who describes.
pub enum Hands<T> {
    /// The workers of a pool, in a job of this analysis.
    Pool(Job),
    /// A thread of this process.
    Here(Local<T>),
    /// Nobody has to: the rows are plain.
    Nobody,
}

/// A thread that describes.
pub struct Local<T> {
    requests: Option<Sender<(u64, Vec<T>)>>,
    rows: Receiver<(u64, Rows)>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl<T: Send + 'static> Local<T> {
    /// # Errors
    /// If no thread can be started.
    pub fn start<A: FileAnalysis<Item = T>>(analysis: Arc<A>, files: Arc<Files>) -> std::io::Result<Self> {
        let (requests, batches) = mpsc::channel::<(u64, Vec<T>)>();
        let (sender, rows) = mpsc::channel();
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let run = move || {
            let Ok(mut scanner) = analysis.scanner() else { return };
            let stop = || told.load(Ordering::Relaxed);
            for (id, items) in batches {
                let rows = analysis.describe(&mut scanner, &items, &files, &stop);
                if stop() || sender.send((id, (rows, analysis.unread(&mut scanner)))).is_err() {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("mp-scan rows".into()).spawn(run)?;
        Ok(Self { requests: Some(requests), rows, stop, thread: Some(thread) })
    }
}

/// The thread has ended when this is dropped, so that the code it runs may be unloaded after.
impl<T> Drop for Local<T> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            // One that panicked has given no rows; they are plain then.
            let _ = thread.join();
        }
    }
}

impl<A: FileAnalysis> Describing<A> {
    pub fn new(analysis: Arc<A>, hands: Hands<A::Item>) -> Self {
        Self { analysis, hands, batches: VecDeque::new(), first: 1, lost: None, unread: BTreeSet::new() }
    }

    /// Takes items, in the order in which their rows are wanted.
    pub fn add(&mut self, items: Vec<A::Item>) {
        if items.is_empty() {
            return;
        }
        if matches!(self.hands, Hands::Nobody) {
            let mut items = items.into_iter();
            while items.len() > 0 {
                let rows = Some(self.analysis.plain(items.by_ref().take(PLAIN).collect()));
                self.batches.push_back(Batch { items: Vec::new(), rows });
            }
            return;
        }
        for batch in items.chunks(A::BATCH.max(1)) {
            let id = self.first + self.batches.len() as u64;
            match &self.hands {
                Hands::Pool(job) => {
                    let request = Request::Describe(batch.to_vec());
                    job.submit(id, codec::encode(&request).expect("a request is plain data"));
                }
                Hands::Here(local) => {
                    // If the thread is gone, the rows will be plain.
                    let _ = local.requests.as_ref().map(|requests| requests.send((id, batch.to_vec())));
                }
                Hands::Nobody => {}
            }
            self.batches.push_back(Batch { items: batch.to_vec(), rows: None });
        }
    }

    pub fn is_idle(&self) -> bool {
        self.batches.is_empty()
    }

    /// Waits at most `patience` for rows. Returns those that are next, if they are there.
    pub fn step(&mut self, patience: Duration) -> Option<Results> {
        if self.batches.front().is_some_and(|batch| batch.rows.is_none()) {
            self.wait(patience);
        }
        let rows = self.batches.front_mut()?.rows.take()?;
        self.batches.pop_front();
        self.first += 1;
        Some(rows)
    }

    fn wait(&mut self, patience: Duration) {
        let ended = match &self.hands {
            Hands::Pool(job) => match job.next_timeout(patience) {
                Next::Ended(id, result) => Some((
                    id,
                    result.map_err(|error| error.to_string()).and_then(|payload| {
                        match payload.decode::<Answer<A::Partial>>() {
                            Ok(Answer::Described(rows, unread)) => Ok((rows, unread)),
                            Ok(Answer::Scanned(_) | Answer::Done) => Err("its worker gave something else".to_owned()),
                            Err(error) => Err(error.to_string()),
                        }
                    }),
                )),
                Next::Nothing => None,
                Next::Idle => Some((self.first, Err("its worker is gone".to_owned()))),
            },
            Hands::Here(local) => match local.rows.recv_timeout(patience) {
                Ok((id, rows)) => Some((id, Ok(rows))),
                Err(mpsc::RecvTimeoutError::Timeout) => None,
                Err(mpsc::RecvTimeoutError::Disconnected) => Some((self.first, Err("it panicked".to_owned()))),
            },
            Hands::Nobody => None,
        };
        let Some((id, result)) = ended else { return };
        let Some(index) = id.checked_sub(self.first).and_then(|index| usize::try_from(index).ok()) else { return };
        let Some(batch) = self.batches.get_mut(index) else { return };
        let whole = result.and_then(|(rows, unread)| match rows.count() == Some(batch.items.len()) {
            true => {
                self.unread.extend(unread);
                Ok(rows)
            }
            false => Err("its worker left some out".to_owned()),
        });
        batch.rows = Some(whole.unwrap_or_else(|why| {
            let before = self.lost.as_ref().map_or(0, |(count, _)| *count);
            self.lost = Some((before + batch.items.len(), why));
            self.analysis.plain(std::mem::take(&mut batch.items))
        }));
    }

    /// Ends it: the rows that are still missing, as far as they are known.
    pub fn give_up(&mut self) -> Vec<Results> {
        if let Hands::Pool(job) = &self.hands {
            job.cancel();
        }
        self.first += self.batches.len() as u64;
        let rows = |batch: Batch<A::Item>| batch.rows.unwrap_or_else(|| self.analysis.plain(batch.items));
        self.batches.drain(..).map(rows).collect()
    }

    /// What the user should know of it, a line each.
    pub fn notes(&self) -> Vec<String> {
        let mut notes: Vec<String> = self.unread.iter().take(MOST_UNREAD).cloned().collect();
        if self.unread.len() > MOST_UNREAD {
            notes.push(format!("and {} more parts of files could not be read", self.unread.len() - MOST_UNREAD));
        }
        if let Some((count, why)) = &self.lost {
            notes.push(format!("{count} results are shown without source lines and other details: {why}"));
        }
        notes
    }
}
