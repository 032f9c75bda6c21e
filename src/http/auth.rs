//! Basic authentication (RFC 7617) against bcrypt hashes.
//!
//! bcrypt is slow on purpose: 76 ms at cost 10, and for the whole machine if everybody may ask for it at once.
//!
//! ```text
//! credentials -> tag -> accepted lately? -> in
//!                       refused lately?  -> out
//!                       else: one of a few in the queue (full: 429) -> one at a time: bcrypt -> in or out
//! ```
//!
//! The tag is 128 bits of SipHash of user and password under a key that is drawn at start and never leaves the
//! process: who does not know the key cannot make a tag that matches but by guessing 128 bits, and the password is
//! not kept. An unknown user costs a hash like a known one, so that the time does not tell whether there is such
//! a user.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, Engine, GeneralPurpose, GeneralPurposeConfig};
use hyper::header::HeaderValue;
use subtle::{Choice, ConstantTimeEq};
use tokio::sync::Semaphore;

/// Users and what is known about credentials seen lately. A reload makes a new one, which knows nothing.
#[derive(Debug)]
pub(crate) struct Gate {
    known: Arc<Known>,
    /// Places in the queue for a check, the one being checked included.
    queue: Arc<Semaphore>,
    turn: Arc<Semaphore>,
}

struct Known {
    key: RandomState,
    users: Vec<User>,
    /// Hash that unknown users are checked against, for the time it takes; the slowest one there is.
    decoy: String,
    accepted: Mutex<VecDeque<Tag>>,
    refused: Mutex<VecDeque<Tag>>,
}

struct User {
    name: Tag,
    hash: String,
}

type Tag = [u8; 16];

/// What became of credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Accepted,
    /// Missing or wrong.
    Refused,
    /// Too many others are being checked.
    Busy,
}

impl Gate {
    /// Of users and their hashes; there must be one at least.
    pub(crate) fn new(users: Vec<(String, String)>) -> Self {
        let key = RandomState::new();
        let decoy = users.iter().map(|(_, hash)| hash).max_by_key(|hash| cost(hash)).cloned();
        let users = users.into_iter().map(|(name, hash)| User { name: tag(&key, &name, ""), hash }).collect();
        let known = Known {
            key,
            users,
            decoy: decoy.unwrap_or_default(),
            accepted: Mutex::default(),
            refused: Mutex::default(),
        };
        Self {
            known: Arc::new(known),
            queue: Arc::new(Semaphore::new(QUEUE)),
            turn: Arc::new(Semaphore::new(1)),
        }
    }

    /// Judges the `Authorization` header of a request.
    pub(crate) async fn check(&self, authorization: Option<&HeaderValue>) -> Verdict {
        let Some((user, password)) = authorization.and_then(credentials) else { return Verdict::Refused };
        let seen = tag(&self.known.key, &user, &password);
        if let Some(verdict) = self.known.remembered(&seen) {
            return verdict;
        }
        let Ok(place) = Arc::clone(&self.queue).try_acquire_owned() else { return Verdict::Busy };
        let Ok(turn) = Arc::clone(&self.turn).acquire_owned().await else { return Verdict::Busy };
        // Those before may have brought the same.
        if let Some(verdict) = self.known.remembered(&seen) {
            return verdict;
        }
        let known = Arc::clone(&self.known);
        // Place and turn go along: a client that hangs up must not let the next check start beside this one.
        let check = tokio::task::spawn_blocking(move || {
            let verdict = known.verify(&user, &password);
            known.remember(seen, verdict);
            drop((place, turn));
            verdict
        });
        check.await.unwrap_or(Verdict::Refused)
    }
}

impl Known {
    fn verify(&self, user: &str, password: &str) -> Verdict {
        let name = tag(&self.key, user, "");
        let mut hash = self.decoy.as_str();
        let mut exists = Choice::from(0);
        for user in &self.users {
            let same = user.name.ct_eq(&name);
            exists |= same;
            if bool::from(same) {
                hash = &user.hash;
            }
        }
        let right = Choice::from(u8::from(bcrypt::verify(password, hash).unwrap_or(false)));
        if bool::from(right & exists) { Verdict::Accepted } else { Verdict::Refused }
    }

    fn remembered(&self, seen: &Tag) -> Option<Verdict> {
        let holds = |tags: &Mutex<VecDeque<Tag>>| {
            let tags = tags.lock().unwrap_or_else(PoisonError::into_inner);
            bool::from(tags.iter().fold(Choice::from(0), |found, tag| found | tag.ct_eq(seen)))
        };
        if holds(&self.accepted) {
            return Some(Verdict::Accepted);
        }
        holds(&self.refused).then_some(Verdict::Refused)
    }

    fn remember(&self, seen: Tag, verdict: Verdict) {
        // A flood of wrong ones must not push out the right ones: two lists.
        let (tags, most) = match verdict {
            Verdict::Accepted => (&self.accepted, self.users.len().min(REMEMBERED_ACCEPTED)),
            _ => (&self.refused, REMEMBERED_REFUSED),
        };
        let mut tags = tags.lock().unwrap_or_else(PoisonError::into_inner);
        if tags.len() >= most {
            tags.pop_front();
        }
        tags.push_back(seen);
    }
}

/// Neither names nor hashes belong into a log.
impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Known").field("users", &self.users.len()).finish_non_exhaustive()
    }
}

/// The lengths are hashed along, so that no other pair reads the same.
fn tag(key: &RandomState, user: &str, password: &str) -> Tag {
    let [high, low] = [0_u8, 1].map(|half| {
        key.hash_one((half, user.len(), user.as_bytes(), password.len(), password.as_bytes())).to_ne_bytes()
    });
    let mut tag = [0; 16];
    for (to, from) in tag.iter_mut().zip(high.into_iter().chain(low)) {
        *to = from;
    }
    tag
}

/// The exponent of the number of rounds; `None` when the hash is none.
pub(crate) fn cost(hash: &str) -> Option<u32> {
    let mut parts = hash.split('$');
    let (before, version) = (parts.next()?, parts.next()?);
    if !before.is_empty() || !matches!(version, "2a" | "2b" | "2y") || !hash.is_ascii() {
        return None;
    }
    let parts: bcrypt::HashParts = hash.parse().ok()?;
    Some(parts.get_cost())
}

/// The user that a header names.
pub(crate) fn user(authorization: &HeaderValue) -> Option<String> {
    credentials(authorization).map(|(user, _)| user)
}

/// User and password of `Basic dXNlcjpwYXNzd29yZA==`.
fn credentials(authorization: &HeaderValue) -> Option<(String, String)> {
    let (scheme, encoded) = authorization.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(BASE64.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

/// RFC 4648, 4; the padding may be missing.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// Checks in hand and waiting. At cost 10 the last one waits for half a second.
const QUEUE: usize = 8;
/// A scraper has one pair of credentials, a few people have others.
const REMEMBERED_ACCEPTED: usize = 64;
/// A scraper with an old password must not cost a hash with every scrape.
const REMEMBERED_REFUSED: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn gate() -> Gate {
        let hash = |password| bcrypt::hash(password, 4).unwrap();
        Gate::new(vec![("alice".into(), hash("secret")), ("bob".into(), hash("hidden"))])
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    fn verdict(gate: &Gate, header: &str) -> Verdict {
        block_on(gate.check(Some(&HeaderValue::from_str(header).unwrap())))
    }

    // printf 'alice:secret' | base64
    const ALICE: &str = "Basic YWxpY2U6c2VjcmV0";
    // alice with the password of bob
    const MIXED: &str = "Basic YWxpY2U6aGlkZGVu";
    // mallory:secret
    const UNKNOWN: &str = "basic bWFsbG9yeTpzZWNyZXQ=";

    #[test]
    fn the_right_password_of_the_right_user_is_accepted() {
        let gate = gate();
        assert_eq!(verdict(&gate, ALICE), Verdict::Accepted);
        assert_eq!(verdict(&gate, MIXED), Verdict::Refused);
        assert_eq!(verdict(&gate, UNKNOWN), Verdict::Refused);
        assert_eq!(block_on(gate.check(None)), Verdict::Refused);
    }

    #[test]
    fn what_is_no_basic_authentication_is_refused() {
        let gate = gate();
        for header in ["Bearer x", "Basic", "Basic ?", "Basic YWxpY2U", "Basic =====", "Basic /w=="] {
            assert_eq!(verdict(&gate, header), Verdict::Refused, "{header}");
        }
    }

    #[test]
    fn the_password_of_one_user_does_not_open_for_a_stranger() {
        let only = Gate::new(vec![("alice".into(), bcrypt::hash("secret", 4).unwrap())]);
        assert_eq!(
            verdict(&only, UNKNOWN),
            Verdict::Refused,
            "though the decoy is the hash of this password"
        );
    }

    #[test]
    fn verdicts_are_remembered() {
        let gate = gate();
        verdict(&gate, ALICE);
        verdict(&gate, MIXED);
        // Nothing can be checked any more: what is answered now was remembered.
        gate.queue.close();
        assert_eq!(verdict(&gate, ALICE), Verdict::Accepted);
        assert_eq!(verdict(&gate, MIXED), Verdict::Refused);
        assert_eq!(verdict(&gate, UNKNOWN), Verdict::Busy);
    }

    #[test]
    fn wrong_ones_do_not_push_out_right_ones() {
        let gate = gate();
        verdict(&gate, ALICE);
        for number in 0..1000_u32 {
            gate.known.remember(tag(&gate.known.key, "x", &number.to_string()), Verdict::Refused);
        }
        assert_eq!(gate.known.refused.lock().unwrap().len(), REMEMBERED_REFUSED);
        gate.queue.close();
        assert_eq!(verdict(&gate, ALICE), Verdict::Accepted);
    }

    #[test]
    fn tags_tell_pairs_apart() {
        let key = RandomState::new();
        assert_ne!(tag(&key, "a", "bc"), tag(&key, "ab", "c"));
        assert_eq!(tag(&key, "a", "bc"), tag(&key, "a", "bc"));
    }

    #[test]
    fn hashes_are_told_from_other_text() {
        assert_eq!(cost("$2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG"), Some(10));
        for text in ["", "secret", "$2y$10$short", "$1$abc$def", "$2y$10$\u{e9}"] {
            assert_eq!(cost(text), None, "{text}");
        }
    }
}
