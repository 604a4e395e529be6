//! Processes that run one function, started in each way that there is.

#[path = "../common/basics.rs"]
#[expect(dead_code, reason = "some of it is for the tests of other subjects")]
mod basics;
mod common;
mod daemons;
#[path = "../common/kept.rs"]
mod kept;
#[path = "../worker/leave.rs"]
mod leave;
#[path = "../common/leftovers.rs"]
mod leftovers;
mod logs;
#[path = "../worker/process.rs"]
#[expect(dead_code, reason = "some of it is for the worker only")]
mod process;
mod runs;
mod starts;
mod zygotes;

use basics::IDENTITY;
