//! What is known of a heap, for as long as it is true: of a process until it runs, of a core file for the session.

use super::Known;
use super::vigil::Vigil;
use crate::course::{Aside, Copy, Moment};
use crate::engine::engine;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is known of the heap that was looked at last, and what is being found out of it.
#[derive(Debug, Default)]
pub struct Kept {
    known: Mutex<Option<(Moment, Arc<Known>)>>,
    /// All memory of a target that only the debugger can read.
    copy: Mutex<Option<(Moment, Arc<Copy>)>>,
    /// Lets go of what is known as soon as it is of no use any more.
    vigil: Mutex<Option<Vigil>>,
    /// A thread that nobody waits for.
    chore: Mutex<Option<Aside>>,
}

impl Kept {
    fn lock(&self) -> MutexGuard<'_, Option<(Moment, Arc<Known>)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of the heap at this moment.
    pub fn at(&self, moment: &Moment) -> Option<Arc<Known>> {
        self.lock().as_ref().filter(|(kept, _)| kept == moment).map(|(_, known)| Arc::clone(known))
    }

    /// Keeps it, in the place of what was known before, until the process runs or ends: it may take gigabytes.
    pub fn keep(&self, moment: Moment, known: Arc<Known>) {
        let of = moment.clone();
        let vigil = Vigil::new(&moment, move || engine().heaps.forget(&of));
        let before = self.lock().replace((moment, known));
        drop(before);
        let before = std::mem::replace(&mut *self.vigil.lock().unwrap_or_else(PoisonError::into_inner), vigil);
        drop(before);
    }

    /// Lets go of what is known of the heap at this moment.
    fn forget(&self, moment: &Moment) {
        let known = self.lock().take_if(|(kept, _)| kept == moment);
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
