//! The thread that runs what is to be done when a call has ended: not the dispatcher, whom it would hold up.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Sender};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};

/// Something to be done once.
pub(super) type Callback = Box<dyn FnOnce() + Send>;

/// The thread, from the first callback on, until the pool is dropped.
#[derive(Debug, Default)]
pub(super) struct Callbacks {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    New,
    Running(Sender<Callback>, JoinHandle<()>),
    Ended,
}

impl Callbacks {
    /// Makes sure that there is the thread; whether there is.
    pub(super) fn start(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*state, State::New) {
            let (sender, receiver) = mpsc::channel::<Callback>();
            let serve = move || {
                for callback in receiver {
                    // Its message has been printed; the callbacks after it are to be run all the same.
                    let _ = catch_unwind(AssertUnwindSafe(callback));
                }
            };
            if let Ok(thread) = thread::Builder::new().name("pool callbacks".into()).spawn(serve) {
                *state = State::Running(sender, thread);
            }
        }
        matches!(*state, State::Running(..))
    }

    /// Has it run by the thread; by this one if there is none any more.
    pub(super) fn run(&self, callback: Callback) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let callback = match &*state {
            State::Running(sender, _) => sender.send(callback).err().map(|error| error.0),
            State::New | State::Ended => Some(callback),
        };
        drop(state);
        if let Some(callback) = callback {
            callback();
        }
    }

    /// Ends the thread, once it has run what it was given.
    pub(super) fn end(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *state, State::Ended);
        drop(state);
        if let State::Running(sender, thread) = before {
            drop(sender);
            // A callback may hold the last reference to the pool, and so come here in the thread itself.
            if thread.thread().id() != thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}
