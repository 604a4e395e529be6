//! What ends the sleep of a consumer from elsewhere in its process.

use super::area::Area;
use super::header::Raised;
use crate::futex;

/// Once raised, for whatever reason, its consumer does not sleep in the futex any more.
#[derive(Debug)]
pub(crate) struct Alarm {
    area: Area,
    raised: Raised,
}

impl Alarm {
    pub(super) fn new(area: Area) -> Alarm {
        Alarm { area, raised: Raised::default() }
    }

    pub(crate) fn raise(&self) {
        let consumer = &self.area.header().consumer.0;
        self.raised.raise(consumer);
        // Whatever the word says, which others can write.
        futex::wake(Area::futex(consumer), u32::MAX);
    }

    pub(crate) fn is_raised(&self) -> bool {
        self.raised.is_raised()
    }
}
