//! Names the symbols that matches lie in. The modules' symbol tables are foreign bytes, so a worker reads them, where there
//! are workers.

use crate::here;
use analysis::symbols::{self, ModuleAddresses, Request};
use analysis::{Match, SymbolOffset};
use multiprocessing::codec;
use multiprocessing::{Job, Next, Pool};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use target::{AddressSpace, ReadMemory};

/// Matches are shown without symbols rather than later than this; after that, the job's other matches are as well.
const PATIENCE: Duration = Duration::from_secs(1);

/// Looks up symbols.
#[derive(Debug)]
pub struct Namer {
    pool: Option<Arc<Pool>>,
    /// The pool's job, once there was something to name.
    job: Option<Job>,
    /// The process whose files they are, if it is on this machine.
    pid: Option<u64>,
    last_id: u64,
    given_up: bool,
}

impl Namer {
    pub fn new(pool: Option<Arc<Pool>>, pid: Option<u64>) -> Self {
        Self { pool, job: None, pid, last_id: 0, given_up: false }
    }

    /// Puts symbols to those of `matches` that lie in modules.
    pub fn name(&mut self, space: &AddressSpace, memory: &dyn ReadMemory, matches: &mut [Match]) {
        let mut modules = symbols::by_module(space, matches.iter().map(|found| found.address));
        if self.pid.is_none() {
            // The target may be of another day or machine: only files that begin as its modules do are theirs.
            modules.retain_mut(|module| {
                module.head = vec![0; symbols::HEAD];
                memory.read(module.base, &mut module.head) == Ok(symbols::HEAD)
            });
        }
        let mut names: HashMap<u64, SymbolOffset> = HashMap::new();
        for (module, found) in self.look_up(&modules) {
            let named = module.addresses.iter().zip(found);
            names.extend(named.filter_map(|(address, symbol)| Some((*address, symbol?))));
        }
        for found in matches {
            found.symbol = names.get(&found.address).cloned();
        }
    }

    /// What the user should know, if names are missing since it took too long to find them.
    pub fn note(&self) -> Option<String> {
        self.given_up.then(|| {
            let why = "it took too long to read symbols, so some names and types are missing: they may be there the next time";
            why.to_owned()
        })
    }

    fn look_up<'a>(&mut self, modules: &'a [ModuleAddresses]) -> Vec<(&'a ModuleAddresses, Vec<Option<SymbolOffset>>)> {
        let pid = self.pid;
        let request = |module: &ModuleAddresses| Request { pid, module: module.clone() };
        let Some(pool) = self.pool.clone() else {
            // Without workers the files are read here, piece by piece, so that one that is truncated does no harm.
            let here = |module: &ModuleAddresses| {
                let file = target::modules::open(&module.path, pid).ok()?;
                Some(symbols::look_up_in(file, module))
            };
            return modules.iter().map(|module| (module, here(module).unwrap_or_default())).collect();
        };
        if modules.is_empty() || self.given_up {
            return Vec::new();
        }
        if self.job.is_none() {
            self.job = here::message().ok().and_then(|setup| pool.job(symbols::FUNCTION, setup).ok());
        }
        let Some(job) = &self.job else { return Vec::new() };
        let first = self.last_id + 1;
        for module in modules {
            self.last_id += 1;
            job.submit(self.last_id, codec::encode(&request(module)).expect("a request is plain data"));
        }
        let mut found = Vec::new();
        let until = Instant::now() + PATIENCE;
        // What a worker dies of, or takes too long for, stays without names; the matches are shown all the same.
        while found.len() < modules.len() {
            match job.next_timeout(until.saturating_duration_since(Instant::now())) {
                Next::Ended(id, result) if id >= first => {
                    let module = &modules[(id - first) as usize];
                    let named = result.ok().and_then(|payload| postcard::from_bytes(&payload).ok());
                    found.push((module, named.unwrap_or_default()));
                }
                Next::Ended(..) => {}
                Next::Nothing => {
                    self.given_up = true;
                    break;
                }
                Next::Idle => break,
            }
        }
        found
    }
}
