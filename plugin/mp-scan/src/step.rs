//! What takes what a scan finds, a step at a time.

use analysis::{Sink, Stop};

/// What one step of the driver brings.
pub struct Step<T> {
    pub items: Vec<T>,
    /// Why the scan is to end, if it is to.
    pub stop: Option<Stop>,
}

impl<T> Sink<T> for Step<T> {
    fn found(&mut self, mut items: Vec<T>) {
        self.items.append(&mut items);
    }

    fn stop(&mut self) -> Option<Stop> {
        self.stop
    }
}
