//! How the users of a call are named in its spans (MEAS 8.3).

use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::sip::uri::Uri;

/// What is told of a user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Users {
    /// A pseudonym: the same user has the same one, everywhere.
    #[default]
    Hash,
    /// The URI as it is.
    Clear,
    /// Nothing.
    Omit,
}

impl Users {
    /// A From or To URI as it may be told.
    pub(super) fn tell(self, uri: &str) -> Option<String> {
        match self {
            _ if uri.is_empty() => None,
            Self::Omit => None,
            Self::Clear => Some(uri.to_owned()),
            Self::Hash => Some(hashed(uri)),
        }
    }

    /// As the configuration has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hash => "hash",
            Self::Clear => "clear",
            Self::Omit => "omit",
        }
    }
}

impl FromStr for Users {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Hash, Self::Clear, Self::Omit]
            .into_iter()
            .find(|users| users.name() == text)
            .ok_or_else(|| format!("{text:?} is none of hash, clear, omit"))
    }
}

/// `sip:#1f0c...@example.com`; of what is no URI all is hashed.
fn hashed(uri: &str) -> String {
    let (user, host) = match Uri::parse(uri.as_bytes()) {
        Some(parsed) => (parsed.user, String::from_utf8_lossy(parsed.host).into_owned()),
        None => (uri.as_bytes(), String::new()),
    };
    if user.is_empty() {
        return if host.is_empty() { "sip:".into() } else { format!("sip:{host}") };
    }
    let mut hash = Sha256::new();
    hash.update("sidetone.user.v1");
    hash.update([0]);
    hash.update(user);
    let hash: [u8; 32] = hash.finalize().into();
    let short = u64::from_be_bytes(hash.first_chunk().copied().unwrap_or_default());
    let at = if host.is_empty() { "" } else { "@" };
    format!("sip:#{short:016x}{at}{host}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_hashed_and_a_host_is_not() {
        let alice = Users::Hash.tell("sip:alice@atlanta.com").unwrap();
        assert!(alice.starts_with("sip:#") && alice.ends_with("@atlanta.com"), "{alice}");
        assert!(!alice.contains("alice"));
        let elsewhere = Users::Hash.tell("sip:alice@biloxi.com;user=phone").unwrap();
        assert_eq!(alice.split('@').next(), elsewhere.split('@').next());
        assert_eq!(Users::Hash.tell("sip:example.com").as_deref(), Some("sip:example.com"));
        assert!(!Users::Hash.tell("tel:+49301234").unwrap().contains("1234567"));
        assert_eq!(Users::Omit.tell("sip:alice@atlanta.com"), None);
        assert_eq!(Users::Clear.tell("sip:a@b").as_deref(), Some("sip:a@b"));
        assert_eq!("hash".parse(), Ok(Users::Hash));
        assert!(Users::from_str("x").is_err());
    }
}
