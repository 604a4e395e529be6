//! Names the allocations that matches lie in.

use super::{Beside, Known};
use crate::course::{Aside, Failure, Ground, Stages};
use crate::engine::engine;
use analysis::heap::glibc::any_in_heap;
use analysis::{Match, TargetKind};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use target::{Backing, Permissions, ReadMemory};

/// Matches are shown without allocations rather than later than this.
const PATIENCE: Duration = Duration::from_secs(2);

/// Looks up allocations. The heap is indexed for the first match that surely lies in it, if nobody has before.
pub enum Allocations {
    /// Nothing has been found that surely lies in a heap. What indexes it, but for a target where that would take a copy of all memory, or
    /// that changes.
    Unasked(Option<Beside>),
    Indexing(Indexing),
    Known(Arc<Known>),
    /// They are not named, and why, if that is worth telling.
    Unknown(Option<String>),
}

/// The heap is being indexed, on a thread of its own.
pub struct Indexing {
    end: Receiver<Result<Arc<Known>, Failure>>,
    since: Instant,
    _thread: Aside,
}

impl Allocations {
    /// Whether these matches can be shown: whether their allocations are known, or will not be. It waits for at most `patience`.
    pub fn ready(&mut self, ground: &Arc<Ground>, matches: &[Match], patience: Duration) -> bool {
        if let Self::Unasked(beside) = self {
            let known = ground.moment.as_ref().and_then(|moment| engine().heaps.at(moment));
            let memory = beside.as_ref().map(|beside| &*beside.memory);
            if known.is_none() && memory.is_some_and(|memory| !is_worth_indexing(memory, ground, matches)) {
                return true;
            }
            let beside = beside.take();
            *self = match (known, beside) {
                (Some(known), _) => Self::Known(known),
                (None, Some(beside)) => {
                    Indexing::start((beside.stages)(), ground).map_or(Self::Unknown(None), Self::Indexing)
                }
                (None, None) => Self::Unknown(None),
            };
        }
        let Self::Indexing(indexing) = self else { return true };
        *self = match indexing.end.recv_timeout(patience) {
            Ok(Ok(known)) => Self::Known(known),
            Ok(Err(Failure::Failed(error))) => Self::Unknown(Some(format!("allocations are not named: {error:#}"))),
            Ok(Err(Failure::Stopped(_))) | Err(RecvTimeoutError::Disconnected) => Self::Unknown(None),
            Err(RecvTimeoutError::Timeout) if indexing.since.elapsed() < PATIENCE => return false,
            Err(RecvTimeoutError::Timeout) => {
                let why = "allocations are not named, since it takes long to find them: they are after `mp-scan heap`";
                Self::Unknown(Some(why.to_owned()))
            }
        };
        true
    }

    /// Does without.
    pub fn give_up(&mut self) {
        if matches!(self, Self::Unasked(_) | Self::Indexing(_)) {
            *self = Self::Unknown(None);
        }
    }

    /// Puts allocations to those of `matches` that lie in one.
    pub fn name(&self, ground: &Ground, matches: &mut [Match]) {
        let Self::Known(known) = self else { return };
        for found in matches.iter_mut().filter(|found| may_be_heap(ground, found)) {
            found.allocation = known.allocation(found.address);
        }
    }

    /// What the user should know.
    pub fn note(self) -> Option<String> {
        if let Self::Unknown(note) = self { note } else { None }
    }
}

impl Indexing {
    fn start(mut stages: Stages, ground: &Arc<Ground>) -> Option<Self> {
        let control = Arc::clone(&stages.control);
        let ground = Arc::clone(ground);
        let (sender, end) = mpsc::channel();
        let run = move || {
            // Nobody may want to know any more.
            let _ = sender.send(Known::of(&mut stages, &ground));
        };
        let thread = Aside::start("mp-scan index", control, run).ok()?;
        Some(Self { end, since: Instant::now(), _thread: thread })
    }
}

/// Whether the heap is indexed for one of these matches: to look for arenas in memory of any kind takes longer than most searches, and
/// reads pages of a live process that may never have been touched. What brk has extended is the heap, and a heap of a thread is easily
/// known.
fn is_worth_indexing(memory: &dyn ReadMemory, ground: &Ground, matches: &[Match]) -> bool {
    let in_break =
        |found: &Match| ground.space.region_at(found.address).is_some_and(|region| region.backing == Backing::Heap);
    let mut candidates = matches.iter().filter(|found| may_be_heap(ground, found));
    if ground.info.kind == TargetKind::Core {
        return candidates.next().is_some();
    }
    matches.iter().any(in_break) || any_in_heap(memory, candidates.map(|found| found.address))
}

/// Whether a match lies where allocators get their memory.
fn may_be_heap(ground: &Ground, found: &Match) -> bool {
    let region = ground.space.region_at(found.address);
    region.is_some_and(|region| {
        let memory = matches!(region.backing, Backing::Heap | Backing::Anonymous { .. } | Backing::Unknown);
        memory && region.permissions.contains(Permissions::WRITE) && !region.shared
    })
}
