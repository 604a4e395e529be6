//! A pool with real worker processes, which do what workers should not do.

#[path = "../worker/acts.rs"]
mod acts;
#[path = "../common/basics.rs"]
#[expect(dead_code, reason = "some of it is for the tests of other subjects")]
mod basics;
mod callforms;
#[path = "../worker/calls.rs"]
mod calls;
mod common;
mod deaths;
mod jobs;
#[path = "../worker/leave.rs"]
mod leave;
#[path = "../common/leftovers.rs"]
mod leftovers;
mod lives;
mod starts;
mod work;
