//! What is common to the arguments of all commands: their help, and what is said of wrong ones.

use crate::cli;
use crate::commands::Command;
use crate::output::Output;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, CommandFactory};
use lldb::{CommandReturn, Debugger, Help};

/// The command that all others are subcommands of.
pub const GROUP: &str = "mp-scan";

/// Why arguments were not taken.
pub enum Refused {
    /// `--help` was among them.
    Help,
    /// They are wrong: one line.
    Error(String),
}

/// What LLDB's `help` shows: `short`, then the syntax, then `long`.
pub fn help<C: Command>() -> Help {
    let mut command = clap_command::<C>().help_template("{all-args}{after-help}").disable_help_flag(true);
    let short = command.get_about().map(ToString::to_string).unwrap_or_default();
    let usage = command.render_usage().to_string();
    let syntax = usage.trim_start_matches("Usage:").trim().to_owned();
    // Of what is said at length, the first paragraph is said already.
    let description = command.get_long_about().map(ToString::to_string).unwrap_or_default();
    let description = description.split_once("\n\n").map(|(_, rest)| rest.to_owned()).unwrap_or_default();
    let options = compact(&command.render_long_help().to_string());
    let parts = [description.trim(), options.trim_end()].into_iter().filter(|part| !part.is_empty());
    Help { short, syntax, long: parts.map(|part| format!("\n{part}\n")).collect() }
}

/// Leaves out the empty lines between options, but not those before a heading.
fn compact(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    let precedes_heading =
        |index: usize| lines.get(index + 1).is_some_and(|next| !next.is_empty() && !next.starts_with(' '));
    let kept = lines.iter().enumerate().filter(|(index, line)| !line.is_empty() || precedes_heading(*index));
    kept.map(|(_, line)| *line).collect::<Vec<_>>().join("\n")
}

/// Shows what LLDB's own `help` says of the command.
pub fn show_help<C: Command>(debugger: &Debugger, result: &mut CommandReturn) -> anyhow::Result<()> {
    let text = debugger.command_interpreter().run(&format!("help {GROUP} {}", C::NAME))?;
    Output::new(debugger, result).print(text.trim_end());
    Ok(())
}

/// Parses the arguments that follow the command's name.
pub fn parse<C: Command>(given: Vec<String>) -> Result<C::Arguments, Refused> {
    let matches =
        clap_command::<C>().try_get_matches_from(cli::join_expressions(&given)).map_err(|error| {
            match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => Refused::Help,
                _ => Refused::Error(one_line(&error)),
            }
        })?;
    <C::Arguments as clap::FromArgMatches>::from_arg_matches(&matches).map_err(|error| Refused::Error(one_line(&error)))
}

fn clap_command<C: Command>() -> clap::Command {
    let name = format!("{GROUP} {}", C::NAME);
    // A number below 0 is a value that is refused, and no option that is not known.
    let numbers = |argument: Arg| match argument.get_action().takes_values() && !argument.is_allow_hyphen_values_set() {
        true => argument.allow_negative_numbers(true),
        false => argument,
    };
    let command = <C::Arguments as CommandFactory>::command().mut_args(numbers);
    command.name(name.clone()).bin_name(name).no_binary_name(true)
}

/// clap's message in one line, with what it suggests, or what we do.
fn one_line(error: &clap::Error) -> String {
    let rendered = error.to_string();
    let mut lines = rendered.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
    let mut text = lines.next().unwrap_or_default().trim_start_matches("error: ").to_owned();
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with("For more information")) {
        // The missing arguments follow one a line; a tip stands by itself.
        let (separator, line) = match line.strip_prefix("tip: ") {
            Some(tip) => ("; ", tip),
            None => (" ", line),
        };
        text.push_str(separator);
        text.push_str(line);
    }
    if error.kind() == ErrorKind::ValueValidation {
        // As the standard library says it of what is not one.
        text = text.replace("invalid digit found in string", "it takes a whole number, 0 or more");
    }
    let unexpected = matches!(error.kind(), ErrorKind::UnknownArgument | ErrorKind::InvalidSubcommand);
    let word = matches!(error.get(ContextKind::InvalidArg), Some(ContextValue::String(word)) if !word.starts_with('-'));
    if unexpected && word && !text.contains("; ") {
        text.push_str("; a value with spaces in it needs quotes");
    }
    text
}
