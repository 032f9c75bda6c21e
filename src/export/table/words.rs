//! Numbers and names as people write them, each of bounded width.

use crate::Stamp;

/// `1,234,567`
pub(super) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `999999`, `12.3M`: at most 6 columns up to 10^15.
pub(super) fn short(count: u64) -> String {
    match count {
        0..1_000_000 => count.to_string(),
        1_000_000..1_000_000_000 => format!("{:.1}M", count as f64 / 1e6),
        1_000_000_000..1_000_000_000_000 => format!("{:.1}G", count as f64 / 1e9),
        _ => format!("{:.0}T", (count as f64 / 1e12).min(9_999.0)),
    }
}

/// `1.3 MB`, powers of ten.
pub(super) fn bytes(count: u64) -> String {
    let mut value = count as f64;
    for unit in ["bytes", "kB", "MB", "GB", "TB"] {
        if value < 999.5 {
            let digits = usize::from(unit != "bytes" && value < 99.95);
            return format!("{value:.digits$} {unit}");
        }
        value /= 1000.0;
    }
    format!("{value:.0} PB")
}

/// Share in percent, at most 5 columns; empty when it was not measured.
pub(super) fn percent(ratio: Option<f64>) -> String {
    let Some(percent) = ratio.map(|ratio| ratio * 100.0).filter(|percent| percent.is_finite()) else {
        return String::new();
    };
    if percent <= 0.0 {
        "0%".to_owned()
    } else if percent < 0.01 {
        "<.01%".to_owned()
    } else if percent < 9.995 {
        format!("{percent:.2}%")
    } else if percent < 99.95 {
        format!("{percent:.1}%")
    } else {
        format!("{:.0}%", percent.min(9_999.0))
    }
}

/// Seconds with as many digits as matter, at most 5 columns; empty when not measured.
pub(super) fn seconds(value: Option<f64>) -> String {
    let Some(value) = value.filter(|value| value.is_finite()) else { return String::new() };
    let value = value.max(0.0);
    if value < 9.995 {
        format!("{value:.2}")
    } else if value < 99.95 {
        format!("{value:.1}")
    } else if value < 99_999.0 {
        format!("{value:.0}")
    } else {
        format!("{:.0}d", (value / 86_400.0).min(9_999.0))
    }
}

/// `63:05`, `1:03:05`: time on the telephone.
pub(super) fn talk(value: Option<f64>) -> String {
    let Some(value) = value.filter(|value| value.is_finite()) else { return String::new() };
    let whole = value.max(0.0).round() as u64;
    match whole {
        0..3_600 => format!("{}:{:02}", whole / 60, whole % 60),
        3_600..360_000 => format!("{}:{:02}:{:02}", whole / 3_600, whole / 60 % 60, whole % 60),
        _ => format!("{}d", (whole / 86_400).min(9_999)),
    }
}

/// `1.2 s`, `7 min 27 s`, `2 h 05 min`, `3 d 4 h`.
pub(super) fn span(value: f64) -> String {
    let whole = value.max(0.0) as u64;
    match whole {
        0..60 => format!("{value:.1} s"),
        60..3_600 => format!("{} min {:02} s", whole / 60, whole % 60),
        3_600..86_400 => format!("{} h {:02} min", whole / 3_600, whole / 60 % 60),
        _ => format!("{} d {} h", whole / 86_400, whole / 3_600 % 24),
    }
}

/// Whole milliseconds, with one digit below 10; at most 6 columns.
pub(super) fn millis(value: f64) -> String {
    let millis = value.max(0.0) * 1e3;
    if millis < 9.95 { format!("{millis:.1}") } else { short(millis.round() as u64) }
}

pub(super) fn opinion(mos: f64) -> String {
    format!("{:.2}", mos.clamp(0.0, 9.99))
}

/// Time of day, with the date where days must be told apart.
pub(super) fn clock(stamp: Stamp, dated: bool) -> String {
    let text = stamp.to_string();
    let from = if dated { 0 } else { 11 };
    text.get(from..19).unwrap_or(&text).replace('T', " ")
}

/// The user of a SIP or tel URI; its host where it names no user.
pub(super) fn party(uri: &str) -> &str {
    let rest = uri.split_once(':').map_or(uri, |(_, rest)| rest);
    let party = rest.rsplit_once('@').map_or(rest, |(user, _)| user);
    party.split([';', '?', ':']).next().filter(|party| !party.is_empty()).unwrap_or(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_as_many_digits_as_matter() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(short(999_999), "999999");
        assert_eq!(short(12_345_678), "12.3M");
        assert_eq!(bytes(999), "999 bytes");
        assert_eq!(bytes(1_302_400), "1.3 MB");
        assert_eq!(percent(Some(0.0)), "0%");
        assert_eq!(percent(Some(0.000_01)), "<.01%");
        assert_eq!(percent(Some(0.0148)), "1.48%");
        assert_eq!(percent(Some(1.0)), "100%");
        assert_eq!(percent(None), "");
        assert_eq!(seconds(Some(1.503)), "1.50");
        assert_eq!(seconds(Some(31.04)), "31.0");
        assert_eq!(talk(Some(63.5)), "1:04");
        assert_eq!(talk(Some(3_785.0)), "1:03:05");
        assert_eq!(span(447.0), "7 min 27 s");
        assert_eq!(millis(0.0019), "1.9");
        assert_eq!(millis(0.105), "105");
    }

    #[test]
    fn a_party_is_the_user_or_else_the_host() {
        assert_eq!(party("sip:alice@atlanta.com"), "alice");
        assert_eq!(party("sips:+4930123;phone-context=x@atlanta.com;user=phone"), "+4930123");
        assert_eq!(party("tel:+4930123;ext=4"), "+4930123");
        assert_eq!(party("sip:alice:secret@atlanta.com"), "alice");
        assert_eq!(party("sip:atlanta.com:5060"), "atlanta.com");
        assert_eq!(party("garbage"), "garbage");
        assert_eq!(party(""), "");
        assert_eq!(party("sip:@x"), "sip:@x");
    }
}
