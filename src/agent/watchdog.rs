//! The service manager's watchdog (sd_notify: `WATCHDOG=1`): a sign of life of the capture thread, and of no other.
//!
//! A ping from anywhere would say that somebody lives. This one is sent only when the capture thread has come around since
//! the last one, which it does every 50 ms on the quietest wire; if it hangs, pings end and the manager restarts all.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sd_notify::NotifyState;

use super::account;
use super::shared::Shared;
use crate::log::Level;

/// Pings for as long as the agent lives; returns at once where there is no watchdog.
pub(super) async fn watch(shared: Arc<Shared>) {
    let Some(patience) = sd_notify::watchdog_enabled() else { return };
    let mut last = None;
    let mut is_told = false;
    loop {
        let rounds = shared.rounds.load(Ordering::Relaxed);
        let lives = last != Some(rounds);
        if lives {
            // A manager that does not listen will restart us.
            let _ = sd_notify::notify(&[NotifyState::Watchdog]);
        } else if !is_told {
            account::say(&shared.logs, Level::Error, "the capture thread hangs; the watchdog will end this");
        }
        is_told = !lives;
        last = Some(rounds);
        tokio::time::sleep(pause(patience)).await;
    }
}

/// A third and some: two pings may be late. Long enough for the capture thread to come around.
fn pause(patience: Duration) -> Duration {
    (patience / 4).max(Duration::from_millis(200))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_pings_fit_into_the_time_of_the_watchdog() {
        assert_eq!(pause(Duration::from_secs(30)), Duration::from_millis(7500));
        assert_eq!(pause(Duration::from_millis(1)), Duration::from_millis(200));
    }
}
