//! What is known of a heap, for as long as it is true: of a process until it runs, of a core file for the session.

use super::Known;
use super::vigil::Vigil;
use crate::course::{Aside, Copy, Moment};
use crate::engine::engine;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Of so many heaps at most it is kept what is known: of those that were looked at last.
const MOST: usize = 4;

/// What is known of heaps, and what is being found out of one.
#[derive(Debug, Default)]
pub struct Kept {
    /// The one that was looked at last is the last.
    heaps: Mutex<Vec<Heap>>,
    /// All memory of a target that only the debugger can read.
    copy: Mutex<Option<(Moment, Arc<Copy>)>>,
    /// A thread that nobody waits for.
    chore: Mutex<Option<Aside>>,
}

/// A heap at a moment.
#[derive(Debug)]
struct Heap {
    moment: Moment,
    /// `None` once it is not true any more.
    known: Option<Arc<Known>>,
    /// Lets go of what is known as soon as it is of no use: it may take gigabytes.
    vigil: Option<Vigil>,
}

impl Kept {
    fn lock(&self) -> MutexGuard<'_, Vec<Heap>> {
        self.heaps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of the heap at this moment.
    pub fn at(&self, moment: &Moment) -> Option<Arc<Known>> {
        let mut heaps = self.lock();
        let index = heaps.iter().position(|heap| heap.moment == *moment)?;
        let heap = heaps.remove(index);
        let known = heap.known.clone();
        heaps.push(heap);
        known
    }

    /// Keeps it, in the place of what is not true any more and of the heap that was not looked at for the longest time: of a process
    /// until it runs or ends.
    pub fn keep(&self, moment: Moment, known: Arc<Known>) {
        let of = moment.clone();
        let vigil = Vigil::new(&moment, move || engine().heaps.forget(&of));
        let mut heaps = self.lock();
        let over = heaps.extract_if(.., |heap| heap.known.is_none() || heap.moment.is_of(&moment));
        let mut over: Vec<Heap> = over.collect();
        let many = heaps.len().saturating_sub(MOST - 1);
        over.extend(heaps.drain(..many));
        heaps.push(Heap { moment, known: Some(known), vigil });
        // A vigil that ends may be waiting for the lock.
        drop(heaps);
        for heap in over {
            drop(heap.vigil);
        }
    }

    /// Lets go of what is known of the heap at this moment.
    fn forget(&self, moment: &Moment) {
        let known = self.lock().iter_mut().find(|heap| heap.moment == *moment).and_then(|heap| heap.known.take());
        drop(known);
    }

    /// The copy that was made of a target at this moment. Of another moment it is of no use any more, and is let go.
    pub fn copy_at(&self, moment: &Moment) -> Option<Arc<Copy>> {
        let mut copy = self.copy.lock().unwrap_or_else(PoisonError::into_inner);
        if copy.as_ref().is_some_and(|(kept, _)| kept != moment) {
            *copy = None;
        }
        copy.as_ref().map(|(_, copy)| Arc::clone(copy))
    }

    /// Keeps a copy, in the place of the one before.
    pub fn keep_copy(&self, moment: Moment, copy: Arc<Copy>) {
        *self.copy.lock().unwrap_or_else(PoisonError::into_inner) = Some((moment, copy));
    }

    /// Leaves a thread to what it does, until the workers are wanted.
    pub fn leave(&self, thread: Aside) {
        let before = self.chore.lock().unwrap_or_else(PoisonError::into_inner).replace(thread);
        drop(before);
    }

    /// Ends what is being found out: within milliseconds, since the analyses ask often.
    pub fn rest(&self) {
        let chore = self.chore.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(chore);
    }
}
