//! `mp-scan version`.

use super::Command;
use crate::deliver::Delivery;
use crate::engine::worker_path;
use crate::session::Session;
use analysis::{Results, remote};
use anyhow::{Context as _, Result};
use lldb::{Debugger, Host};
use render::Format;
use std::io::Read as _;
use std::process::{Command as Program, Stdio};

/// Show the versions of the plugin, its worker and the debugger.
#[derive(Debug, clap::Parser)]
pub struct Arguments {
    /// How they are shown.
    #[arg(long, value_name = "text|json|ron", default_value = "text", hide_default_value = true)]
    format: Format,
}

#[derive(Debug)]
pub struct Version;

impl Command for Version {
    const NAME: &'static str = "version";
    type Arguments = Arguments;

    fn run(session: &mut Session, arguments: Arguments) -> Result<()> {
        if arguments.format == Format::Text {
            session.announce();
        }
        let host = Host::current();
        let version = Debugger::version();
        let optional: Vec<_> = host.optional_names().collect();
        let names = |wanted: bool| {
            let names = optional.iter().filter(|(_, present)| *present == wanted).map(|(name, _)| *name);
            names.collect::<Vec<_>>().join(", ")
        };
        let mut versions = vec![
            ("plugin", remote::BUILD.to_owned()),
            ("plugin file", host.plugin_path().display().to_string()),
            ("worker", worker().unwrap_or_else(|error| format!("{error:#}"))),
            ("protocol", multiprocessing::wire::VERSION.to_string()),
            ("host", version.lines().next().unwrap_or_default().to_owned()),
            ("host file", host.path().display().to_string()),
            ("host has", names(true)),
        ];
        if optional.iter().any(|(_, present)| !present) {
            versions.push(("host lacks", names(false)));
        }
        let versions: Vec<_> = versions.into_iter().map(|(name, version)| (name.to_owned(), version)).collect();
        let total = versions.len() as u64;
        let report = session.plain_report("version", Results::Versions(versions), total);
        Delivery::here(arguments.format).show(session, &report, 0)
    }
}

/// What the worker program says of itself.
fn worker() -> Result<String> {
    let path = worker_path()?;
    let mut program = Program::new(&path);
    let program = program.arg("--version").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = program.spawn().with_context(|| format!("cannot run {}", path.display()))?;
    let mut text = String::new();
    if let Some(output) = child.stdout.take() {
        // No worker says more than a line; what cannot be read of it is shown as no build.
        let _ = output.take(4096).read_to_string(&mut text);
    }
    // The host may have taken its status already.
    let _ = child.wait();
    let build = text.trim();
    let other = if build == remote::BUILD { "" } else { ", of another build: install both from one" };
    Ok(format!("{build}{other} ({})", path.display()))
}
