//! Other machines whose workers take part, as the user names them: by a command that runs another there.

mod launchers;
mod platform;

pub use launchers::Launchers;

use crate::settings::MOST_WORKERS;
use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// More workers on one machine are a typing error.
const MOST_SLOTS: usize = 256;

/// The host that stands for the machine of the lldb-server that the debugger is connected to.
pub const PLATFORM: &str = "platform";

/// The worker program where nothing else is said: the first of that name on the other machine's PATH.
pub const WORKER: &str = "mp-worker";

/// Another machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// A command whose words go before those that are to be run over there, as a shell reads it: `ssh w1`; or `platform`.
    pub command: String,
    /// How many workers it has.
    pub slots: usize,
    /// The worker program over there, if it is not `mp-worker` on its PATH, or for `platform`, if this machine's is not to be
    /// installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
}

impl Host {
    /// A host from what a user has written, and notes on what was mended.
    ///
    /// # Errors
    /// What is wrong with it, and what to write instead.
    pub fn new(command: &str, slots: usize, worker: Option<String>) -> Result<(Host, Vec<String>)> {
        let host = Host { command: command.trim().to_owned(), slots, worker };
        let mut words = host.words()?;
        let notes = mend(&mut words)?;
        let command = if notes.is_empty() { host.command } else { joined(&words) };
        let host = Host { command, ..host };
        host.check()?;
        Ok((host, notes))
    }

    /// Whether it is the machine of the debugger's lldb-server.
    pub fn is_platform(&self) -> bool {
        self.command == PLATFORM
    }

    /// The words of its command.
    ///
    /// # Errors
    /// If a quote is not closed, or there are none.
    pub fn words(&self) -> Result<Vec<String>> {
        let Some(words) = shlex::split(&self.command) else {
            bail!("host '{}': a quote is not closed, or a backslash ends it", self.command);
        };
        if words.first().is_none_or(String::is_empty) {
            bail!("a host is a command that runs another one elsewhere, such as 'ssh w1', or `{PLATFORM}`");
        }
        Ok(words)
    }

    /// What the pool calls it: the words of its command.
    fn name(&self) -> String {
        self.words().unwrap_or_default().join(" ")
    }

    /// What someone whose host has no worker is to try.
    fn advice(&self) -> Option<String> {
        (!self.is_platform()).then(|| format!("try in a shell: {} {} --version", self.command, self.worker()))
    }

    /// The worker program, as the other machine knows it.
    pub fn worker(&self) -> &str {
        self.worker.as_deref().unwrap_or(WORKER)
    }

    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<()> {
        let mut words = self.words()?;
        if let Some(note) = mend(&mut words)?.first() {
            bail!("host '{}': {note}; write '{}'", self.command, joined(&words));
        }
        if !(1..=MOST_SLOTS).contains(&self.slots) {
            bail!("host '{}': {} slots, where a machine has 1 to {MOST_SLOTS} workers", self.command, self.slots);
        }
        if self.worker.as_ref().is_some_and(|worker| worker.trim().is_empty()) {
            bail!("host '{}': the worker's path is empty", self.command);
        }
        Ok(())
    }
}

/// # Errors
/// What is wrong with one of them, or with all together.
pub fn check(hosts: &[Host]) -> Result<()> {
    hosts.iter().try_for_each(Host::check)?;
    if hosts.iter().map(|host| host.slots).sum::<usize>() > MOST_WORKERS {
        bail!("the hosts have more than {MOST_WORKERS} workers together");
    }
    if hosts.iter().filter(|host| host.is_platform()).count() > 1 {
        bail!("`{PLATFORM}` is there already: remove it first, to give it other slots");
    }
    Ok(())
}

/// Puts right what would make a known engine hang or change bytes, and says what.
fn mend(words: &mut Vec<String>) -> Result<Vec<String>> {
    let Some(program) = words.first().and_then(|word| Path::new(word).file_name()) else { return Ok(Vec::new()) };
    let program = program.to_string_lossy().into_owned();
    let mut notes = Vec::new();
    let flag = |words: &[String], letter: char, name: &str| {
        let cluster = |word: &str| {
            let letters =
                word.strip_prefix('-').filter(|letters| letters.chars().all(|letter| "QuvitTdq".contains(letter)));
            letters.is_some_and(|letters| letters.contains(letter))
        };
        words.iter().any(|word| word == name || cluster(word))
    };
    match program.as_str() {
        "ssh" if flag(words, 't', "-t") => {
            bail!("ssh -t gives the worker a terminal, which changes its bytes: leave -t out");
        }
        "ssh" if words.len() == 1 => bail!("ssh needs the name of a machine: 'ssh HOST'"),
        "srun" => {
            if let Some(tasks) = tasks(words).filter(|tasks| tasks != "1") {
                bail!(
                    "srun starts {tasks} tasks, which would all read one worker's input: use -n1, and give the number as SLOTS"
                );
            }
            if !flag(words, 'u', "--unbuffered") {
                words.insert(1, "-u".into());
                notes.push(
                    "srun was given -u: without it, it holds back what is no whole line, and the worker hangs".into(),
                );
            }
        }
        "docker" | "podman" | "kubectl" | "oc" | "nerdctl" => {
            if let Some(at) = words.iter().position(|word| word == "exec" || word == "run") {
                if flag(&words[at..], 't', "--tty") {
                    bail!("{program} -t gives the worker a terminal, which changes its bytes: leave -t out");
                }
                let kubectl = flag(&words[at..], 'i', "--stdin");
                if !kubectl && !flag(&words[at..], 'i', "--interactive") {
                    words.insert(at + 1, "-i".into());
                    notes.push(format!("{program} was given -i: without it, the worker has no input"));
                }
            }
        }
        _ => {}
    }
    Ok(notes)
}

/// The number of tasks that srun is asked for.
fn tasks(words: &[String]) -> Option<String> {
    let mut words = words.iter().skip(1);
    while let Some(word) = words.next() {
        if word == "-n" || word == "--ntasks" {
            return words.next().cloned();
        }
        if let Some(number) = word.strip_prefix("--ntasks=").or_else(|| word.strip_prefix("-n")) {
            return Some(number.to_owned());
        }
    }
    None
}

fn joined(words: &[String]) -> String {
    // No word can hold a NUL: they come from a C string.
    shlex::try_join(words.iter().map(String::as_str)).unwrap_or_else(|_| words.join(" "))
}
