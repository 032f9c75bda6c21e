//! What only some calls have: keys pressed by INFO (RFC 6086), participants of a recording (RFC 7866).

/// Kept beside a call, in order of appearance.
#[derive(Debug, Default)]
pub(super) struct Extras {
    /// Hop that showed the first key; the others show the same ones.
    hop: u8,
    keys: String,
    participants: Vec<String>,
}

impl Extras {
    /// A key pressed by INFO, seen on this hop.
    pub(super) fn key(&mut self, key: char, hop: u8) {
        if self.keys.is_empty() {
            self.hop = hop;
        }
        if self.hop == hop && self.keys.len() < MAX_KEYS {
            self.keys.push(key);
        }
    }

    /// Addresses of record of participants; those that are known stay.
    pub(super) fn participants<'a>(&mut self, addresses: impl Iterator<Item = &'a [u8]>) {
        for address in addresses.filter(|address| !address.is_empty()) {
            if self.participants.len() >= MAX_PARTICIPANTS {
                return;
            }
            let address = String::from_utf8_lossy(address.get(..MAX_ADDRESS).unwrap_or(address));
            if !self.participants.iter().any(|known| *known == address) {
                self.participants.push(address.into_owned());
            }
        }
    }

    /// The keys, one each.
    pub(super) fn keys(&self) -> Vec<String> {
        self.keys.chars().map(String::from).collect()
    }

    pub(super) fn all_participants(&self) -> Vec<String> {
        self.participants.clone()
    }

    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.keys.capacity()
            + self.participants.capacity() * size_of::<String>()
            + self.participants.iter().map(String::capacity).sum::<usize>()
    }
}

const MAX_KEYS: usize = 128;
const MAX_PARTICIPANTS: usize = 16;
/// Bytes kept of an address.
const MAX_ADDRESS: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_from_one_hop_and_are_bounded() {
        let mut extras = Extras::default();
        extras.key('1', 1);
        extras.key('1', 0);
        extras.key('#', 1);
        assert_eq!(extras.keys(), ["1", "#"]);
        (0..1000).for_each(|_| extras.key('5', 1));
        assert_eq!(extras.keys().len(), MAX_KEYS);
    }

    #[test]
    fn participants_are_kept_once_each_and_are_bounded() {
        let mut extras = Extras::default();
        extras.participants([b"sip:a@x".as_slice(), b"", b"sip:b@x", b"sip:a@x", &[b'y'; 999]].into_iter());
        assert_eq!(extras.all_participants()[..2], ["sip:a@x", "sip:b@x"]);
        assert_eq!(extras.all_participants()[2].len(), MAX_ADDRESS);
        let many: Vec<_> = (0..100).map(|number| format!("sip:{number}@x")).collect();
        extras.participants(many.iter().map(String::as_bytes));
        assert_eq!(extras.all_participants().len(), MAX_PARTICIPANTS);
    }
}
