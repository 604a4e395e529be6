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
    /// Somebody finds out.
    Looking(Looking),
    /// The index is there; with what looks at single allocations.
    Known(Arc<Known>, Option<Box<Stages>>),
    /// They are not named, and why, if that is worth telling.
    Unknown(Option<String>),
}

/// Allocations, or what they are, are being found out on a thread of its own.
pub struct Looking {
    events: Receiver<Event>,
    /// Once it is known where they are.
    known: Option<Arc<Known>>,
    since: Instant,
    _thread: Aside,
}

/// What that thread says.
enum Event {
    Indexed(Result<Arc<Known>, Failure>),
    /// It is found out what those are that were asked for; with what looks at more, if that is of any use.
    Told(Option<Box<Stages>>),
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
            let stages = beside.take().map(|beside| Box::new((beside.stages)()));
            *self = match (known, stages) {
                (Some(known), stages) => Self::Known(known, stages),
                (None, Some(stages)) => Self::look(None, stages, ground, matches),
                (None, None) => Self::Unknown(None),
            };
        }
        if let Self::Known(known, stages) = self
            && stages.is_some()
            && known.is_untold(in_heap(ground, matches))
        {
            *self = match stages.take() {
                Some(stages) => Self::look(Some(Arc::clone(known)), stages, ground, matches),
                None => return true,
            };
        }
        let Self::Looking(looking) = self else { return true };
        *self = match looking.events.recv_timeout(patience) {
            Ok(Event::Indexed(Ok(known))) => {
                looking.known = Some(known);
                return false;
            }
            Ok(Event::Indexed(Err(Failure::Failed(error)))) => {
                Self::Unknown(Some(format!("allocations are not named: {error:#}")))
            }
            Ok(Event::Indexed(Err(Failure::Stopped(_)))) => Self::Unknown(None),
            Ok(Event::Told(stages)) => looking.known_with(stages),
            Err(RecvTimeoutError::Timeout) if looking.since.elapsed() < PATIENCE => return false,
            Err(RecvTimeoutError::Timeout) if looking.known.is_none() => {
                let why = "allocations are not named, since it takes long to find them: they are after `mp-scan heap`";
                Self::Unknown(Some(why.to_owned()))
            }
            // They are shown without types.
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => looking.known_with(None),
        };
        // There may be more of them by now.
        self.ready(ground, matches, Duration::ZERO)
    }

    /// Finds out on a thread of its own where allocations are, unless that is known, and what those of `matches` are.
    fn look(known: Option<Arc<Known>>, mut stages: Box<Stages>, ground: &Arc<Ground>, matches: &[Match]) -> Self {
        // The thread before has been told to stop, since it has ended.
        stages.control = Arc::default();
        let control = Arc::clone(&stages.control);
        let addresses: Vec<u64> = in_heap(ground, matches).collect();
        let ground = Arc::clone(ground);
        let before = known.clone();
        let (sender, events) = mpsc::channel();
        let run = move || {
            // Nobody may want to know any more.
            let known = match before {
                Some(known) => known,
                None => match Known::of(&mut stages, &ground, 0) {
                    Ok(known) => {
                        let _ = sender.send(Event::Indexed(Ok(Arc::clone(&known))));
                        known
                    }
                    Err(failure) => return drop(sender.send(Event::Indexed(Err(failure)))),
                },
            };
            let told = known.glance(&mut stages, &ground, addresses).is_ok();
            let _ = sender.send(Event::Told(told.then_some(stages)));
        };
        match Aside::start("mp-scan index", control, run) {
            Ok(thread) => Self::Looking(Looking { events, known, since: Instant::now(), _thread: thread }),
            Err(_) => known.map_or(Self::Unknown(None), |known| Self::Known(known, None)),
        }
    }

    /// Does without.
    pub fn give_up(&mut self) {
        match self {
            Self::Unasked(_) => *self = Self::Unknown(None),
            Self::Looking(looking) => *self = looking.known_with(None),
            Self::Known(_, stages) => *stages = None,
            Self::Unknown(_) => {}
        }
    }

    /// Puts allocations to those of `matches` that lie in one.
    pub fn name(&self, ground: &Ground, matches: &mut [Match]) {
        let Self::Known(known, _) = self else { return };
        for found in matches.iter_mut().filter(|found| may_be_heap(ground, found)) {
            found.allocation = known.allocation(found.address);
        }
    }

    /// What the user should know.
    pub fn notes(self) -> Vec<String> {
        match self {
            Self::Unknown(note) => note.into_iter().collect(),
            Self::Known(_, Some(stages)) => stages.notes,
            _ => Vec::new(),
        }
    }
}

impl Looking {
    /// What there is once nobody looks any more.
    fn known_with(&mut self, stages: Option<Box<Stages>>) -> Allocations {
        self.known.take().map_or(Allocations::Unknown(None), |known| Allocations::Known(known, stages))
    }
}

/// Where matches lie that may be in an allocation.
fn in_heap<'a>(ground: &'a Ground, matches: &'a [Match]) -> impl Iterator<Item = u64> + use<'a> {
    matches.iter().filter(|found| may_be_heap(ground, found)).map(|found| found.address)
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
