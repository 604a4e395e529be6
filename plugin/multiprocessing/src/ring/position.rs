//! Positions in a ring, and the words before its records.

use super::Broken;

/// The unit of positions and of records, in bytes.
pub(super) const UNIT: usize = 8;

const UNIT_BITS: u32 = 40;
const UNIT_MASK: u64 = (1 << UNIT_BITS) - 1;
const COUNT_MASK: u64 = (1 << (64 - UNIT_BITS)) - 1;

/// The most messages that a ring holds.
pub(crate) const MESSAGES_MAX: u32 = COUNT_MASK as u32;

/// How far a side has come: units of bytes, and messages. Both in one word, so that they are published at once and never
/// contradict each other, wherever a process dies. They only grow, and begin again after 8 TiB and 16 million messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position(pub(super) u64);

impl Position {
    pub(super) fn units(self) -> u64 {
        self.0 & UNIT_MASK
    }

    /// One after so many messages.
    pub(super) fn of_messages(count: u64) -> Position {
        Position(count << UNIT_BITS)
    }

    /// This one after so many units and messages more.
    pub(super) fn after(self, units: u64, messages: u64) -> Position {
        let count = (self.0 >> UNIT_BITS).wrapping_add(messages) & COUNT_MASK;
        Position(count << UNIT_BITS | self.units().wrapping_add(units) & UNIT_MASK)
    }

    /// How many units lie between an earlier position and this one.
    pub(super) fn units_since(self, earlier: Position) -> u64 {
        self.units().wrapping_sub(earlier.units()) & UNIT_MASK
    }

    /// How many messages lie between an earlier position and this one.
    pub(super) fn messages_since(self, earlier: Position) -> u32 {
        ((self.0 >> UNIT_BITS).wrapping_sub(earlier.0 >> UNIT_BITS) & COUNT_MASK) as u32
    }
}

/// What a record is of its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// All of it.
    Whole,
    /// Its first part. What was begun before and not ended is dropped.
    First,
    /// One more part.
    More,
    /// Its last part.
    Last,
    /// Not more of it will come.
    Abandoned,
}

/// The word before a record's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) kind: Kind,
    /// The length of its bytes.
    pub(super) length: u32,
    /// What the ring's user says beside them. Only the one of a message's last record counts.
    pub(super) tag: u8,
}

impl Record {
    pub(super) fn word(self) -> u64 {
        u64::from(self.length) | (self.kind as u64) << 32 | u64::from(self.tag) << 40
    }

    pub(super) fn parse(word: u64) -> Result<Record, Broken> {
        let [.., kind, tag, 0, 0] = word.to_le_bytes() else { return Err(Broken("an unknown kind of record")) };
        let kind = match kind {
            0 => Kind::Whole,
            1 => Kind::First,
            2 => Kind::More,
            3 => Kind::Last,
            4 => Kind::Abandoned,
            _ => return Err(Broken("an unknown kind of record")),
        };
        Ok(Record { kind, length: word as u32, tag })
    }

    /// The units that it takes, its word among them.
    pub(super) fn units(self) -> u64 {
        1 + u64::from(self.length).div_ceil(UNIT as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_begin_again() {
        let start = Position(u64::MAX);
        let later = start.after(3, 2);
        assert_eq!((later.units_since(start), later.messages_since(start)), (3, 2));
        assert_eq!(start.after(0, 0), start);
    }

    #[test]
    fn a_record_is_known_by_its_word() {
        for kind in [Kind::Whole, Kind::First, Kind::More, Kind::Last, Kind::Abandoned] {
            let record = Record { kind, length: 0xfedc_ba98, tag: 7 };
            assert_eq!(Record::parse(record.word()), Ok(record));
        }
        assert!(Record::parse(5 << 32).is_err());
        assert!(Record::parse(1 << 48).is_err());
        assert_eq!(Record { kind: Kind::Whole, length: u32::MAX, tag: 0 }.units(), 1 + (1 << 29));
    }
}
