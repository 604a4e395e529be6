//! Pipes and channels between processes, and waiting for several of them.

#[path = "../worker/acts.rs"]
#[expect(dead_code, reason = "the tests of pipes need its identity only")]
mod acts;
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

use multiprocessing::Program;
use std::time::Duration;

/// Long enough for whatever is to happen on a busy machine. Nothing waits so long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(30);

const SOON: Duration = Duration::from_millis(20);

fn program() -> Program {
    Program::new(env!("CARGO_BIN_EXE_multiprocessing-test-worker"), acts::IDENTITY)
}
