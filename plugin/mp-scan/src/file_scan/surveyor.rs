//! Finds the files of modules before they are scanned, and has their compressed sections inflated, once for all workers.

use super::inflated::Section;
use crate::engine::engine;
use crate::here;
use analysis::files::{INFLATE, SURVEY, SurveyRequest};
use anyhow::{Context as _, Result};
use multiprocessing::codec::{self, Descriptor};
use multiprocessing::{Job, JobError, Next, Pool};
use std::collections::{HashMap, VecDeque};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};
use target::modules::{FileSet, Module, Search, Surveyed, survey};

/// As many modules are surveyed at a time.
const BATCH: usize = 16;

/// As many sections are inflated for all, the largest first; workers inflate others where they need them. One descriptor goes
/// with a job anyway.
const MOST_INFLATED: usize = JobError::DESCRIPTOR_LIMIT - 1;

/// A survey of a target's modules, under way.
pub struct Surveyor {
    modules: Vec<Module>,
    search: Search,
    found: Vec<Option<Surveyed>>,
    inflates: fn(&str) -> bool,
    work: Work,
}

enum Work {
    /// In this process, module by module.
    Here,
    /// By workers: the modules of each task, by its id.
    Surveying {
        pool: Arc<Pool>,
        job: Job,
        tasks: HashMap<u64, Vec<usize>>,
        last_id: u64,
    },
    /// By workers: the module and section of each task, by its id, and what has come of them.
    Inflating {
        job: Job,
        set: Vec<Surveyed>,
        tasks: HashMap<u64, (usize, usize)>,
        inflated: Vec<Arc<OwnedFd>>,
    },
    Done,
}

/// Modules' files, and what has been inflated of them.
pub type Found = (FileSet, Vec<Arc<OwnedFd>>);

impl Surveyor {
    /// A survey by the workers of `pool`, or without one by this process. `inflates` says by their names which sections
    /// are inflated.
    ///
    /// # Errors
    /// If the pool cannot take it.
    pub fn new(
        modules: Vec<Module>,
        search: Search,
        pool: Option<&Arc<Pool>>,
        inflates: fn(&str) -> bool,
    ) -> Result<Self> {
        let found = modules.iter().map(|_| None).collect();
        let work = match pool {
            None => Work::Here,
            Some(pool) => {
                let job = pool.job(SURVEY, here::message()?)?;
                Work::Surveying { pool: Arc::clone(pool), job, tasks: HashMap::new(), last_id: 0 }
            }
        };
        let mut surveyor = Self { modules, search, found, inflates, work };
        let all: Vec<usize> = (0..surveyor.modules.len()).collect();
        for batch in all.chunks(BATCH) {
            surveyor.submit(batch.to_vec());
        }
        Ok(surveyor)
    }

    fn submit(&mut self, batch: Vec<usize>) {
        let Work::Surveying { job, tasks, last_id, .. } = &mut self.work else { return };
        let modules = batch.iter().map(|index| self.modules[*index].clone()).collect();
        let request = SurveyRequest { modules, search: self.search.clone() };
        *last_id += 1;
        job.submit(*last_id, codec::encode(&request).expect("a request is plain data"));
        tasks.insert(*last_id, batch);
    }

    /// Modules that have been surveyed, of all. Those of which sections are still being inflated are not done.
    pub fn progress(&self) -> (usize, usize) {
        let all = self.modules.len();
        let done = match &self.work {
            Work::Inflating { tasks, .. } => {
                let mut waiting: Vec<usize> = tasks.values().map(|(module, _)| *module).collect();
                waiting.sort_unstable();
                waiting.dedup();
                all - waiting.len()
            }
            _ => self.found.iter().flatten().count(),
        };
        (done, all)
    }

    /// Works, or waits for workers, for at most about `patience`. Returns what was found once all is.
    ///
    /// # Errors
    /// If the pool cannot take a job any more.
    pub fn step(&mut self, patience: Duration) -> Result<Option<Found>> {
        match &mut self.work {
            Work::Here => {
                let until = Instant::now() + patience;
                for (module, found) in self.modules.iter().zip(&mut self.found).filter(|(_, found)| found.is_none()) {
                    if Instant::now() >= until {
                        return Ok(None);
                    }
                    *found = Some(survey(module, &self.search));
                }
                let set = self.found.drain(..).flatten().collect();
                self.work = Work::Done;
                Ok(Some((FileSet::new(set), Vec::new())))
            }
            Work::Surveying { job, tasks, .. } => {
                match job.next_timeout(patience) {
                    Next::Ended(id, result) => {
                        let Some(batch) = tasks.remove(&id) else { return Ok(None) };
                        match result
                            .map_err(|error| error.to_string())
                            .and_then(|payload| payload.decode::<Vec<Surveyed>>().map_err(|error| error.to_string()))
                        {
                            Ok(surveyed) if surveyed.len() == batch.len() => {
                                for (index, surveyed) in batch.iter().zip(surveyed) {
                                    self.found[*index] = Some(surveyed);
                                }
                            }
                            // One of them is what its worker died of.
                            outcome if batch.len() == 1 => {
                                let why = outcome.err().unwrap_or_else(|| "its worker does not know it".to_owned());
                                let module = &self.modules[batch[0]];
                                self.found[batch[0]] = Some(Surveyed::unread(module, &why));
                            }
                            _ => batch.into_iter().for_each(|index| self.submit(vec![index])),
                        }
                    }
                    Next::Nothing => return Ok(None),
                    Next::Idle => {
                        for (module, found) in self.modules.iter().zip(&mut self.found) {
                            found.get_or_insert_with(|| Surveyed::unread(module, "its worker is gone"));
                        }
                    }
                }
                if self.found.iter().all(Option::is_some) { self.inflate() } else { Ok(None) }
            }
            Work::Inflating { job, set, tasks, inflated } => {
                match job.next_timeout(patience) {
                    Next::Ended(id, result) => {
                        let Some((module, section)) = tasks.remove(&id) else { return Ok(None) };
                        // What could not be inflated is tried again, and reported, where it is read.
                        let memory = result.ok().and_then(|payload| payload.decode::<Descriptor>().ok());
                        if let Some(memory) = memory {
                            let memory = Arc::new(memory.into_inner());
                            if let Some(kept) = Section::of(&set[module], section) {
                                let size = set[module].sections[section].size;
                                engine().inflated.keep(kept, size, Arc::clone(&memory));
                            }
                            set[module].share(section, inflated.len());
                            inflated.push(memory);
                        }
                    }
                    Next::Nothing => return Ok(None),
                    Next::Idle => tasks.clear(),
                }
                if !tasks.is_empty() {
                    return Ok(None);
                }
                let found = (FileSet::new(std::mem::take(set)), std::mem::take(inflated));
                self.work = Work::Done;
                Ok(Some(found))
            }
            Work::Done => Ok(None),
        }
    }

    /// All is surveyed: begins to inflate, if there is anything.
    fn inflate(&mut self) -> Result<Option<Found>> {
        let mut set: Vec<Surveyed> = self.found.drain(..).flatten().collect();
        let wanted = |module: &Surveyed, section: usize| (self.inflates)(&module.sections[section].name);
        let mut compressed: VecDeque<(usize, usize)> = set
            .iter()
            .enumerate()
            .flat_map(|(index, module)| {
                module.compressed().filter(|section| wanted(module, *section)).map(move |section| (index, section))
            })
            .collect();
        let Work::Surveying { pool, .. } = &self.work else { return Ok(None) };
        compressed
            .make_contiguous()
            .sort_by_key(|(module, section)| std::cmp::Reverse(set[*module].sections[*section].size));
        compressed.truncate(MOST_INFLATED);
        let mut inflated = Vec::new();
        compressed.retain(|(module, section)| {
            let kept = Section::of(&set[*module], *section).and_then(|section| engine().inflated.at(&section));
            let Some(memory) = kept else { return true };
            set[*module].share(*section, inflated.len());
            inflated.push(memory);
            false
        });
        if compressed.is_empty() {
            self.work = Work::Done;
            return Ok(Some((FileSet::new(set), inflated)));
        }
        let job = pool.job(INFLATE, here::message()?)?;
        let mut tasks = HashMap::new();
        for (id, (module, section)) in (1..).zip(compressed) {
            let request = codec::encode(&(&set[module], section)).context("a section cannot be inflated")?;
            job.submit(id, request);
            tasks.insert(id, (module, section));
        }
        self.work = Work::Inflating { job, set, tasks, inflated };
        Ok(None)
    }
}
