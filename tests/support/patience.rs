//! Waiting for another program.

use std::thread::sleep;
use std::time::Duration;

/// Whether something comes true within so many seconds; asked ten times a second.
pub(crate) fn within(seconds: u32, mut done: impl FnMut() -> bool) -> bool {
    (0..seconds * 10).any(|_| {
        let done = done();
        if !done {
            sleep(Duration::from_millis(100));
        }
        done
    })
}
