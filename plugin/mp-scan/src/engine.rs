//! What the plugin keeps between commands: the pool, the jobs and the settings. There is one in a host process,
//! however many debuggers it has.

use crate::chores::{Backlog, Chores};
use crate::file_scan::Inflated;
use crate::heap_scan::Kept;
use crate::hosts::Launchers;
use crate::jobs::Jobs;
use crate::session::Session;
use crate::settings::Settings;
use anyhow::{Context, Result, bail};
use multiprocessing::{Launcher, Pool, PoolConfig, Program};
use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, Once, OnceLock, PoisonError};
use std::time::Duration;

/// How often a command that waits for the first worker looks at whether it is to stop.
const INTERVAL: Duration = Duration::from_millis(20);

/// A debugger that quits waits at most so long for what the next session is faster with.
const AT_EXIT: Duration = Duration::from_secs(2);

/// The plugin's state.
#[derive(Debug, Default)]
pub struct Engine {
    pub jobs: Jobs,
    /// What is known of the heaps that were looked at last.
    pub heaps: Kept,
    /// What has been inflated of modules' files.
    pub inflated: Inflated,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    pool: Option<Arc<Pool>>,
    /// What starts workers on other machines; kept, so that those that run stay.
    launchers: Launchers,
    /// Those of the launchers that the pool has.
    remote: Vec<Arc<dyn Launcher>>,
    /// What workers do while nobody waits for them.
    backlog: Backlog,
}

/// A pool, as a scan needs it.
#[derive(Clone, Debug)]
pub struct Workforce {
    pub pool: Arc<Pool>,
    /// How many workers there are, or should be, on this machine.
    pub here: usize,
    /// How many elsewhere.
    pub elsewhere: usize,
}

/// The one of this process.
pub fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(Engine::default)
}

impl Engine {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pool, if it has been started.
    pub fn pool(&self) -> Option<Arc<Pool>> {
        self.lock().pool.clone()
    }

    /// The pool with `workers` workers on this machine, and those of the hosts that are set. It is started if need be; while other
    /// jobs run it only grows. A worker may take `memory` MiB of its own, or what the settings say if that is more.
    ///
    /// # Errors
    /// If no worker can be started: what is missing, and where.
    pub fn workforce(&self, workers: usize, memory: u64, session: &Session) -> Result<Workforce> {
        let mut settings = session.settings()?;
        settings.memory = settings.memory.max(memory);
        self.heaps.rest();
        let mut state = self.lock();
        state.backlog.pause();
        let status = state.pool.as_ref().map(|pool| pool.status()).transpose()?.unwrap_or_default();
        let remote = state.launchers.of(&settings, session.debugger, &status);
        let elsewhere = remote.len();
        // The job that asks is one of those that run.
        let alone = self.jobs.running() <= 1;
        let kept = remote.iter().any(|launcher| state.remote.iter().any(|before| Arc::ptr_eq(launcher, before)));
        let works = status.iter().any(|worker| worker.host.is_some() && worker.error.is_none());
        if workers == 0 && alone && !(kept && works) {
            // Nobody knows whether there will be any worker; a pool that starts tells.
            state.pool = None;
        }
        if let Some(pool) = &state.pool {
            let now = status.iter().filter(|worker| worker.host.is_none()).count();
            if now < workers || (now > workers && alone) {
                pool.resize(workers);
            }
            if alone || elsewhere > status.len() - now {
                pool.set_remote(remote.clone());
            }
            pool.set_task_timeout(Some(Duration::from_secs_f64(settings.task_timeout)));
            pool.set_memory_limit(Some(settings.memory << 20));
        } else {
            let pool = start(workers, remote.clone(), &settings, session);
            let pool = pool.map_err(|error| anyhow::Error::msg(state.launchers.explained(&format!("{error:#}"))))?;
            state.pool = Some(Arc::new(pool));
        }
        state.remote = remote;
        let pool = state.pool.clone().context("the pool has ended")?;
        Ok(Workforce { pool, here: workers, elsewhere })
    }

    /// Takes what a command leaves to be done when no command needs the workers. What is not done when the debugger quits
    /// is then waited for a little: who runs one command a session would never have any of it otherwise.
    pub fn leave(&self, chores: Chores) {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| lldb::at_exit(|| engine().finish_chores()));
        self.lock().backlog.add(chores);
    }

    /// A command has ended: unless another still runs, the workers go on with what was left.
    pub fn resume_chores(&self) {
        if self.jobs.running() == 0 {
            let State { pool, backlog, .. } = &mut *self.lock();
            if let Some(pool) = pool {
                backlog.begin(pool);
            }
        }
    }

    fn finish_chores(&self) {
        // Whoever has it does not wait for chores, and may not give it back before the process ends.
        if let Ok(mut state) = self.state.try_lock() {
            state.backlog.wait(AT_EXIT);
        }
    }

    /// What the pool says of a host that has no worker, and what to do about it.
    pub fn explained(&self, error: &str) -> String {
        self.lock().launchers.explained(error)
    }

    /// Ends the pool; the next command that needs one starts it anew.
    pub fn drop_pool(&self) {
        self.heaps.rest();
        self.inflated.clear();
        let state = std::mem::take(&mut *self.lock());
        drop(state);
    }
}

/// Starts a pool. Where all of its workers are on other machines, that may take long, and can be interrupted.
fn start(workers: usize, remote: Vec<Arc<dyn Launcher>>, settings: &Settings, session: &Session) -> Result<Pool> {
    let wait = workers == 0;
    let mut config = PoolConfig::new(Program::new(worker_path()?, analysis::remote::BUILD));
    config.workers = workers;
    config.remote = remote;
    config.memory_limit = Some(settings.memory << 20);
    config.task_timeout = Some(Duration::from_secs_f64(settings.task_timeout));
    if !wait {
        return Ok(Pool::start(config)?);
    }
    let (sender, started) = mpsc::channel();
    let run = move || {
        // If nobody waits any more, the pool ends here.
        let _ = sender.send(Pool::start(config));
    };
    std::thread::Builder::new().name("mp-scan start".into()).spawn(run).context("cannot start a thread")?;
    loop {
        match started.recv_timeout(INTERVAL) {
            Ok(pool) => return Ok(pool?),
            Err(RecvTimeoutError::Timeout) if session.interrupt.requested() => {
                bail!("interrupted, while no host had a worker ready yet")
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => bail!("the pool did not start"),
        }
    }
}

/// `mp-worker` beside the plugin, or what `MP_SCAN_WORKER` names.
///
/// # Errors
/// If it is not there.
pub fn worker_path() -> Result<PathBuf> {
    let named = std::env::var_os("MP_SCAN_WORKER").filter(|path| !path.is_empty()).map(PathBuf::from);
    let (path, origin) = match named {
        Some(path) => (path, "MP_SCAN_WORKER names"),
        None => {
            let plugin = lldb::Host::current().plugin_path().to_path_buf();
            let folder = plugin.parent().context("the plugin's own file has no folder")?;
            (folder.join("mp-worker"), "beside the plugin there should be")
        }
    };
    if path.is_file() {
        return Ok(path);
    }
    anyhow::bail!("no worker program: {origin} {}; build it, install it there, or use --workers 0", path.display())
}
