//! The user's settings: in RON in the config folder, shown and set by `mp-scan pool set`, and checked.

use crate::here;
use crate::hosts::{self, Host};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

/// What `mp-scan pool set KEY=VALUE` sets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// Worker processes on this machine; one for each processor if `None`.
    pub workers: Option<usize>,
    /// Seconds that a task may take before its worker counts as hung.
    pub task_timeout: f64,
    /// MiB of its own that a worker may take.
    pub memory: u64,
    /// Results shown, unless `--limit` says otherwise.
    pub limit: u64,
    /// Whether a background job that ends says so by itself, even into a line being typed.
    pub notify: bool,
    /// Seconds after which a command in the foreground becomes a background job, where the host cannot interrupt it.
    /// 0: never.
    pub foreground: f64,
    /// Other machines that have workers too; `mp-scan pool hosts` sets them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<Host>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            workers: None,
            task_timeout: 30.0,
            memory: 64,
            limit: 256,
            notify: false,
            foreground: 2.0,
            hosts: Vec::new(),
        }
    }
}

/// More workers than this are a typing error.
pub const MOST_WORKERS: usize = 1024;

impl Settings {
    /// The user's settings; the defaults where there is no file.
    ///
    /// # Errors
    /// If the file cannot be read or is not understood: it names the file and the place in it.
    pub fn load() -> Result<Self> {
        let Some(path) = file() else { return Ok(Self::default()) };
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let settings: Self =
            ron::from_str(&text).with_context(|| format!("{} is not understood: mend or remove it", path.display()))?;
        settings.check().with_context(|| path.display().to_string())?;
        Ok(settings)
    }

    /// Writes them to the user's file, whole or not at all.
    pub fn save(&self) -> Result<()> {
        let path = file().context("no config folder: neither XDG_CONFIG_HOME nor HOME is set")?;
        let folder = path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let text = ron::ser::to_string_pretty(self, ron::ser::PrettyConfig::new())?;
        let draft = path.with_extension(format!("ron.{}", std::process::id()));
        fs::write(&draft, text + "\n").with_context(|| format!("cannot write {}", draft.display()))?;
        fs::rename(&draft, &path).with_context(|| format!("cannot write {}", path.display()))
    }

    /// The number of workers that a scan uses by default.
    pub fn worker_count(&self) -> usize {
        self.workers.unwrap_or_else(here::processors)
    }

    /// Each as key and value, as [`set`](Self::set) takes them.
    pub fn list(&self) -> Vec<(String, String)> {
        let workers = self.workers.map_or_else(|| "auto".to_owned(), |count| count.to_string());
        [
            ("workers", workers),
            ("task-timeout", self.task_timeout.to_string()),
            ("memory", self.memory.to_string()),
            ("limit", self.limit.to_string()),
            ("notify", self.notify.to_string()),
            ("foreground", self.foreground.to_string()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .to_vec()
    }

    /// Sets one of them from `KEY=VALUE`.
    ///
    /// # Errors
    /// One line: the key is not known, or the value does not fit; nothing is set then.
    pub fn set(&mut self, assignment: &str) -> Result<()> {
        let Some((key, value)) = assignment.split_once('=') else {
            bail!("'{assignment}' is not KEY=VALUE, such as workers=4");
        };
        let mut changed = self.clone();
        match key.trim() {
            "workers" if value == "auto" => changed.workers = None,
            "workers" => changed.workers = Some(parse(key, value)?),
            "task-timeout" => changed.task_timeout = parse(key, value)?,
            "memory" => changed.memory = parse(key, value)?,
            "limit" => changed.limit = parse(key, value)?,
            "notify" => changed.notify = parse(key, value)?,
            "foreground" => changed.foreground = parse(key, value)?,
            _ => {
                let known: Vec<String> = self.list().into_iter().map(|(key, _)| key).collect();
                bail!("no setting '{key}': there are {}", known.join(", "));
            }
        }
        changed.check()?;
        *self = changed;
        Ok(())
    }

    /// Adds a host, or says why not.
    ///
    /// # Errors
    /// One line; nothing is added then.
    pub fn add_host(&mut self, host: Host) -> Result<()> {
        let mut changed = self.clone();
        changed.hosts.push(host);
        changed.check()?;
        *self = changed;
        Ok(())
    }

    fn check(&self) -> Result<()> {
        hosts::check(&self.hosts)?;
        if self.workers.is_some_and(|count| count > MOST_WORKERS) {
            bail!("workers is more than {MOST_WORKERS}");
        }
        if !(self.task_timeout >= 0.1 && self.task_timeout <= 86_400.0) {
            bail!("task-timeout is in seconds, from 0.1 to 86400");
        }
        if self.memory < 16 {
            bail!("memory is in MiB for each worker, and at least 16");
        }
        if !(self.foreground >= 0.0 && self.foreground <= 86_400.0) {
            bail!("foreground is in seconds, from 0 (never) to 86400");
        }
        Ok(())
    }
}

fn parse<T: std::str::FromStr>(key: &str, value: &str) -> Result<T> {
    value.trim().parse().map_err(|_| anyhow::anyhow!("'{value}' does not fit {key}"))
}

/// `mp-scan/config.ron` in the user's config folder.
fn file() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")))?;
    Some(folder.join("mp-scan").join("config.ron"))
}
