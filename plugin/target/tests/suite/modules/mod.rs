//! Surveys of real files, and what is read of them.

mod build;
mod cache;
mod debug;
mod plain;
