//! Which representation to send (RFC 9110, 12.5): `Accept` as Prometheus sends it, `Accept-Encoding`.
//!
//! ```text
//! Accept: application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.5,
//!         application/openmetrics-text;version=1.0.0;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2
//! ```

use hyper::HeaderMap;
use hyper::header::{ACCEPT, ACCEPT_ENCODING, HeaderName};

/// How metrics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Prometheus text 0.0.4; what people and old programs get.
    Classic,
    /// OpenMetrics 1.0.0, with exemplars.
    OpenMetrics,
    /// Delimited `io.prometheus.client.MetricFamily` messages, with native histograms.
    Protobuf,
}

impl Format {
    /// All of them; where a client has no preference, the first one is sent.
    pub const ALL: [Self; 3] = [Self::Classic, Self::OpenMetrics, Self::Protobuf];

    /// The `Content-Type` of it.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Classic => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            }
        }
    }

    /// Which of the formats on offer the client likes best; `None` when it takes none of them.
    pub(crate) fn negotiated(headers: &HeaderMap, on_offer: &[Self]) -> Option<Self> {
        let accept = joined(headers, &ACCEPT);
        let mut best: Option<(Match, Self)> = None;
        for format in Self::ALL.into_iter().filter(|format| on_offer.contains(format)) {
            let matched = matched(&accept, |range| format.specificity(range));
            if let Some(matched) = matched
                && best.is_none_or(|(best, _)| matched.is_better_than(best))
            {
                best = Some((matched, format));
            }
        }
        best.map(|(_, format)| format)
    }

    fn specificity(self, range: &Range<'_>) -> Option<u8> {
        let (media, sub) = match self {
            Self::Classic => ("text", "plain"),
            Self::OpenMetrics => ("application", "openmetrics-text"),
            Self::Protobuf => ("application", "vnd.google.protobuf"),
        };
        let specificity = range.specificity(media, sub)?;
        let parameters = specificity < EXACT
            || match self {
                Self::Classic => range.parameter("version").is_none_or(|version| version == "0.0.4"),
                Self::OpenMetrics => range.parameter("version").is_none_or(|version| version == "1.0.0"),
                // Others speak other messages under this type.
                Self::Protobuf => {
                    range.parameter("proto") == Some("io.prometheus.client.MetricFamily")
                        && range.parameter("encoding") == Some("delimited")
                }
            };
        parameters.then_some(specificity)
    }
}

/// Whether the client takes JSON.
pub(crate) fn takes_json(headers: &HeaderMap) -> bool {
    matched(&joined(headers, &ACCEPT), |range| range.specificity("application", "json")).is_some()
}

/// Whether the client takes pcapng. Some call it by its general name.
pub(crate) fn takes_pcapng(headers: &HeaderMap) -> bool {
    let accept = joined(headers, &ACCEPT);
    let takes = |sub| matched(&accept, |range| range.specificity("application", sub)).is_some();
    takes("x-pcapng") || takes("octet-stream")
}

/// Whether the client takes HTML.
pub(crate) fn takes_html(headers: &HeaderMap) -> bool {
    matched(&joined(headers, &ACCEPT), |range| range.specificity("text", "html")).is_some()
}

/// Whether the client asks for gzip.
pub(crate) fn takes_gzip(headers: &HeaderMap) -> bool {
    let codings = joined(headers, &ACCEPT_ENCODING);
    let weight = |name: &str| {
        let coding = codings.split(',').map(Range::of).find(|coding| coding.name.eq_ignore_ascii_case(name));
        coding.map(|coding| coding.weight)
    };
    weight("gzip").or_else(|| weight("*")).is_some_and(|weight| weight > 0)
}

/// How a range of `Accept` fits.
#[derive(Clone, Copy, Debug)]
struct Match {
    /// In thousandths.
    weight: u16,
    specificity: u8,
    position: usize,
}

impl Match {
    /// The weight decides; among equals the one that was asked for by name, then the one named first.
    fn is_better_than(self, other: Self) -> bool {
        let rank = |of: Self| (of.weight, of.specificity, std::cmp::Reverse(of.position));
        rank(self) > rank(other)
    }
}

/// The most specific range that fits, unless it says `q=0`. No `Accept` takes everything.
fn matched(accept: &str, specificity: impl Fn(&Range<'_>) -> Option<u8>) -> Option<Match> {
    if accept.trim().is_empty() {
        return Some(Match { weight: 1000, specificity: ANYTHING, position: 0 });
    }
    let mut best: Option<Match> = None;
    for (position, range) in accept.split(',').map(Range::of).take(MOST_RANGES).enumerate() {
        let Some(specificity) = specificity(&range) else { continue };
        if best.is_none_or(|best| specificity > best.specificity) {
            best = Some(Match { weight: range.weight, specificity, position });
        }
    }
    best.filter(|best| best.weight > 0)
}

/// One entry: a name, parameters and a weight.
#[derive(Debug)]
struct Range<'a> {
    name: &'a str,
    parameters: &'a str,
    weight: u16,
}

impl<'a> Range<'a> {
    fn of(text: &'a str) -> Self {
        let (name, parameters) = text.split_once(';').unwrap_or((text, ""));
        let mut range = Self { name: name.trim(), parameters, weight: 1000 };
        if let Some(weight) = range.parameter("q") {
            // What cannot be read counts as not wanted much rather than not at all.
            let weight = weight.parse::<f32>().ok().filter(|weight| (0.0..=1.0).contains(weight));
            range.weight = weight.map_or(1, |weight| (weight * 1000.0).round() as u16);
        }
        range
    }

    fn parameter(&self, name: &str) -> Option<&'a str> {
        self.parameters.split(';').find_map(|parameter| {
            let (key, value) = parameter.split_once('=')?;
            key.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"'))
        })
    }

    fn specificity(&self, media: &str, sub: &str) -> Option<u8> {
        let (range_media, range_sub) = self.name.split_once('/')?;
        match (range_media, range_sub) {
            ("*", "*") => Some(ANYTHING),
            (range, "*") => range.eq_ignore_ascii_case(media).then_some(ANY_OF_TYPE),
            (range, exact) => {
                (range.eq_ignore_ascii_case(media) && exact.eq_ignore_ascii_case(sub)).then_some(EXACT)
            }
        }
    }
}

/// A header may come in several lines.
fn joined(headers: &HeaderMap, name: &HeaderName) -> String {
    let values: Vec<&str> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    values.join(",")
}

const ANYTHING: u8 = 0;
const ANY_OF_TYPE: u8 = 1;
const EXACT: u8 = 2;
/// Prometheus sends five.
const MOST_RANGES: usize = 32;

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn headers(name: HeaderName, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_str(value).unwrap());
        headers
    }

    fn format(accept: &str) -> Option<Format> {
        Format::negotiated(&headers(ACCEPT, accept), &Format::ALL)
    }

    #[test]
    fn prometheus_gets_what_it_likes_best() {
        let text_first = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
            application/openmetrics-text;version=0.0.1;q=0.5,\
            text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        assert_eq!(format(text_first), Some(Format::OpenMetrics));
        let protobuf_first = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;\
            encoding=delimited;q=0.6,application/openmetrics-text;version=1.0.0;q=0.5,\
            text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
        assert_eq!(format(protobuf_first), Some(Format::Protobuf));
        let old = "application/openmetrics-text; version=1.0.0,application/openmetrics-text; version=0.0.1;\
            q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(format(old), Some(Format::OpenMetrics));
        assert_eq!(format("text/plain;version=0.0.4;q=1,*/*;q=0.1"), Some(Format::Classic));
    }

    #[test]
    fn who_has_no_preference_gets_classic_text() {
        assert_eq!(Format::negotiated(&HeaderMap::new(), &Format::ALL), Some(Format::Classic));
        assert_eq!(format("*/*"), Some(Format::Classic));
        assert_eq!(format("text/html,application/xhtml+xml,*/*;q=0.8"), Some(Format::Classic));
        assert_eq!(format("application/*"), Some(Format::OpenMetrics));
    }

    #[test]
    fn what_is_not_on_offer_is_not_chosen() {
        let protobuf =
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
        let text = [Format::Classic, Format::OpenMetrics];
        assert_eq!(Format::negotiated(&headers(ACCEPT, protobuf), &text), None);
        let either = format!("{protobuf},*/*;q=0.1");
        assert_eq!(Format::negotiated(&headers(ACCEPT, &either), &text), Some(Format::Classic));
    }

    #[test]
    fn a_client_that_takes_nothing_of_it_gets_nothing() {
        assert_eq!(format("application/json"), None);
        assert_eq!(format("application/vnd.google.protobuf"), None);
        assert_eq!(format("text/plain;version=0.0.4;q=0"), None);
        assert_eq!(
            format("text/plain;q=0,*/*"),
            Some(Format::OpenMetrics),
            "a zero rules out its format only"
        );
    }

    #[test]
    fn equal_weights_are_decided_by_order() {
        assert_eq!(format("application/openmetrics-text,text/plain"), Some(Format::OpenMetrics));
        assert_eq!(format("text/plain,application/openmetrics-text"), Some(Format::Classic));
    }

    #[test]
    fn odd_weights_do_not_refuse() {
        assert_eq!(format("text/plain;q=high"), Some(Format::Classic));
        assert_eq!(format("text/plain;q=NaN"), Some(Format::Classic));
    }

    #[test]
    fn gzip_is_sent_to_those_who_ask() {
        let gzip = |value| takes_gzip(&headers(ACCEPT_ENCODING, value));
        assert!(gzip("gzip") && gzip("deflate, GZIP;q=0.5") && gzip("*"));
        assert!(!gzip("gzip;q=0") && !gzip("*, gzip;q=0") && !gzip("br, zstd"));
        assert!(!takes_gzip(&HeaderMap::new()));
    }

    #[test]
    fn json_is_sent_unless_ruled_out() {
        let json = |value| takes_json(&headers(ACCEPT, value));
        assert!(json("application/json") && json("*/*") && json("application/*;q=0.1"));
        assert!(!json("text/html") && !json("application/json;q=0"));
    }
}
