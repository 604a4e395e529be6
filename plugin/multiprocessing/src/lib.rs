//! Processes as the unit of parallelism.
