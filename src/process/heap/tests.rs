//! The walk over memory that tests make up.
