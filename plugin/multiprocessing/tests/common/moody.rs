//! A value that cannot always be sent.

use serde::{Deserialize, Serialize, Serializer};

/// A value that refuses to be encoded, if it is told to.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub struct Moody(pub bool);

impl Serialize for Moody {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 { Err(serde::ser::Error::custom("not today")) } else { serializer.serialize_bool(false) }
    }
}
