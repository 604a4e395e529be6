//! What the plugin keeps between commands: the pool, the jobs and the settings. There is one in a host process,
//! however many debuggers it has.

use crate::jobs::Jobs;
use crate::settings::Settings;
use anyhow::{Context as _, Result};
use multiprocessing::{Pool, PoolConfig, Program};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// The plugin's state.
#[derive(Debug, Default)]
pub struct Engine {
    pub jobs: Jobs,
    pool: Mutex<Option<Arc<Pool>>>,
}

/// The one of this process.
pub fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(Engine::default)
}

impl Engine {
    fn lock(&self) -> MutexGuard<'_, Option<Arc<Pool>>> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pool, if it has been started.
    pub fn pool(&self) -> Option<Arc<Pool>> {
        self.lock().clone()
    }

    /// The pool with `workers` workers. It is started if need be; while other jobs run it only grows.
    ///
    /// # Errors
    /// If the workers cannot be started: what is missing, and where.
    pub fn pool_of(&self, workers: usize, settings: &Settings) -> Result<Arc<Pool>> {
        let mut slot = self.lock();
        if let Some(pool) = &*slot {
            let now = pool.status().len();
            // The job that asks is one of those that run.
            if now < workers || (now > workers && self.jobs.running() <= 1) {
                pool.resize(workers);
            }
            pool.set_task_timeout(Some(Duration::from_secs_f64(settings.task_timeout)));
            pool.set_memory_limit(Some(settings.memory << 20));
            return Ok(Arc::clone(pool));
        }
        let mut config = PoolConfig::new(Program::new(worker_path()?, analysis::remote::BUILD));
        config.workers = workers;
        config.memory_limit = Some(settings.memory << 20);
        config.task_timeout = Some(Duration::from_secs_f64(settings.task_timeout));
        let pool = Arc::new(Pool::start(config)?);
        *slot = Some(Arc::clone(&pool));
        Ok(pool)
    }

    /// Ends the pool; the next command that needs one starts it anew.
    pub fn drop_pool(&self) {
        let pool = self.lock().take();
        drop(pool);
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
