//! A progress bar on standard error, only for people and only for inputs that take a while.

use std::io::{self, IsTerminal, Write};
#[allow(
    clippy::disallowed_types,
    reason = "how often to draw is a matter of the user's time, not of the packets'"
)]
use std::time::Instant;

/// Draws at most ten times a second.
#[derive(Debug)]
#[allow(clippy::disallowed_types, reason = "see the import")]
pub struct Progress {
    terminal: bool,
    drawn: Option<Instant>,
}

impl Progress {
    /// Silent unless standard error is a terminal.
    pub fn on_stderr() -> Self {
        Self { terminal: io::stderr().is_terminal(), drawn: None }
    }

    /// Tells how many bytes of how many were read; `None` = nobody knows. Cheap enough for every batch.
    #[allow(clippy::disallowed_types, reason = "see the import")]
    pub fn at(&mut self, read: u64, total: Option<u64>) {
        let Some(total) = total.filter(|total| *total > WORTH_IT_BYTES) else { return };
        if !self.terminal || self.drawn.is_some_and(|at| at.elapsed().as_millis() < REDRAW_MILLIS) {
            return;
        }
        self.drawn = Some(Instant::now());
        // A terminal that went away is no reason to stop measuring.
        let _ = write!(io::stderr(), "\r{}", bar(read, total));
    }

    /// Wipes the bar.
    pub fn clear(&mut self) {
        if self.drawn.take().is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

/// `[##########          ]  50%  50 of 100 MB`
fn bar(read: u64, total: u64) -> String {
    let share = (read as f64 / total.max(1) as f64).min(1.0);
    let done = (share * BAR_WIDTH as f64) as usize;
    format!("[{:<BAR_WIDTH$}] {:3.0}%  {} of {} MB", "#".repeat(done), share * 100.0, read / MB, total / MB)
}

const MB: u64 = 1_000_000;
const WORTH_IT_BYTES: u64 = 50 * MB;
const REDRAW_MILLIS: u128 = 100;
const BAR_WIDTH: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_never_leaves_its_bounds() {
        assert_eq!(
            bar(50 * MB, 100 * MB),
            format!("[{}{}]  50%  50 of 100 MB", "#".repeat(20), " ".repeat(20))
        );
        assert!(bar(5, 0).contains("100%"));
        assert!(bar(0, 100).contains("[ "));
    }
}
