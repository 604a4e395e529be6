//! The LLDB plugin: `plugin load libmp_scan.so` registers the `mp-scan` commands.
#![forbid(unsafe_code)]

mod arguments;
mod carrier;
mod chores;
mod cli;
mod commands;
mod conduct;
mod course;
mod deliver;
mod engine;
mod file_scan;
mod heap_scan;
mod here;
mod hosts;
mod in_hand;
mod inspect;
mod interrupt;
mod jobs;
mod modules;
mod naming;
mod output;
mod places;
mod plan;
mod pool_executor;
mod present;
mod range_scan;
mod relay;
mod session;
mod settings;
mod stack_scan;
mod step;
mod task_executor;
mod watch;

lldb::plugin!(commands::register);
