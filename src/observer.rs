//! Owns all call and stream state, on packet time alone.
