//! `mp-scan version`.

use super::Command;
use crate::session::Session;
use lldb::{Debugger, Host};

/// Show the versions of the plugin, its worker and the debugger.
#[derive(Debug, clap::Parser)]
pub struct Arguments {}

#[derive(Debug)]
pub struct Version;

impl Command for Version {
    const NAME: &'static str = "version";
    type Arguments = Arguments;

    fn run(session: &mut Session, _: Arguments) -> anyhow::Result<()> {
        let host = Host::current();
        let build_id = host.build_id().map(|id| format!(", build {id}")).unwrap_or_default();
        session.output.print(&format!("plugin: {}{build_id}", env!("CARGO_PKG_VERSION")));
        session.output.print(&format!("plugin file: {}", host.plugin_path().display()));
        let version = Debugger::version();
        session.output.print(&format!("host: {}", version.lines().next().unwrap_or_default()));
        session.output.print(&format!("host library: {}", host.path().display()));
        for (name, present) in host.optional_names() {
            session.output.print(&format!("host has {name}: {}", if present { "yes" } else { "no" }));
        }
        Ok(())
    }
}
