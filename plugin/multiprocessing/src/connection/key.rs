//! What two programs must both have to talk to each other.

use std::fmt;
use std::io;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A secret that both sides of a connection have. It is never sent; it is overwritten when it is dropped, shows itself
/// to nobody, and takes the same time to compare whether equal or not.
///
/// CPython's `authkey` is the same: any bytes, also none. Only a random key of 32 bytes is worth its name.
///
/// ```
/// use multiprocessing::connection::AuthKey;
///
/// let key = AuthKey::from("opensesame");
/// assert_eq!(format!("{key:?}"), "AuthKey(10 bytes)");
/// assert_ne!(AuthKey::random()?, AuthKey::random()?);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct AuthKey(Zeroizing<Vec<u8>>);

impl AuthKey {
    /// 32 random bytes.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn random() -> io::Result<AuthKey> {
        let mut bytes = Zeroizing::new(vec![0; 32]);
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        Ok(AuthKey(bytes))
    }

    /// The secret itself.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The vector itself becomes the key, so that no copy of it is left.
impl From<Vec<u8>> for AuthKey {
    fn from(bytes: Vec<u8>) -> AuthKey {
        AuthKey(Zeroizing::new(bytes))
    }
}

impl From<&[u8]> for AuthKey {
    fn from(bytes: &[u8]) -> AuthKey {
        bytes.to_vec().into()
    }
}

impl From<String> for AuthKey {
    fn from(text: String) -> AuthKey {
        text.into_bytes().into()
    }
}

impl From<&str> for AuthKey {
    fn from(text: &str) -> AuthKey {
        text.as_bytes().into()
    }
}

impl PartialEq for AuthKey {
    fn eq(&self, other: &AuthKey) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for AuthKey {}

impl fmt::Debug for AuthKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuthKey({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_equals_itself_only_and_hides() {
        let key = AuthKey::from("secret");
        assert_eq!(key, AuthKey::from(b"secret".to_vec()));
        assert_ne!(key, AuthKey::from("secret "));
        assert_ne!(key, AuthKey::from("Secret"));
        assert!(!format!("{key:?}").contains("secret"));
        assert_eq!(AuthKey::random().expect("randomness").as_bytes().len(), 32);
    }
}
