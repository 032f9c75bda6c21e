//! What is in a file: as it stands there, or what was compressed (RFC 1952), by the offsets it had before.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use flate2::bufread::MultiGzDecoder;

/// A file that is open.
#[derive(Debug)]
pub(super) enum Body {
    Plain(File),
    Packed(Box<Packed>),
}

/// One that is compressed. It is read forwards; whoever goes back begins anew.
#[derive(Debug)]
pub(super) struct Packed {
    file: Arc<File>,
    decoder: Option<MultiGzDecoder<BufReader<FromStart>>>,
    /// Where the decoder stands.
    at: u64,
    /// The last bytes before that: the beginning of a line is asked for again with the rest of it.
    last: Vec<u8>,
    end: End,
}

/// Whether there is more to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Ahead,
    /// It stops in the middle: it was so long, and is still being written.
    Torn(u64),
    Whole,
}

/// Reads a file from its beginning, whoever else reads it.
#[derive(Debug)]
struct FromStart(Arc<File>, u64);

impl Body {
    pub(super) fn new(file: File, is_packed: bool) -> Self {
        if !is_packed {
            return Self::Plain(file);
        }
        let file = Arc::new(file);
        Self::Packed(Box::new(Packed { file, decoder: None, at: 0, last: Vec::new(), end: End::Ahead }))
    }

    /// Bytes beyond this place; of what is compressed, any number as long as there may be one. `None`: it is shorter.
    pub(super) fn unread(&self, offset: u64) -> io::Result<Option<u64>> {
        match self {
            Self::Plain(file) => Ok(file.metadata()?.len().checked_sub(offset)),
            Self::Packed(packed) => packed.unread(offset).map(Some),
        }
    }

    /// Whether all of it was read, and no more can come.
    pub(super) fn is_over(&self) -> bool {
        matches!(self, Self::Packed(packed) if packed.end == End::Whole)
    }

    /// Fills the buffer from this place on as far as there is something.
    pub(super) fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.read_at(buffer, offset),
            Self::Packed(packed) => packed.read_at(buffer, offset),
        }
    }

    /// So many bytes from this place on, or fewer.
    pub(super) fn bytes(&mut self, offset: u64, most: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; most];
        let read = self.read_at(&mut bytes, offset)?;
        bytes.truncate(read);
        Ok(bytes)
    }
}

impl Packed {
    fn unread(&self, offset: u64) -> io::Result<u64> {
        Ok(match self.end {
            End::Whole => self.at.saturating_sub(offset),
            End::Torn(len) if len == self.file.metadata()?.len() => 0,
            End::Torn(_) | End::Ahead => u64::MAX,
        })
    }

    fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        if self.at - self.last.len() as u64 > offset || self.decoder.is_none() {
            let reader = BufReader::with_capacity(PACKED_BUFFER, FromStart(Arc::clone(&self.file), 0));
            (self.decoder, self.at, self.end) = (Some(MultiGzDecoder::new(reader)), 0, End::Ahead);
            self.last.clear();
        }
        let mut passed = vec![0; PACKED_BUFFER.min(offset.saturating_sub(self.at) as usize)];
        while self.at < offset {
            let most = passed.len().min((offset - self.at) as usize);
            if self.decode(passed.get_mut(..most).unwrap_or_default())? == 0 {
                return Ok(0);
            }
            self.last.clear();
        }
        let again = self.last.get(self.last.len() - (self.at - offset) as usize..).unwrap_or_default();
        let mut filled = again.len().min(buffer.len());
        buffer.iter_mut().zip(again).for_each(|(to, byte)| *to = *byte);
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.decode(rest)? {
                0 => break,
                read => filled += read,
            }
        }
        if offset + filled as u64 == self.at {
            self.last = buffer.get(filled.saturating_sub(MOST_AGAIN)..filled).unwrap_or_default().to_vec();
        }
        Ok(filled)
    }

    fn decode(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(decoder) = &mut self.decoder else { return Ok(0) };
        match decoder.read(buffer) {
            Ok(0) => {
                self.end = End::Whole;
                Ok(0)
            }
            Ok(read) => {
                self.at += read as u64;
                Ok(read)
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.end = End::Torn(self.file.metadata()?.len());
                self.decoder = None;
                Ok(0)
            }
            Err(error) => Err(error),
        }
    }
}

impl Read for FromStart {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read_at(buffer, self.1)?;
        self.1 += read as u64;
        Ok(read)
    }
}

const PACKED_BUFFER: usize = 64 << 10;
/// More than a line may have.
const MOST_AGAIN: usize = 512 << 10;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    #[test]
    fn what_is_compressed_is_read_by_the_offsets_it_had() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.gz");
        let lines: Vec<_> = (0..50_000).map(|number| format!("line {number}\n")).collect();
        let text = lines.concat();
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text.as_bytes()).unwrap();
        let packed = encoder.finish().unwrap();
        // Somebody is writing it.
        fs::write(&path, &packed[..packed.len() / 2]).unwrap();
        let mut body = Body::new(File::open(&path).unwrap(), true);
        let begun = body.bytes(0, text.len()).unwrap();
        assert!(begun.len() > text.len() / 4 && text.as_bytes().starts_with(&begun));
        assert_eq!((body.unread(0).unwrap(), body.is_over()), (Some(0), false));
        fs::write(&path, &packed).unwrap();
        assert_eq!(body.unread(0).unwrap(), Some(u64::MAX), "there is more");
        assert_eq!(body.bytes(300_000, 40).unwrap(), &text.as_bytes()[300_000..300_040]);
        assert_eq!(body.bytes(300_030, 40).unwrap(), &text.as_bytes()[300_030..300_070], "some once more");
        assert_eq!(body.bytes(300_050, 10).unwrap(), &text.as_bytes()[300_050..300_060]);
        assert_eq!(body.bytes(300_060, 20).unwrap(), &text.as_bytes()[300_060..300_080]);
        assert_eq!(body.bytes(17, 40).unwrap(), &text.as_bytes()[17..57], "and back");
        assert_eq!(body.bytes(17, text.len()).unwrap(), &text.as_bytes()[17..]);
        let end = text.len() as u64;
        assert_eq!((body.unread(end).unwrap(), body.is_over()), (Some(0), true));
        assert_eq!(body.unread(end - 5).unwrap(), Some(5), "its end was seen, but that is not read");
        assert_eq!(body.bytes(end - 5, 9).unwrap(), &text.as_bytes()[text.len() - 5..]);
        assert_eq!(body.bytes(1 << 40, 1).unwrap(), b"");
    }
}
