//! What all wrappers of SB classes have in common.

/// Makes a wrapper that owns an SB object and disposes of it.
macro_rules! sb_class {
    ($(#[$doc:meta])* $name:ident($reference:ident, $dispose:ident)) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name {
            reference: lldb_sys::$reference,
        }

        impl $name {
            /// # Safety
            /// `reference` is an SB object of this class that the caller owns and gives away.
            pub(crate) unsafe fn from_owned(reference: lldb_sys::$reference) -> Self {
                Self { reference }
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                // SAFETY: the object is ours, by `from_owned`, and disposed of once.
                unsafe { lldb_sys::$dispose(self.reference) }
            }
        }
    };
}

pub(crate) use sb_class;
