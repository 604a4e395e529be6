//! Processes that run one function, started in each way that there is.

#[path = "../worker/acts.rs"]
#[expect(dead_code, reason = "the tests of processes need its identity only")]
mod acts;
mod common;
mod daemons;
#[path = "../common/kept.rs"]
mod kept;
#[path = "../common/leftovers.rs"]
mod leftovers;
mod logs;
#[path = "../worker/process.rs"]
#[expect(dead_code, reason = "some of it is for the worker only")]
mod process;
mod runs;
mod starts;
mod zygotes;
