//! What can be asked for, and how it is called in counters.

/// A path that is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Page,
    Metrics,
    Health,
    Ready,
    Live,
    Calls,
    /// With the call's identifier, decoded.
    Call(String),
    /// Likewise.
    Evidence(String),
    Streams,
    Config,
}

/// Why a path is none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Astray {
    /// There is no such path.
    Unknown,
    /// The identifier in it is not percent-encoded UTF-8.
    Undecodable,
}

/// The templates, in the order of [`Route::index`]; the last one stands for everything else.
pub(crate) const TEMPLATES: [&str; 11] = [
    "/",
    "/metrics",
    "/health",
    "/ready",
    "/live",
    "/api/calls",
    "/api/calls/{id}",
    "/api/calls/{id}/pcap",
    "/api/streams",
    "/api/config",
    "other",
];

/// Index of the template for paths that are not served.
pub(crate) const OTHER: usize = TEMPLATES.len() - 1;

impl Route {
    /// Of the path of a request, as it stands in the request.
    pub(crate) fn of(path: &str) -> Result<Self, Astray> {
        Ok(match path {
            "/" => Self::Page,
            "/metrics" => Self::Metrics,
            "/health" => Self::Health,
            "/ready" => Self::Ready,
            "/live" => Self::Live,
            "/api/calls" => Self::Calls,
            "/api/streams" => Self::Streams,
            "/api/config" => Self::Config,
            // A slash within an identifier is legal in SIP, and must be encoded here.
            _ => match path.strip_prefix("/api/calls/") {
                Some(rest) => {
                    let (id, of) = match rest.split_once('/') {
                        None => (rest, Self::Call as fn(String) -> Self),
                        Some((id, "pcap")) => (id, Self::Evidence as fn(String) -> Self),
                        Some(_) => return Err(Astray::Unknown),
                    };
                    if id.is_empty() {
                        return Err(Astray::Unknown);
                    }
                    of(percent_decoded(id).ok_or(Astray::Undecodable)?)
                }
                None => return Err(Astray::Unknown),
            },
        })
    }

    /// Whether it tells who spoke with whom.
    pub(crate) fn is_call_data(&self) -> bool {
        matches!(self, Self::Calls | Self::Call(_) | Self::Evidence(_) | Self::Streams)
    }

    /// Which of [`TEMPLATES`] it is.
    pub(crate) fn index(&self) -> usize {
        match self {
            Self::Page => 0,
            Self::Metrics => 1,
            Self::Health => 2,
            Self::Ready => 3,
            Self::Live => 4,
            Self::Calls => 5,
            Self::Call(_) => 6,
            Self::Evidence(_) => 7,
            Self::Streams => 8,
            Self::Config => 9,
        }
    }
}

/// RFC 3986, 2.1; `None` when a `%` is followed by anything but two digits, or when the bytes are not UTF-8.
pub(crate) fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'%' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            plain => plain,
        };
        decoded.push(byte);
    }
    String::from_utf8(decoded).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_has_its_own_template() {
        for (index, template) in TEMPLATES.iter().enumerate().take(OTHER) {
            let route = Route::of(&template.replace("{id}", "x")).unwrap();
            assert_eq!(route.index(), index, "{template}");
        }
    }

    #[test]
    fn a_call_id_is_decoded() {
        let call = |path| Route::of(path);
        assert_eq!(call("/api/calls/a%40b%2Fc%25"), Ok(Route::Call("a@b/c%".into())));
        assert_eq!(call("/api/calls/a@b+c"), Ok(Route::Call("a@b+c".into())));
        assert_eq!(call("/api/calls/%C3%a9"), Ok(Route::Call("\u{e9}".into())));
        assert_eq!(call("/api/calls/%2e%2e%2Fpcap/pcap"), Ok(Route::Evidence("../pcap".into())));
        assert_eq!(call("/api/calls/pcap"), Ok(Route::Call("pcap".into())));
    }

    #[test]
    fn broken_encodings_are_told_apart_from_unknown_paths() {
        for path in [
            "/api/calls/%",
            "/api/calls/%4",
            "/api/calls/%zz",
            "/api/calls/%ff",
            "/api/calls/%+1",
            "/api/calls/%/pcap",
        ] {
            assert_eq!(Route::of(path), Err(Astray::Undecodable), "{path}");
        }
        for path in [
            "",
            "*",
            "/metrics/",
            "/api",
            "/api/calls/",
            "/api/calls/a/b",
            "/api/calls//pcap",
            "/api/calls/a/pcap/",
            "/api/calls/a/b/pcap",
            "/Metrics",
            "//",
        ] {
            assert_eq!(Route::of(path), Err(Astray::Unknown), "{path}");
        }
    }
}
