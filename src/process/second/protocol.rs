//! What the two processes say to each other: one question, one answer.
//!
//! ```text
//! length u32, little-endian | JSON
//! ```
//!
//! Both ends are the same program, so there is no version. Both hold the other to a length all the same.

use std::io::{self, Read, Write};
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::process::Process;
use crate::process::heap::Heap;
use crate::process::privileged::{MemoryMap, Missing, Pool, Right};

/// What is asked: as the methods of [`Privileged`](crate::process::Privileged).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Question {
    MemoryMap(Process),
    Executable(Process),
    OpenFds(Process),
    Sockets(Process),
    Heap(Process),
    Pools(Process),
    Allocations(Process),
    Forget(Process),
}

/// And what is answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Answer {
    MemoryMap(Result<MemoryMap, Missing>),
    Executable(Result<PathBuf, Missing>),
    OpenFds(Result<u64, Missing>),
    Sockets(Result<Vec<u64>, Missing>),
    Heap(Result<Heap, Missing>),
    Pools(Result<Vec<Pool>, Missing>),
    Allocations(Result<u64, Missing>),
    Forgotten,
}

/// The first thing that the second process says, when it is locked in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hello {
    pub(super) rights: Vec<Right>,
    /// What it gave up, in words.
    pub(super) sandbox: String,
}

pub(super) fn write(to: &mut impl Write, what: &impl Serialize) -> io::Result<()> {
    let json = serde_json::to_vec(what)?;
    let length = u32::try_from(json.len()).ok().filter(|length| *length <= MOST_BYTES);
    let length =
        length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the answer is too long"))?;
    let mut frame = length.to_le_bytes().to_vec();
    frame.extend(json);
    to.write_all(&frame)
}

/// None where the other end has gone.
pub(super) fn read<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let length = u32::from_le_bytes(length);
    if length > MOST_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "what was said is too long"));
    }
    let mut json = Vec::new();
    if from.take(u64::from(length)).read_to_end(&mut json)? < length as usize {
        return Ok(None);
    }
    Ok(Some(serde_json::from_slice(&json)?))
}

/// Room for the sockets of a process that has a hundred thousand.
const MOST_BYTES: u32 = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_what_is_heard() {
        let process = Process { pid: 4711, started_ticks: u64::MAX };
        let mut wire = Vec::new();
        write(&mut wire, &Question::Heap(process)).unwrap();
        assert_eq!(read(&mut wire.as_slice()).unwrap(), Some(Question::Heap(process)));
        let pool = Pool {
            source: "kamailio_shm",
            shared_by: Some(7),
            size: 3,
            used: 1,
            real_used: 2,
            fragments: None,
        };
        for answer in [
            Answer::Pools(Ok(vec![pool])),
            Answer::Heap(Ok(Heap { coverage: 0.5, ..Heap::default() })),
            Answer::Allocations(Err(Missing::Right(Right::Perfmon))),
            Answer::Executable(Err(Missing::Unsupported("no".into()))),
            Answer::Forgotten,
        ] {
            let mut wire = Vec::new();
            write(&mut wire, &answer).unwrap();
            assert_eq!(read(&mut wire.as_slice()).unwrap(), Some(answer));
        }
    }

    #[test]
    fn an_end_is_an_end_and_nonsense_an_error() {
        assert_eq!(read::<Question>(&mut [].as_slice()).unwrap(), None);
        assert_eq!(read::<Question>(&mut [9, 0, 0, 0, b'{'].as_slice()).unwrap(), None);
        assert!(read::<Question>(&mut [0xff; 8].as_slice()).is_err());
        assert!(read::<Question>(&mut [2, 0, 0, 0, b'{', b'}'].as_slice()).is_err());
    }
}
