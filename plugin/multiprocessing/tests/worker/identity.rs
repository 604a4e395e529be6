//! Which build the worker program says that it is of. Both the worker and the tests have this file.

pub const IDENTITY: &str = "test build";
