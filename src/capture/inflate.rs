//! gzip and zstd such that damage costs nothing that was good before it: the readers of the libraries keep to
//! themselves what the failing call had already unpacked, as much as the caller's whole buffer.

use std::io::{self, BufRead, BufReader, Read};

use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{Decoder, Operation};

/// Members of gzip in a row (RFC 1952 2.2).
pub(super) struct Gzip<R> {
    from: BufReader<R>,
    member: Decompress,
    /// A member has begun and is not over.
    inside: bool,
    /// To be told once what came before it was taken.
    broken: Option<io::Error>,
}

impl<R: Read> Gzip<R> {
    pub(super) fn new(from: BufReader<R>) -> Self {
        Self { from, member: Decompress::new_gzip(WINDOW_BITS), inside: false, broken: None }
    }
}

impl<R: Read> Read for Gzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(error) = self.broken.take() {
            return Err(error);
        }
        loop {
            let input = self.from.fill_buf()?;
            let over = input.is_empty();
            if over && !self.inside {
                return Ok(0);
            }
            let (read, made) = (self.member.total_in(), self.member.total_out());
            let result = self.member.decompress(input, buffer, FlushDecompress::None);
            let (read, made) = (self.member.total_in() - read, self.member.total_out() - made);
            self.from.consume(read as usize);
            self.inside = true;
            match result {
                Ok(Status::StreamEnd) => {
                    self.inside = false;
                    self.member = Decompress::new_gzip(WINDOW_BITS);
                }
                Ok(_) if made == 0 && over => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                // What the library says depends on how the bytes came in.
                Err(_) => {
                    let error = io::Error::new(io::ErrorKind::InvalidData, "damaged gzip data");
                    if made == 0 {
                        return Err(error);
                    }
                    self.broken = Some(error);
                }
            }
            if made > 0 || buffer.is_empty() {
                return Ok(made as usize);
            }
        }
    }
}

/// Frames of zstd in a row (RFC 8878 3.1). The decoder is given a block at a time: when one is damaged, those
/// before it are out already.
pub(super) struct Zstd<R> {
    from: BufReader<R>,
    frame: Decoder<'static>,
    /// Bytes up to the end of what it is reading: a header, a block, a checksum.
    wants: usize,
    /// A frame has begun and is not over.
    inside: bool,
    /// The last call filled its buffer: there may be more of the block.
    full: bool,
}

impl<R: Read> Zstd<R> {
    pub(super) fn new(from: BufReader<R>) -> io::Result<Self> {
        Ok(Self { from, frame: Decoder::new()?, wants: FRAME_BEGIN, inside: false, full: false })
    }
}

impl<R: Read> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let input = self.from.fill_buf()?;
            let over = input.is_empty();
            if over && !self.inside {
                return Ok(0);
            }
            let part = if self.full { 0 } else { self.wants.min(input.len()) };
            let input = input.get(..part).unwrap_or_default();
            let status = self.frame.run_on_buffers(input, buffer)?;
            self.from.consume(status.bytes_read);
            self.inside = status.remaining > 0;
            // What it asks for includes the header behind the block.
            self.wants = match status.remaining {
                0 => FRAME_BEGIN,
                some @ 1..=BLOCK_HEADER => some,
                more => more - BLOCK_HEADER,
            };
            if !self.inside {
                self.frame.reinit()?;
            }
            let was_full = std::mem::replace(&mut self.full, status.bytes_written == buffer.len());
            if status.bytes_written > 0 {
                return Ok(status.bytes_written);
            }
            if over && !was_full && self.inside {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// The largest window of deflate, 32 KiB.
const WINDOW_BITS: u8 = 15;
/// No frame header is shorter.
const FRAME_BEGIN: usize = 5;
const BLOCK_HEADER: usize = 3;
