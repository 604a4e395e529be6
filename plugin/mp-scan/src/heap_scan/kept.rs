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
    /// A thread that nobody waits for, and the moment that what it finds out is true of.
    chore: Mutex<Option<(Option<Moment>, Aside)>>,
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

impl Heap {
    /// Whether nobody would notice that it is not true any more.
    fn is_unwatched(&self) -> bool {
        self.vigil.is_none() && matches!(self.moment, Moment::Stop { .. })
    }
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
    /// until it runs or ends; of one that only the debugger can see, until another heap is looked at.
    pub fn keep(&self, moment: Moment, known: Arc<Known>) {
        let of = moment.clone();
        let vigil = Vigil::new(&moment, move || engine().heaps.forget(&of));
        let mut heaps = self.lock();
        let is_over = |heap: &mut Heap| heap.known.is_none() || heap.is_unwatched() || heap.moment.is_of(&moment);
        let mut over: Vec<Heap> = heaps.extract_if(.., is_over).collect();
        let many = heaps.len().saturating_sub(MOST - 1);
        over.extend(heaps.drain(..many));
        self.let_go_of_copy(&moment);
        heaps.push(Heap { moment, known: Some(known), vigil });
        // A vigil that ends may be waiting for the lock.
        drop(heaps);
        drop(over);
    }

    /// Before a heap is copied, lets go of the others that have been: one copy at a time is as much as a guest may take.
    pub fn make_room(&self, moment: &Moment) {
        let has_copy = |heap: &Heap| heap.known.as_ref().is_some_and(|known| known.is_copied());
        let over: Vec<Heap> = self.lock().extract_if(.., |heap| heap.moment != *moment && has_copy(heap)).collect();
        drop(over);
    }

    /// Lets go of what is known of the heap at this moment.
    fn forget(&self, moment: &Moment) {
        if let Some((Some(of), chore)) = &*self.chore.lock().unwrap_or_else(PoisonError::into_inner)
            && of == moment
        {
            chore.stop();
        }
        let known = self.lock().iter_mut().find(|heap| heap.moment == *moment).and_then(|heap| heap.known.take());
        drop(known);
    }

    /// The copy that was made of a target at this moment. Of another moment it is of no use any more, and is let go.
    pub fn copy_at(&self, moment: &Moment) -> Option<Arc<Copy>> {
        self.let_go_of_copy(moment);
        let copy = self.copy.lock().unwrap_or_else(PoisonError::into_inner);
        copy.as_ref().map(|(_, copy)| Arc::clone(copy))
    }

    /// Unless it is of this moment.
    fn let_go_of_copy(&self, moment: &Moment) {
        self.copy.lock().unwrap_or_else(PoisonError::into_inner).take_if(|(kept, _)| kept != moment);
    }

    /// Keeps a copy, in the place of the one before.
    pub fn keep_copy(&self, moment: Moment, copy: Arc<Copy>) {
        *self.copy.lock().unwrap_or_else(PoisonError::into_inner) = Some((moment, copy));
    }

    /// Leaves a thread to what it does, until the workers are wanted or the moment is over.
    pub fn leave(&self, moment: Option<Moment>, thread: Aside) {
        let before = self.chore.lock().unwrap_or_else(PoisonError::into_inner).replace((moment, thread));
        drop(before);
    }

    /// Ends what is being found out: within milliseconds, since the analyses ask often.
    pub fn rest(&self) {
        let chore = self.chore.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(chore);
    }
}
