//! The places of a pool, and who has them.

use super::WorkerStatus;
use super::worker::Worker;

/// A place in the pool: its worker of the moment, and what happened to all that had it.
#[derive(Debug, Default)]
pub(super) struct Seat {
    pub(super) worker: Option<Worker>,
    pub(super) tasks: u64,
    pub(super) deaths: u64,
}

impl Seat {
    fn status(&self) -> Option<WorkerStatus> {
        let worker = self.worker.as_ref()?;
        Some(WorkerStatus {
            host: None,
            machine: None,
            pid: worker.process.pid(),
            state: worker.state(),
            tasks: self.tasks,
            deaths: self.deaths,
            memory: worker.memory(),
            error: None,
        })
    }
}

#[derive(Debug)]
pub(super) struct Seats {
    places: Vec<Seat>,
    /// Beyond the number of places: their workers end what they have in hand, and get no more.
    leaving: Vec<Seat>,
}

impl Seats {
    pub(super) fn new(count: usize) -> Seats {
        let mut seats = Seats { places: Vec::new(), leaving: Vec::new() };
        seats.resize(count);
        seats
    }

    /// How many places there are.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn resize(&mut self, count: usize) {
        if count < self.places.len() {
            // Those that have nothing to do go first.
            let busy = |seat: &Seat| seat.worker.as_ref().map(|worker| worker.pipeline.len());
            self.places.sort_by_key(|seat| std::cmp::Reverse(busy(seat)));
            self.leaving.extend(self.places.drain(count..));
        }
        self.places.resize_with(count, Seat::default);
    }

    /// A place without a worker.
    pub(super) fn empty(&mut self) -> Option<&mut Seat> {
        self.places.iter_mut().find(|seat| seat.worker.is_none())
    }

    /// Whether some place has no worker.
    pub(super) fn vacant(&self) -> bool {
        self.places.iter().any(|seat| seat.worker.is_none())
    }

    /// Whether no place has a worker.
    pub(super) fn all_empty(&self) -> bool {
        self.places.iter().all(|seat| seat.worker.is_none())
    }

    /// The place of this worker.
    pub(super) fn of(&mut self, number: u64) -> Option<&mut Seat> {
        let mut seats = self.places.iter_mut().chain(&mut self.leaving);
        seats.find(|seat| seat.worker.as_ref().is_some_and(|worker| worker.number == number))
    }

    /// All workers.
    pub(super) fn workers(&self) -> impl Iterator<Item = &Worker> {
        self.places.iter().chain(&self.leaving).filter_map(|seat| seat.worker.as_ref())
    }

    /// All workers.
    pub(super) fn workers_mut(&mut self) -> impl Iterator<Item = &mut Worker> {
        self.places.iter_mut().chain(&mut self.leaving).filter_map(|seat| seat.worker.as_mut())
    }

    /// The worker that has the fewest tasks, if it can have one more and then has at most `pipeline`.
    pub(super) fn free(&mut self, pipeline: usize) -> Option<&mut Worker> {
        let workers = self.places.iter_mut().filter_map(|seat| seat.worker.as_mut());
        workers.filter(|worker| worker.has_room(pipeline)).min_by_key(|worker| worker.pipeline.len())
    }

    /// The workers that are leaving and have nothing left to do.
    pub(super) fn left(&mut self) -> Vec<u64> {
        self.leaving.retain(|seat| seat.worker.is_some());
        let workers = self.leaving.iter().filter_map(|seat| seat.worker.as_ref());
        workers.filter(|worker| worker.pipeline.is_empty()).map(|worker| worker.number).collect()
    }

    /// The workers that have ended all tasks that they may have.
    pub(super) fn spent(&self) -> Vec<u64> {
        self.workers().filter(|worker| worker.spent()).map(|worker| worker.number).collect()
    }

    pub(super) fn status(&self) -> Vec<WorkerStatus> {
        self.places.iter().filter_map(Seat::status).collect()
    }
}
