//! A pool whose workers are on other machines, or behind what leads there.

#[path = "../worker/acts.rs"]
mod acts;
#[path = "../common/basics.rs"]
#[expect(dead_code, reason = "some of it is for the tests of other subjects")]
mod basics;
#[expect(dead_code, reason = "the tests of the pool need more of it")]
#[path = "../pool/common.rs"]
mod common;
mod dialling;
mod elsewhere;
mod engines;
#[path = "../common/kept.rs"]
mod kept;
#[path = "../common/leftovers.rs"]
mod leftovers;
mod logs;
mod pipes;
#[path = "../worker/process.rs"]
#[expect(dead_code, reason = "the tests of processes need more of it")]
mod process;

use basics::IDENTITY;
