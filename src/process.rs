//! The processes beside the calls (DESIGN 6, MEAS 9).

pub mod elf;
pub mod heap;
pub mod maps;
pub mod memory;
pub mod report;
