//! A pool with real worker processes, which do what workers should not do.

#[path = "../worker/acts.rs"]
mod acts;
mod common;
mod deaths;
mod jobs;
#[path = "../common/leftovers.rs"]
mod leftovers;
mod starts;
mod work;
