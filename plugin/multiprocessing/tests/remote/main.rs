//! A pool whose workers are on other machines, or behind what leads there.

#[path = "../worker/acts.rs"]
mod acts;
#[expect(dead_code, reason = "the tests of the pool need more of it")]
#[path = "../pool/common.rs"]
mod common;
mod dialling;
mod elsewhere;
mod engines;
#[path = "../common/leftovers.rs"]
mod leftovers;
mod pipes;
