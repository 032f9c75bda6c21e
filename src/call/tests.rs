//! Whole scenarios, message by message.

mod build;
mod legs;
mod limits;
mod property;
mod scenarios;
mod vectors;
