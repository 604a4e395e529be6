//! Processes of a worker program.

pub(crate) mod activity;
pub(crate) mod child;

pub use child::ExitStatus;
pub(crate) use child::SignalName;
