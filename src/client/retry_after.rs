//! `Retry-After` (RFC 9110, 10.2.3): seconds, or a date.

use std::str::FromStr;
use std::time::Duration;
#[allow(clippy::disallowed_types, reason = "a date is compared with the clock of this host")]
use std::time::{SystemTime, UNIX_EPOCH};

use crate::Stamp;

/// How long a server wants to be left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryAfter {
    /// From now on.
    Seconds(u64),
    /// Until then.
    Date(Stamp),
}

impl RetryAfter {
    /// How long to wait.
    #[allow(clippy::disallowed_types, reason = "see the import")]
    pub fn from_now(self) -> Duration {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        match self {
            Self::Seconds(seconds) => Duration::from_secs(seconds),
            Self::Date(date) => Duration::from_nanos(date.0).saturating_sub(now),
        }
    }

    /// Seconds from `now` on.
    pub fn seconds(self, now: Stamp) -> f64 {
        match self {
            Self::Seconds(seconds) => seconds as f64,
            Self::Date(stamp) => stamp.seconds_since(now).max(0.0),
        }
    }
}

impl FromStr for RetryAfter {
    type Err = ();

    /// Of the three forms of a date only the one that may be sent today: `Sun, 06 Nov 1994 08:49:37 GMT`.
    fn from_str(text: &str) -> Result<Self, ()> {
        let text = text.trim();
        if let Ok(seconds) = text.parse() {
            return Ok(Self::Seconds(seconds));
        }
        let (_, date) = text.split_once(", ").ok_or(())?;
        let mut parts = date.split(' ');
        let mut next = || parts.next().ok_or(());
        let (day, month, year, time, zone) = (next()?, next()?, next()?, next()?, next()?);
        let month = MONTHS.iter().position(|name| *name == month).ok_or(())? as u64 + 1;
        let number = |text: &str| text.parse::<u64>().map_err(|_| ());
        let mut clock = time.split(':').map(number);
        let mut next = || clock.next().ok_or(())?;
        let (hour, minute, second) = (next()?, next()?, next()?);
        if zone != "GMT" || hour > 23 || minute > 59 || second > 60 {
            return Err(());
        }
        let stamp = Stamp::of_civil(number(year)?, month, number(day)?).ok_or(())?;
        Ok(Self::Date(stamp.plus_seconds(hour * 3600 + minute * 60 + second)))
    }
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates_are_understood() {
        assert_eq!("120".parse(), Ok(RetryAfter::Seconds(120)));
        let date: RetryAfter = "Sun, 06 Nov 1994 08:49:37 GMT".parse().unwrap();
        assert_eq!(date, RetryAfter::Date(Stamp(784_111_777_000_000_000)));
        assert!((date.seconds(Stamp(784_111_770_000_000_000)) - 7.0).abs() < 1e-9);
        assert!(date.seconds(Stamp(784_111_780_000_000_000)).abs() < 1e-9, "it is over");
    }

    #[test]
    fn what_is_neither_is_not() {
        for text in [
            "",
            "-1",
            "soon",
            "Sun, 06 Nov 1994",
            "Sun, 32 Nov 1994 08:49:37 GMT",
            "x, 1 Nov 1994 25:00:00 GMT",
        ] {
            assert_eq!(text.parse::<RetryAfter>(), Err(()), "{text}");
        }
    }
}
