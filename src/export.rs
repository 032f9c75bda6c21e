//! Projections of facts: each format is one [`Sink`](crate::event::Sink) that turns them into bytes.

pub mod hep;
pub mod json;
pub mod loki;
pub mod prometheus;
pub mod table;
pub mod trace_id;

#[cfg(test)]
pub(crate) mod samples;
