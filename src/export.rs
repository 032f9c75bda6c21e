//! Projections of facts: each format is one [`Sink`](crate::event::Sink) that turns them into bytes.

pub mod json;

#[cfg(test)]
mod samples;
