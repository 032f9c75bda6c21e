//! Bytes of one file or of stdin, decompressed when they begin with the magic number of gzip or zstd.
//! Both formats may be several members or frames in a row (RFC 1952 2.2, RFC 8878 3.1). Names do not count.

use std::fs::File;
use std::io::{self, BufReader, Chain, Cursor, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::inflate::{Gzip, Zstd};

/// A stream of capture bytes.
pub(crate) struct Input {
    bytes: Box<dyn Read + Send>,
    /// It is being decompressed: offsets are those of the decompressed bytes.
    pub(crate) compressed: bool,
}

impl Input {
    /// Opens a file; a single `-` is stdin. `count` grows by the bytes read from the disk.
    pub(crate) fn open(path: &Path, count: &Arc<AtomicU64>) -> io::Result<Self> {
        if path.as_os_str() == STDIN {
            Self::new(io::stdin(), count)
        } else {
            Self::new(File::open(path)?, count)
        }
    }

    pub(crate) fn new(raw: impl Read + Send + 'static, count: &Arc<AtomicU64>) -> io::Result<Self> {
        let mut raw = Counted { inner: raw, count: Arc::clone(count) };
        let mut magic = [0; 4];
        let mut filled = 0;
        while let Some(rest) = magic.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match raw.read(rest) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let whole: Chain<_, _> = Cursor::new(magic).take(filled as u64).chain(raw);
        Ok(match magic {
            [0x1f, 0x8b, ..] => Self::compressed(Gzip::new(BufReader::with_capacity(CHUNK, whole))),
            [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => {
                Self::compressed(Zstd::new(BufReader::with_capacity(CHUNK, whole))?)
            }
            _ => Self { bytes: Box::new(whole), compressed: false },
        })
    }

    fn compressed(bytes: impl Read + Send + 'static) -> Self {
        Self { bytes: Box::new(bytes), compressed: true }
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.bytes.read(buffer)
    }
}

struct Counted<R> {
    inner: R,
    count: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.count.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

/// The argument that means stdin.
pub(crate) const STDIN: &str = "-";

/// Bytes a read(2): above this size the page cache copy no longer gets cheaper.
pub(crate) const CHUNK: usize = 64 << 10;
