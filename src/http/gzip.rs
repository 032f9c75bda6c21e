//! Compression of answers: the fastest level, since a scrape waits for it (DEPENDENCIES: 27 ms for 7.5 MB).

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;

/// Compresses the bytes; large ones on a thread where it keeps nobody waiting.
pub(crate) async fn compressed(bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    if bytes.len() <= AT_ONCE {
        return deflate(&bytes);
    }
    tokio::task::spawn_blocking(move || deflate(&bytes)).await.map_err(io::Error::other)?
}

/// Compresses the bytes here and now.
pub(crate) fn deflate(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::fast());
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// Below this a compressed answer saves no packet.
pub(crate) const WORTH_IT: usize = 1024;
/// Takes about a quarter of a millisecond.
const AT_ONCE: usize = 65_536;
