//! Pipes and channels between processes, and waiting for several of them.

#[path = "../common/basics.rs"]
#[expect(dead_code, reason = "some of it is for the tests of other subjects")]
mod basics;
mod ends;
#[path = "../worker/large.rs"]
mod large;
#[path = "../common/leftovers.rs"]
mod leftovers;
#[path = "../common/moody.rs"]
mod moody;
#[path = "../worker/queue.rs"]
mod queue;
#[path = "../common/signals.rs"]
mod signals;
mod waits;

use basics::{PATIENCE, SOON, program};
