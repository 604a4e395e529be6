//! A pool with real worker processes, which do what workers should not do.

#[path = "../worker/acts.rs"]
mod acts;
mod callforms;
#[path = "../worker/calls.rs"]
mod calls;
mod common;
mod deaths;
mod jobs;
#[path = "../common/leftovers.rs"]
mod leftovers;
mod lives;
mod starts;
mod work;
