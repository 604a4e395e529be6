//! What ends its own process. Both the worker and some tests have this file.

multiprocessing::function! {
    pub fn leave(code: i32) { std::process::exit(code) }
}
