//! RTP streams: sequence, loss, jitter, delay variation (RFC 3550; MEAS 1).

pub mod jitter;
pub mod payload;
pub mod sequence;
pub mod stream;
pub mod summary;
