//! RTP streams: sequence, loss, jitter, delay variation (RFC 3550; MEAS 1).

pub mod dtmf;
pub mod header;
pub mod jitter;
mod journal;
pub mod packet;
pub mod payload;
pub mod probation;
pub mod report;
pub mod round_trip;
pub mod rtcp;
pub mod sequence;
pub mod srtp;
pub mod stream;
pub mod summary;
pub mod window;
pub mod xr;
