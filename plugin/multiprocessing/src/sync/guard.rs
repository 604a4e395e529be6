//! What locks and guards have in common, for conditions.

/// What a [`Condition`](super::Condition) can belong to: a lock, or something that has one.
pub trait Lockable: sealed::Region {}

/// What holds such a lock.
pub trait Guarded: sealed::Region {}

pub(crate) mod sealed {
    use std::sync::Arc;

    /// The memory whose first lock it is.
    pub trait Region {
        fn region(&self) -> &Arc<crate::sync::region::Region>;
    }
}
