//! The key that signs the audit.
//!
//! ```text
//! audit.key        sidetone-audit-secret 9f86d081884c7d65 <64 hexadecimal digits>     0600, made at the first start
//! audit.key.pub    sidetone-audit-public 9f86d081884c7d65 <64 hexadecimal digits>     to be kept elsewhere
//! audit.key.new    the next one, until the agent takes it
//! ```
//!
//! A key is called by the first 8 bytes of the SHA-256 of its public half.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};

use super::{hex, unhex};

/// Signs.
pub struct Key {
    signing: SigningKey,
    id: String,
}

/// Its secret half is never shown.
impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Key").field(&self.id).finish()
    }
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refused.
    #[error("{path}: {cause}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        cause: io::Error,
    },
    /// It holds something else.
    #[error(
        "{0}: this is no key of an audit; it would be one line: {SECRET} or {PUBLIC}, its name, 64 hexadecimal digits"
    )]
    Foreign(PathBuf),
    /// Others may read it.
    #[error("{0}: others may read this key; chmod 600 it, and change it if they did")]
    Open(PathBuf),
}

impl Key {
    /// Reads it, or makes it and tells so by `true`.
    pub fn open(path: &Path) -> Result<(Self, bool), Error> {
        match Self::read(path) {
            Err(Error::Io { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => {
                Ok((Self::make(path)?, true))
            }
            read => read.map(|key| (key, false)),
        }
    }

    /// A key for this run alone: there is no place to keep one.
    pub fn passing() -> Result<Self, Error> {
        random().map(|secret| Self::of(&secret))
    }

    /// Makes the next key beside `path`, for the agent to take; returns its name.
    pub fn make_next(path: &Path) -> Result<String, Error> {
        let next = next(path);
        let key = Self::make(&next)?;
        // Made by root, it is still for the agent's user to read.
        if let Ok(owner) = fs::metadata(path) {
            for file in [&next, &public(&next)] {
                std::os::unix::fs::chown(file, Some(owner.uid()), Some(owner.gid())).map_err(at(file))?;
            }
        }
        Ok(key.id)
    }

    /// The next key, if one lies ready.
    pub(super) fn next(path: &Path) -> Result<Option<Self>, Error> {
        match Self::read(&next(path)) {
            Err(Error::Io { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some),
        }
    }

    /// Puts the next key in the place of the old one, whose public half is kept under its name.
    pub fn settle(path: &Path, old_id: &str) -> Result<(), Error> {
        let (next, kept) = (next(path), path.with_extension(format!("{old_id}.pub")));
        fs::rename(public(path), &kept).map_err(at(&kept))?;
        fs::rename(public(&next), public(path)).map_err(at(path))?;
        fs::rename(&next, path).map_err(at(path))
    }

    /// `9f86d081884c7d65`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The public half, as 64 digits.
    pub fn public_hex(&self) -> String {
        hex(self.signing.verifying_key().as_bytes())
    }

    pub(super) fn sign(&self, text: &[u8]) -> [u8; 64] {
        self.signing.sign(text).to_bytes()
    }

    fn read(path: &Path) -> Result<Self, Error> {
        let (_, secret) = line(path, SECRET)?;
        let told = fs::metadata(path).map_err(at(path))?;
        if told.permissions().mode() & 0o077 != 0 {
            return Err(Error::Open(path.to_owned()));
        }
        Ok(Self::of(&secret))
    }

    fn of(secret: &[u8; 32]) -> Self {
        let signing = SigningKey::from_bytes(secret);
        let id = id_of(&signing.verifying_key());
        Self { signing, id }
    }

    fn make(path: &Path) -> Result<Self, Error> {
        let secret = random()?;
        let key = Self::of(&secret);
        write(path, 0o600, &format!("{SECRET} {} {}\n", key.id, hex(&secret)))?;
        let public = public(path);
        write(&public, 0o644, &format!("{PUBLIC} {} {}\n", key.id, key.public_hex()))?;
        Ok(key)
    }
}

/// A public key: from a file, or as its 64 digits.
pub fn trusted(text: &str) -> Result<(String, VerifyingKey), Error> {
    let foreign = || Error::Foreign(text.into());
    let bytes = match unhex(text) {
        Some(bytes) => bytes,
        None => line(Path::new(text), PUBLIC)?.1,
    };
    let key = VerifyingKey::from_bytes(&bytes).map_err(|_| foreign())?;
    Ok((id_of(&key), key))
}

pub(super) fn id_of(key: &VerifyingKey) -> String {
    hex(Sha256::digest(key.as_bytes()).get(..8).unwrap_or_default())
}

fn random() -> Result<[u8; 32], Error> {
    let (source, mut secret) = (Path::new(RANDOM), [0; 32]);
    File::open(source).and_then(|mut source| source.read_exact(&mut secret)).map_err(at(source))?;
    Ok(secret)
}

/// The name in a file of one line, and its 32 bytes.
fn line(path: &Path, kind: &str) -> Result<(String, [u8; 32]), Error> {
    let text = fs::read_to_string(path).map_err(at(path))?;
    let mut words = text.split_ascii_whitespace();
    let foreign = || Error::Foreign(path.to_owned());
    words.next().filter(|word| *word == kind).ok_or_else(foreign)?;
    let id = words.next().ok_or_else(foreign)?;
    let bytes = words.next().and_then(unhex).ok_or_else(foreign)?;
    Ok((id.to_owned(), bytes))
}

/// Whole or not at all: a key that was half written would keep the agent from starting.
fn write(path: &Path, mode: u32, text: &str) -> Result<(), Error> {
    let part = with(path, ".part");
    let written = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&part)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&part, path)
    };
    written().map_err(at(path))
}

fn public(path: &Path) -> PathBuf {
    with(path, ".pub")
}

fn next(path: &Path) -> PathBuf {
    with(path, ".new")
}

fn with(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |cause| Error::Io { path, cause }
}

const SECRET: &str = "sidetone-audit-secret";
const PUBLIC: &str = "sidetone-audit-public";
const RANDOM: &str = "/dev/urandom";

#[cfg(test)]
mod tests {
    use ed25519_dalek::Signature;

    use super::*;

    #[test]
    fn it_is_made_once_and_for_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.key");
        let (made, is_new) = Key::open(&path).unwrap();
        let (again, is_new_again) = Key::open(&path).unwrap();
        assert_eq!((made.id(), is_new, is_new_again), (again.id(), true, false));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let (id, public) = trusted(path.with_extension("key.pub").to_str().unwrap()).unwrap();
        assert_eq!(id, made.id());
        assert!(public.verify_strict(b"text", &Signature::from_bytes(&made.sign(b"text"))).is_ok());
        assert_eq!(trusted(&made.public_hex()).unwrap().0, id);
        let text = fs::read_to_string(&path).unwrap();
        assert!(!format!("{made:?}").contains(text.split_whitespace().last().unwrap()));
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.key");
        Key::open(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(Key::open(&path), Err(Error::Open(_))));
        fs::write(&path, "something else").unwrap();
        assert!(matches!(Key::open(&path), Err(Error::Foreign(_))));
    }

    #[test]
    fn the_next_one_takes_its_place() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.key");
        let (old, _) = Key::open(&path).unwrap();
        assert!(Key::next(&path).unwrap().is_none());
        let id = Key::make_next(&path).unwrap();
        assert_eq!(Key::next(&path).unwrap().unwrap().id(), id);
        Key::settle(&path, old.id()).unwrap();
        assert_eq!(Key::open(&path).unwrap().0.id(), id);
        let kept = directory.path().join(format!("audit.{}.pub", old.id()));
        assert_eq!(trusted(kept.to_str().unwrap()).unwrap().0, old.id());
    }
}
