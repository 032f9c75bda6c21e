//! Captures of well-formed calls whose impairments are known to the packet (DESIGN 2).
