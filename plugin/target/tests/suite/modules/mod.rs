//! Surveys of real files, and what is read of them.

mod build;
mod cache;
mod damaged;
mod debug;
mod loaded;
mod plain;
