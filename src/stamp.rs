//! Packet time: nanoseconds since the Unix epoch, UTC, as the capture recorded it (MEAS 0.3).

use std::fmt;

use serde::{Serialize, Serializer};

/// A moment in packet time, in nanoseconds since the Unix epoch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Stamp(pub u64);

impl Stamp {
    /// Nanoseconds from `earlier` to `self`; negative when `earlier` is the later one.
    #[inline]
    pub fn nanos_since(self, earlier: Self) -> i64 {
        self.0.wrapping_sub(earlier.0) as i64
    }

    /// Seconds from `earlier` to `self`; negative when `earlier` is the later one.
    #[inline]
    pub fn seconds_since(self, earlier: Self) -> f64 {
        self.nanos_since(earlier) as f64 / 1e9
    }

    /// The moment `nanos` later (earlier when negative), held inside the representable range.
    #[inline]
    #[must_use]
    pub fn plus_nanos(self, nanos: i64) -> Self {
        Self(self.0.saturating_add_signed(nanos))
    }

    /// Midnight of a day; `None` when there is no such day, or not between 1970 and 2554.
    pub fn of_civil(year: u64, month: u64, day: u64) -> Option<Self> {
        if !(1970..=2553).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return None;
        }
        // The year begins in March, so that the leap day is its last.
        let (year, of_year) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
        let days = year * 365 + year / 4 - year / 100 + year / 400 + (153 * of_year + 2) / 5 + day - 1;
        let days = u32::try_from(days.checked_sub(DAYS_BEFORE_1970)?).ok()?;
        let is_there = civil_from_days(days).2 == day as u32;
        is_there.then(|| Self(u64::from(days) * 86_400 * NANOS_PER_SECOND))
    }

    /// The moment `seconds` later.
    #[inline]
    #[must_use]
    pub fn plus_seconds(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(NANOS_PER_SECOND)))
    }
}

/// RFC 3339, UTC, nanoseconds: `2026-11-21T10:54:46.000000001Z`.
impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.rfc_3339().text())
    }
}

impl Serialize for Stamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.rfc_3339().text())
    }
}

impl Stamp {
    /// Two digits at a time: a report has several times in each of its entries. The year has four digits until
    /// 2554, where the nanoseconds run out.
    pub(crate) fn rfc_3339(self) -> Written {
        let (seconds, nanos) = (self.0 / NANOS_PER_SECOND, (self.0 % NANOS_PER_SECOND) as u32);
        let (days, of_day) = ((seconds / 86_400) as u32, (seconds % 86_400) as u32);
        let (year, month, day) = civil_from_days(days);
        let mut text = *b"0000-00-00T00:00:00.000000000Z  ";
        let mut pair = |place: usize, number: u32| {
            [text[place], text[place + 1]] = PAIRS[(number % 100) as usize];
        };
        pair(0, year / 100);
        pair(2, year);
        pair(5, month);
        pair(8, day);
        pair(11, of_day / 3600);
        pair(14, of_day / 60 % 60);
        pair(17, of_day % 60);
        // The first digit of nine goes with a zero, over which the point is set again.
        pair(19, nanos / 100_000_000);
        pair(21, nanos / 1_000_000);
        pair(23, nanos / 10_000);
        pair(25, nanos / 100);
        pair(27, nanos);
        text[19] = b'.';
        Written(text)
    }
}

/// A time as text. Alignment, and two bytes more than it has, let whole words be checked to be UTF-8.
#[repr(align(8))]
pub(crate) struct Written([u8; 32]);

impl Written {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.0).ok().and_then(|text| text.get(..30)).unwrap_or_default()
    }
}

/// Proleptic Gregorian date of a day number since 1970-01-01, by 400-year eras that begin on 1 March,
/// so that the leap day is the last day of its year.
fn civil_from_days(days: u32) -> (u32, u32, u32) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + year_of_era + u32::from(month <= 2), month, day)
}

/// `00` to `99`.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut number = 0;
    while number < pairs.len() {
        pairs[number] = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        number += 1;
    }
    pairs
};

const NANOS_PER_SECOND: u64 = 1_000_000_000;
/// Since 1 March of the year 0.
const DAYS_BEFORE_1970: u64 = 719_468;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_rfc_3339_with_nanoseconds() {
        assert_eq!(Stamp(0).to_string(), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(Stamp(951_782_400_000_000_001).to_string(), "2000-02-29T00:00:00.000000001Z");
        assert_eq!(Stamp(1_105_725_482_965_944_000).to_string(), "2005-01-14T17:58:02.965944000Z");
        assert_eq!(Stamp(4_102_444_799_999_999_999).to_string(), "2099-12-31T23:59:59.999999999Z");
        assert_eq!(Stamp(u64::MAX).to_string(), "2554-07-21T23:34:33.709551615Z");
    }

    #[test]
    fn a_day_is_found_again() {
        for days in (0..200_000).step_by(13) {
            let (year, month, day) = civil_from_days(days);
            let stamp = Stamp::of_civil(u64::from(year), u64::from(month), u64::from(day)).unwrap();
            assert_eq!(stamp.0, u64::from(days) * 86_400 * NANOS_PER_SECOND);
        }
        assert_eq!(Stamp::of_civil(2023, 2, 29), None);
        assert_eq!(Stamp::of_civil(2024, 4, 31), None);
    }

    #[test]
    fn differences_are_signed() {
        assert_eq!(Stamp(5).nanos_since(Stamp(7)), -2);
        assert!((Stamp(1_500_000_000).seconds_since(Stamp(0)) - 1.5).abs() < 1e-12);
    }
}
