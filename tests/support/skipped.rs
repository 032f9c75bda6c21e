//! Tests that cannot run here say so where it is seen.

use std::fmt::Display;
use std::io::{self, Write};

/// Writes `skipped: reason` past the capture of test output, which would show it only when the test fails: the
/// harness holds back what the printing macros write, and nothing else.
pub(crate) fn skipped(reason: impl Display) {
    let _ = writeln!(io::stderr(), "skipped: {reason}");
}
