//! What other processes do in the tests of locks and shared values.

use multiprocessing::sync::{
    Barrier, BarrierError, Condition, ConditionError, Event, Lock, LockError, RLock, Semaphore,
};
use multiprocessing::{Registry, Segment, Shared, SharedMemory, SharedSlice};
use std::time::Duration;

multiprocessing::function! {
    /// Takes a lock, says so, and holds it until it is told to release it, or killed.
    pub fn hold(lock: Lock, held: Event, enough: Event) -> Result<(), String> {
        let guard = lock.lock().map_err(|error| error.to_string())?;
        held.set();
        enough.wait();
        drop(guard);
        Ok(())
    }
}

multiprocessing::function! {
    /// The same for a lock that is held twice.
    pub fn hold_twice(lock: RLock, held: Event, enough: Event) -> Result<(), String> {
        let _outer = lock.lock().map_err(|error| error.to_string())?;
        let _inner = lock.lock().map_err(|error| error.to_string())?;
        held.set();
        enough.wait();
        Ok(())
    }
}

multiprocessing::function! {
    /// Releases what it does not hold.
    pub fn release_wrongly(lock: Lock, rlock: RLock) {
        assert!(matches!(lock.release(), Err(LockError::NotOwner)));
        assert!(matches!(rlock.release(), Err(LockError::NotOwner)));
        assert!(matches!(lock.try_lock(), Err(LockError::TimedOut)));
        assert!(matches!(rlock.try_lock(), Err(LockError::TimedOut)));
    }
}

multiprocessing::function! {
    /// Waits for a condition, and counts itself before and after.
    pub fn await_condition(condition: Condition, counts: Shared<[u32; 2]>) -> Result<(), String> {
        let mut guard = counts.lock().map_err(|error| error.to_string())?;
        guard.set([guard.get()[0] + 1, guard.get()[1]]);
        match condition.wait(&mut guard) {
            Ok(()) | Err(ConditionError::OwnerDied) => {}
            Err(error) => return Err(error.to_string()),
        }
        guard.set([guard.get()[0], guard.get()[1] + 1]);
        Ok(())
    }
}

multiprocessing::function! {
    /// Comes to a barrier so many times; counts in how many of them it ran the action.
    pub fn meet(barrier: Barrier, rounds: u32, actions: Shared<u64>, indices: SharedSlice<u32>) -> Result<(), String> {
        for _ in 0..rounds {
            // Only one runs it at a time, before any goes on.
            let index = barrier.wait_then(|| actions.set(actions.get() + 1)).map_err(|error| error.to_string())?;
            let guard = indices.lock().map_err(|error| error.to_string())?;
            guard.set(index, guard.get(index).unwrap_or(0) + 1).map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

multiprocessing::function! {
    /// Waits at a barrier that is going to break.
    pub fn meet_in_vain(barrier: Barrier) {
        assert!(matches!(barrier.wait(), Err(BarrierError::Broken | BarrierError::TimedOut)));
    }
}

multiprocessing::function! {
    /// Comes twice; the one in the middle aborts in place of the second time. Then they agree, by the other barrier, that one resets
    /// the first, and come once more. Counts those that have met, that were let go, that aborted, and that have met in the end.
    pub fn abort_and_reset(barrier: Barrier, agreement: Barrier, counts: SharedSlice<u32>) -> Result<(), String> {
        let count = |place| -> Result<(), String> {
            let guard = counts.lock().map_err(|error| error.to_string())?;
            guard.set(place, guard.get(place).unwrap_or(0) + 1).map_err(|error| error.to_string())
        };
        let middle = barrier.parties() as usize / 2;
        match barrier.wait() {
            Ok(index) if index == middle => {
                barrier.abort().map_err(|error| error.to_string())?;
                count(2)?;
            }
            Ok(_) => match barrier.wait() {
                Ok(_) => count(0)?,
                Err(BarrierError::Broken) => count(1)?,
                Err(error) => return Err(error.to_string()),
            },
            Err(error) => return Err(error.to_string()),
        }
        if agreement.wait().map_err(|error| error.to_string())? == middle {
            barrier.reset().map_err(|error| error.to_string())?;
        }
        agreement.wait().map_err(|error| error.to_string())?;
        barrier.wait().map_err(|error| error.to_string())?;
        count(3)
    }
}

multiprocessing::function! {
    /// Says that it is about to wait, waits for an event, and sets another one.
    pub fn await_event(event: Event, waiting: Semaphore, then: Event) -> Result<(), String> {
        waiting.release().map_err(|error| error.to_string())?;
        event.wait();
        then.set();
        Ok(())
    }
}

multiprocessing::function! {
    /// Clears an event.
    pub fn clear_event(event: Event) { event.clear(); }
}

multiprocessing::function! {
    /// Is killed in the action.
    pub fn die_in_action(barrier: Barrier) {
        let _ = barrier.wait_then(|| std::process::abort());
    }
}

multiprocessing::function! {
    /// Takes so many permits.
    pub fn take_permits(semaphore: Semaphore, count: u32) {
        (0..count).for_each(|_| semaphore.acquire());
    }
}

multiprocessing::function! {
    /// Doubles all that it is given.
    pub fn double(value: Shared<f64>, slice: SharedSlice<u32>, memory: SharedMemory) -> Result<(), String> {
        value.update(|number| number * 2.0).map_err(|error| error.to_string())?;
        for index in 0..slice.len() {
            slice.set(index, slice.get(index).unwrap_or(0) * 2).map_err(|error| error.to_string())?;
        }
        let mut bytes = vec![0; memory.len()];
        memory.read(0, &mut bytes).map_err(|error| error.to_string())?;
        bytes.iter_mut().for_each(|byte| *byte *= 2);
        memory.write(0, &bytes).map_err(|error| error.to_string())
    }
}

/// What the torture protects: two numbers that are equal while nobody holds the lock, who holds it, and how often
/// somebody died with it.
pub type Tortured = [u64; 4];

multiprocessing::function! {
    /// Counts under a lock until it is told to stop, or killed.
    pub fn torture(state: Shared<Tortured>, me: u64, stop: Event) -> Result<(), String> {
        while !stop.is_set() {
            let (guard, died) = match state.lock_timeout(Duration::from_secs(20)) {
                Ok(guard) => (guard, false),
                Err(LockError::OwnerDied(guard)) => (guard, true),
                Err(error) => return Err(error.to_string()),
            };
            let [left, right, holder, deaths] = guard.get();
            if died {
                if left != right && left != right + 1 {
                    return Err(format!("{left} and {right} after a death"));
                }
                guard.set([left, left, 0, deaths + 1]);
            } else if left != right || holder != 0 {
                return Err(format!("{left} and {right}, and {holder} is at it"));
            }
            let [left, _, _, deaths] = guard.get();
            guard.set([left, left, me, deaths]);
            guard.set([left + 1, left, me, deaths]);
            (0..left % 64).for_each(|_| std::hint::spin_loop());
            if left % 97 == 0 {
                std::thread::yield_now();
            }
            if guard.get() != [left + 1, left, me, deaths] {
                return Err("two are at it".into());
            }
            guard.set([left + 1, left + 1, me, deaths]);
            guard.set([left + 1, left + 1, 0, deaths]);
        }
        Ok(())
    }
}

multiprocessing::function! {
    /// Takes segments one after the other, says what is in each, and keeps the last until it is told to let go.
    pub fn sum_segments(segments: Vec<Segment>, sums: SharedSlice<u64>, done: Event, enough: Event) -> Result<(), String> {
        for (index, segment) in segments.iter().enumerate() {
            let sum = segment.to_vec().iter().map(|byte| u64::from(*byte)).sum();
            sums.set(index, sum).map_err(|error| error.to_string())?;
        }
        done.set();
        enough.wait();
        Ok(())
    }
}

pub fn register(registry: Registry) -> Registry {
    registry
        .function::<hold>()
        .function::<hold_twice>()
        .function::<release_wrongly>()
        .function::<await_condition>()
        .function::<meet>()
        .function::<meet_in_vain>()
        .function::<abort_and_reset>()
        .function::<await_event>()
        .function::<clear_event>()
        .function::<die_in_action>()
        .function::<take_permits>()
        .function::<double>()
        .function::<torture>()
        .function::<sum_segments>()
}
