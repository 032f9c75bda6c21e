//! `web-config.yml`: TLS, client certificates, users and headers, in the schema of Prometheus' exporter-toolkit.
//!
//! ```yaml
//! tls_server_config:
//!   cert_file: server.crt
//!   key_file: server.key
//!   client_auth_type: RequireAndVerifyClientCert
//!   client_ca_file: ca.crt
//! basic_auth_users:
//!   alice: $2y$10$mDwo.lAisC94iLAyP81MCesa29IzH37oigHC/42V2pdJlUprsJPze
//! ```
//!
//! File names are relative to the file they stand in. A [`WebConfig`] was checked as a whole, certificates, keys and
//! all, so that it can be swapped in without another thought. `rate_limit` counts for each client address and not for
//! all of them together as in Prometheus, so that one client cannot use up the share of another.

use std::path::{Path, PathBuf};

use hyper::header::{HeaderName, HeaderValue};
use serde_saphyr::Spanned;

use super::auth::{self, Gate};
use super::rate::Rate;
use crate::config::Problem;
use section::{Problems, Section};
use tree::{Node, line};

mod section;
mod tree;

/// How the listener is secured. By default it is plain HTTP for everybody.
#[derive(Debug)]
pub struct WebConfig {
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<std::sync::Arc<rustls::ServerConfig>>,
    pub(crate) http2: bool,
    /// Put on every answer.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) gate: Option<Gate>,
    rate: RateLimit,
    files: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum RateLimit {
    Unsaid,
    Off,
    At(Rate),
}

/// What `tls_server_config` says, before files are read.
#[cfg(feature = "tls")]
#[derive(Debug, Default)]
pub(crate) struct TlsText<'a> {
    pub(crate) line: u64,
    pub(crate) http2: bool,
    pub(crate) certificate: Source<'a>,
    pub(crate) key: Source<'a>,
    pub(crate) client_ca: Source<'a>,
    pub(crate) client_auth_type: Option<(&'a str, u64)>,
    pub(crate) client_allowed_sans: Vec<(&'a str, u64)>,
    pub(crate) cipher_suites: Vec<(&'a str, u64)>,
    pub(crate) curve_preferences: Vec<(&'a str, u64)>,
    pub(crate) min_version: Option<(&'a str, u64)>,
    pub(crate) max_version: Option<(&'a str, u64)>,
    pub(crate) prefers_own_order: bool,
}

/// PEM, and the line that names it.
#[cfg(feature = "tls")]
#[derive(Debug, Default)]
pub(crate) struct Source<'a> {
    pub(crate) line: u64,
    pub(crate) file: Option<PathBuf>,
    pub(crate) inline: Option<&'a str>,
}

impl Default for WebConfig {
    fn default() -> Self {
        Self {
            #[cfg(feature = "tls")]
            tls: None,
            http2: true,
            headers: Vec::new(),
            gate: None,
            rate: RateLimit::Unsaid,
            files: Vec::new(),
        }
    }
}

impl WebConfig {
    /// Reads the file and those it names; or returns all that is wrong.
    pub fn load(file: &Path) -> Result<Self, Vec<Problem>> {
        let place = file.display().to_string();
        match std::fs::read_to_string(file) {
            Ok(text) => {
                Self::read(&place, &text, file.parent().unwrap_or(Path::new(""))).map(|mut config| {
                    config.files.insert(0, file.to_owned());
                    config
                })
            }
            Err(error) => {
                let hint = "name a readable file, or none for plain HTTP".into();
                Err(vec![Problem { place, what: error.to_string(), hint }])
            }
        }
    }

    /// Reads the text of a file called `name`, with other files relative to `directory`.
    pub fn read(name: &str, text: &str, directory: &Path) -> Result<Self, Vec<Problem>> {
        let mut problems = Problems { file: name.to_owned(), found: Vec::new() };
        if text.lines().all(|line| line.trim_start().is_empty() || line.trim_start().starts_with('#')) {
            return Ok(Self::default());
        }
        let root: Spanned<Node> = match serde_saphyr::from_str(text) {
            Ok(root) => root,
            Err(error) => {
                let at = error.location().map_or(0, |location| location.line());
                problems.add(at, error.without_snippet().to_string(), "the file must be YAML");
                return Err(problems.sorted());
            }
        };
        let mut config = Self::default();
        let mut root = Section::of("", &root, &mut problems);
        if let Some(section) = root.section("http_server_config", &mut problems) {
            config.http(section, &mut problems);
        }
        if let Some(section) = root.section("tls_server_config", &mut problems) {
            #[cfg(feature = "tls")]
            config.tls(section, directory, &mut problems);
            #[cfg(not(feature = "tls"))]
            without_tls(&section, directory, &mut problems);
        }
        if let Some(section) = root.section("basic_auth_users", &mut problems) {
            config.users(&section, &mut problems);
        }
        if let Some(section) = root.section("rate_limit", &mut problems) {
            config.rate_limit(section, &mut problems);
        }
        root.end(&mut problems);
        let problems = problems.sorted();
        if problems.is_empty() { Ok(config) } else { Err(problems) }
    }

    /// The file itself and all that it names: whoever reloads on change watches these.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Whether connections are encrypted: `https://`.
    pub fn is_tls(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.tls.is_some();
        #[cfg(not(feature = "tls"))]
        false
    }

    /// How often one client may ask, if anything is said about it here.
    pub(crate) fn rate_or(&self, otherwise: Option<Rate>) -> Option<Rate> {
        match self.rate {
            RateLimit::Unsaid => otherwise,
            RateLimit::Off => None,
            RateLimit::At(rate) => Some(rate),
        }
    }

    #[cfg(feature = "tls")]
    fn tls(&mut self, mut section: Section<'_>, directory: &Path, problems: &mut Problems) {
        let text = TlsText {
            line: section.line,
            http2: self.http2,
            certificate: source(&mut section, "cert", "cert_file", directory, problems),
            key: source(&mut section, "key", "key_file", directory, problems),
            client_ca: source(&mut section, "client_ca", "client_ca_file", directory, problems),
            client_auth_type: section.text("client_auth_type", problems),
            client_allowed_sans: section.texts("client_allowed_sans", problems),
            cipher_suites: section.texts("cipher_suites", problems),
            curve_preferences: section.texts("curve_preferences", problems),
            min_version: section.text("min_version", problems),
            max_version: section.text("max_version", problems),
            prefers_own_order: section.flag("prefer_server_cipher_suites", problems).unwrap_or(true),
        };
        section.end(problems);
        let sources = [&text.certificate, &text.key, &text.client_ca];
        self.files.extend(sources.into_iter().filter_map(|source| source.file.clone()));
        self.tls = super::tls::server_config(&text, &mut |line, what, hint| problems.add(line, what, hint));
    }

    fn http(&mut self, mut section: Section<'_>, problems: &mut Problems) {
        self.http2 = section.flag("http2", problems).unwrap_or(true);
        if let Some(mut headers) = section.section("headers", problems) {
            for name in HEADERS {
                let Some((text, line)) = headers.text(name, problems) else { continue };
                let Ok(value) = HeaderValue::from_str(text) else {
                    problems.add(
                        line,
                        format!("{name} cannot be put into a header"),
                        "use printable characters",
                    );
                    continue;
                };
                let allowed = allowed_values(name);
                if !allowed.is_empty() && !allowed.iter().any(|known| known.eq_ignore_ascii_case(text)) {
                    problems.add(line, format!("{name} cannot be {text:?}"), allowed.join(" or "));
                    continue;
                }
                if let Ok(name) = HeaderName::try_from(name) {
                    self.headers.push((name, value));
                }
            }
            headers.end(problems);
        }
        section.end(problems);
    }

    fn users(&mut self, section: &Section<'_>, problems: &mut Problems) {
        let mut users = Vec::new();
        for (name, hash) in section.entries() {
            let (user, at) = (&name.value, line(name));
            let hint = "make one with: htpasswd -nBC 10 \"\" | tr -d ':\\n'";
            if user.is_empty() || user.contains(':') {
                problems.add(
                    at,
                    format!("{user:?} cannot be a user name"),
                    "no empty ones, and no colon in it",
                );
            }
            // The text itself is not shown: it may be a password in clear.
            let Node::Text(hash) = &hash.value else {
                problems.add(at, format!("what stands for user {user:?} is no bcrypt hash"), hint);
                continue;
            };
            match auth::cost(hash) {
                None => problems.add(at, format!("what stands for user {user:?} is no bcrypt hash"), hint),
                Some(cost) if cost > MOST_COST => {
                    let what =
                        format!("the hash of user {user:?} has cost {cost}: a login would take too long");
                    problems.add(at, what, format!("use a cost of up to {MOST_COST}; {hint}"));
                }
                Some(_) => users.push((user.clone(), hash.clone())),
            }
        }
        if !users.is_empty() {
            self.gate = Some(Gate::new(users));
        }
    }

    fn rate_limit(&mut self, mut section: Section<'_>, problems: &mut Problems) {
        let interval = section.text("interval", problems);
        let interval = interval.and_then(|(text, line)| {
            let seconds = seconds(text);
            if seconds.is_none() {
                let what = format!("rate_limit.interval is no duration: {text:?}");
                problems.add(line, what, "write it like 1s or 100ms");
            }
            seconds
        });
        let burst = section.value("burst").map(|value| match &value.value {
            Node::Number(number) => number.parse::<u32>().ok().filter(|burst| *burst > 0).ok_or(line(value)),
            _ => Err(line(value)),
        });
        if let Some(Err(line)) = burst {
            problems.add(line, "rate_limit.burst is no whole number above 0", "");
        }
        let burst = burst.and_then(Result::ok);
        self.rate = match interval {
            Some(seconds) if seconds > 0.0 => {
                if burst.is_none() && problems.found.is_empty() {
                    problems.add(section.line, "rate_limit has an interval but no burst", "add burst: 20");
                }
                RateLimit::At(Rate { per_second: 1.0 / seconds, burst: burst.map_or(1.0, f64::from) })
            }
            _ => RateLimit::Off,
        };
        section.end(problems);
    }
}

/// Plain HTTP where TLS was asked for would be worse than not to start.
#[cfg(not(feature = "tls"))]
fn without_tls(section: &Section<'_>, _: &Path, problems: &mut Problems) {
    let what = "tls_server_config needs TLS, and this program was built without it";
    problems.add(
        section.line,
        what,
        "build it with --features tls, or put a TLS proxy in front and remove this",
    );
}

#[cfg(feature = "tls")]
fn source<'a>(
    section: &mut Section<'a>,
    inline: &'static str,
    file: &'static str,
    directory: &Path,
    problems: &mut Problems,
) -> Source<'a> {
    let (text, named) = (section.text(inline, problems), section.text(file, problems));
    if let (Some(_), Some((_, line))) = (text, named) {
        let what = format!("{} and {} exclude each other", section.name(inline), section.name(file));
        problems.add(line, what, "remove one of them");
    }
    let line = named.or(text).map_or(section.line, |(_, line)| line);
    Source { line, file: named.map(|(name, _)| directory.join(name)), inline: text.map(|(text, _)| text) }
}

/// `1s`, `1m30s`, `100ms`: durations as Prometheus writes them.
fn seconds(text: &str) -> Option<f64> {
    if text == "0" {
        return Some(0.0);
    }
    let (mut rest, mut total) = (text, 0.0);
    while !rest.is_empty() {
        let digits = rest.find(|character: char| !character.is_ascii_digit()).filter(|digits| *digits > 0)?;
        let (number, unit) = rest.split_at(digits);
        let end = unit.find(|character: char| character.is_ascii_digit()).unwrap_or(unit.len());
        let (unit, after) = unit.split_at(end);
        let unit = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        total += f64::from(number.parse::<u32>().ok()?) * unit;
        rest = after;
    }
    (!text.is_empty()).then_some(total)
}

fn allowed_values(header: &str) -> &'static [&'static str] {
    match header {
        "X-Frame-Options" => &["deny", "sameorigin"],
        "X-Content-Type-Options" => &["nosniff"],
        _ => &[],
    }
}

const HEADERS: [&str; 5] = [
    "Content-Security-Policy",
    "X-Frame-Options",
    "X-Content-Type-Options",
    "X-XSS-Protection",
    "Strict-Transport-Security",
];
/// Five seconds, where a request has ten.
const MOST_COST: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let read = WebConfig::read("web.yml", text, Path::new(""));
        read.unwrap_err().iter().map(ToString::to_string).collect()
    }

    const HASH: &str = "$2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG";

    #[test]
    fn nothing_said_is_plain_http_for_everybody() {
        for text in ["", "# nothing yet\n\n", "basic_auth_users:\n", "basic_auth_users: {}\n"] {
            let config = WebConfig::read("web.yml", text, Path::new("")).unwrap();
            assert!(config.gate.is_none() && !config.is_tls() && config.http2, "{text:?}");
        }
    }

    #[test]
    fn users_headers_and_rate_are_taken() {
        let text = format!(
            "basic_auth_users:\n  alice: {HASH}\n  \"7\": \"{HASH}\"\n\
             http_server_config:\n  http2: false\n  headers:\n    X-Frame-Options: DENY\n\
             rate_limit:\n  interval: 100ms\n  burst: 20\n"
        );
        let config = WebConfig::read("web.yml", &text, Path::new("")).unwrap();
        assert!(config.gate.is_some() && !config.http2);
        assert_eq!(config.headers, [("x-frame-options".parse().unwrap(), "DENY".parse().unwrap())]);
        let rate = config.rate_or(None).unwrap();
        assert!((rate.per_second - 10.0).abs() < 1e-9 && (rate.burst - 20.0).abs() < 1e-9);
    }

    #[test]
    fn an_interval_of_nothing_switches_the_limit_off() {
        let config = WebConfig::read("web.yml", "rate_limit:\n  interval: 0s\n", Path::new("")).unwrap();
        assert_eq!(config.rate_or(Some(Rate { per_second: 1.0, burst: 1.0 })), None);
    }

    #[test]
    fn all_problems_are_found_at_once() {
        let found = problems(
            "basic_auth_users:\n  alice: secret\n  bob: 7\nhttp_server_config:\n  http3: true\n  \
             headers:\n    Server: x\n    X-Frame-Options: maybe\nrate_limit:\n  interval: soon\nusers: []\n",
        );
        let expected = [
            "web.yml:2: what stands for user \"alice\" is no bcrypt hash; make one with: htpasswd",
            "web.yml:3: what stands for user \"bob\" is no bcrypt hash",
            "web.yml:5: http_server_config.http3 is no key; known here: http2, headers",
            "web.yml:7: http_server_config.headers.Server is no key; known here: Content-Security-Policy",
            "web.yml:8: X-Frame-Options cannot be \"maybe\"; deny or sameorigin",
            "web.yml:10: rate_limit.interval is no duration: \"soon\"; write it like 1s or 100ms",
            "web.yml:11: users is no key; known here: http_server_config, tls_server_config",
        ];
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.starts_with(expected), "{found}");
        }
        assert!(!found.iter().any(|problem| problem.contains("secret")), "a password was shown");
    }

    #[test]
    fn what_is_no_yaml_says_where() {
        let found = problems("basic_auth_users:\n  alice: [\n");
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("web.yml:"), "{found:?}");
        let twice = problems(&format!("basic_auth_users:\n  alice: {HASH}\n  alice: {HASH}\n"));
        assert!(twice[0].contains("alice"), "{twice:?}");
    }

    #[test]
    fn a_hash_that_takes_minutes_is_refused() {
        let slow = HASH.replace("$10$", "$25$");
        assert!(problems(&format!("basic_auth_users:\n  alice: {slow}\n"))[0].contains("cost 25"));
    }

    #[test]
    fn durations_are_read_as_prometheus_writes_them() {
        assert_eq!(seconds("1m30s"), Some(90.0));
        assert_eq!(seconds("0"), Some(0.0));
        for text in ["", "1", "s", "1x", "-1s"] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }

    #[cfg(not(feature = "tls"))]
    #[test]
    fn without_the_feature_tls_is_an_error() {
        let found = problems("tls_server_config:\n  cert_file: a\n  key_file: b\n");
        assert!(found[0].contains("built without it"), "{found:?}");
    }

    #[cfg(feature = "tls")]
    #[test]
    fn certificates_are_looked_into() {
        let found = problems(
            "tls_server_config:\n  cert_file: /nowhere/a.pem\n  key: nonsense\n  min_version: TLS14\n  \
             client_auth_type: Maybe\n  cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]\n  curve_preferences: [P1]\n",
        );
        for part in ["/nowhere/a.pem", ":3: ", "TLS14", "Maybe", "RC4", "P1"] {
            assert!(found.iter().any(|problem| problem.contains(part)), "{part}: {found:#?}");
        }
    }
}
