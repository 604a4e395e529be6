//! The commands, one a file, and how LLDB comes to know them.

mod deadlocks;
mod find;
mod heap;
mod jobs;
mod leaks;
mod lines;
mod lookup;
mod map;
mod objects;
mod pool;
mod refs;
mod stacks;
mod strings;
mod symbols;
mod types;
mod version;
mod xrefs;

use crate::arguments;
use crate::engine::engine;
use crate::session::Session;
use lldb::{CommandGroup, CommandReturn, Debugger, Handler};
use std::marker::PhantomData;

/// A subcommand of `mp-scan`.
pub trait Command: 'static {
    const NAME: &'static str;
    /// Its options and their help. The first line of its doc comment is what the list of commands shows.
    type Arguments: clap::Parser;

    /// Runs it on the thread that LLDB calls it on. An error is shown as one line, and makes the command a failed one.
    ///
    /// # Errors
    /// What the user is to know, and do.
    fn run(session: &mut Session, arguments: Self::Arguments) -> anyhow::Result<()>;
}

/// Registers all commands. When it is called again, the new ones take the place of the old.
pub fn register(debugger: &Debugger) -> Result<(), lldb::Error> {
    let group =
        debugger.add_command_group(arguments::GROUP, "Scan the memory of a process or core file in parallel.")?;
    add::<find::Find>(&group)?;
    add::<strings::Strings>(&group)?;
    add::<map::Map>(&group)?;
    add::<refs::Refs>(&group)?;
    add::<heap::Heap>(&group)?;
    add::<leaks::Leaks>(&group)?;
    add::<objects::Objects>(&group)?;
    add::<stacks::Stacks>(&group)?;
    add::<deadlocks::Deadlocks>(&group)?;
    add::<symbols::Symbols>(&group)?;
    add::<types::Types>(&group)?;
    add::<xrefs::Xrefs>(&group)?;
    add::<lookup::Lookup>(&group)?;
    add::<lines::Lines>(&group)?;
    add::<jobs::Jobs>(&group)?;
    add::<pool::Pool>(&group)?;
    add::<version::Version>(&group)
}

fn add<C: Command>(group: &CommandGroup) -> Result<(), lldb::Error> {
    group.add(C::NAME, &arguments::help::<C>(), Box::new(Runner::<C>(PhantomData)))
}

/// What LLDB calls for a command.
struct Runner<C>(PhantomData<fn() -> C>);

impl<C: Command> Handler for Runner<C> {
    fn execute(&self, debugger: &Debugger, given: Vec<String>, result: &mut CommandReturn) {
        let command_line = written(C::NAME, &given);
        let outcome = match arguments::parse::<C>(given) {
            Ok(parsed) => {
                let mut session = Session::new(debugger, result, command_line);
                let outcome = C::run(&mut session, parsed);
                if session.interrupt.requested() {
                    session.output.interrupted();
                }
                outcome
            }
            Err(arguments::Refused::Help) => arguments::show_help::<C>(debugger, result),
            Err(arguments::Refused::Error(reason)) => Err(anyhow::Error::msg(reason)),
        };
        engine().jobs.release_relays();
        if let Err(error) = outcome {
            result.set_error(&format!("{error:#}"));
        }
    }
}

/// The command as it may be typed again.
fn written(name: &str, arguments: &[String]) -> String {
    let plain = |word: &str| !word.is_empty() && !word.contains([' ', '"', '\'', '\\', '`', '\t']);
    arguments.iter().fold(name.to_owned(), |mut line, word| {
        line.push(' ');
        match word {
            word if plain(word) => line.push_str(word),
            word if word.contains('\'') => line.push_str(&format!("{word:?}")),
            word => line.push_str(&format!("'{word}'")),
        }
        line
    })
}
