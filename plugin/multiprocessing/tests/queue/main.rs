//! Queues between processes.

#[path = "../common/basics.rs"]
#[expect(dead_code, reason = "some of it is for the tests of other subjects")]
mod basics;
#[path = "../common/leftovers.rs"]
mod leftovers;
#[path = "../common/moody.rs"]
mod moody;
#[path = "../worker/queue.rs"]
mod queue;
#[path = "../common/signals.rs"]
mod signals;
mod torture;
mod uses;

use basics::{PATIENCE, SOON, program};
