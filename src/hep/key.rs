//! The authentication key of HEP: a shared secret in clear, which keeps out strangers and no more than that.

use std::fmt;

use subtle::ConstantTimeEq;

/// A key to send, or to ask for; empty = none. It is never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Key(Vec<u8>);

impl Key {
    /// The bytes, to be sent.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether a record with this key may come in. How long that takes tells of the key its length at most.
    pub fn admits(&self, told: &[u8]) -> bool {
        self.0.is_empty() || bool::from(told.ct_eq(&self.0))
    }
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "none" } else { "set" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_key_is_admitted() {
        let key = Key::from("secret");
        assert!(key.admits(b"secret"));
        for wrong in [b"".as_slice(), b"secre", b"secret1", b"Secret", b"\0ecret"] {
            assert!(!key.admits(wrong), "{wrong:?}");
        }
    }

    #[test]
    fn where_none_is_set_any_is_admitted() {
        assert!(Key::default().admits(b"") && Key::default().admits(b"anything"));
    }

    #[test]
    fn it_is_not_shown() {
        let settings = crate::export::hep::Settings { key: Key::from("secret"), ..Default::default() };
        assert!(!format!("{settings:?}").contains("secret"));
    }
}
