//! How to export: the standard `OTEL_*` variables, and over them our own configuration.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};

use super::endpoint::{Endpoint, Protocol};
use crate::http::percent_decoded;
use crate::process::host;

/// Where spans go and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The collector; none = no export.
    pub endpoint: Option<Endpoint>,
    /// What is spoken; none = by the port.
    pub protocol: Option<Protocol>,
    /// Sent with each request: whatever lets us in.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// gzip.
    pub compress: bool,
    /// How long one request may take.
    pub timeout: Duration,
    /// Certificates of those who may vouch for the collector, PEM; none = those of the system.
    pub certificate: Option<PathBuf>,
    /// Our own certificate and its key, PEM.
    pub client: Option<(PathBuf, PathBuf)>,
    /// Spans that may wait.
    pub queue_spans: usize,
    /// Spans that go in one request.
    pub batch_spans: usize,
    /// How long a batch waits for more.
    pub delay: Duration,
    /// How long a batch is tried again.
    pub retry: Duration,
    /// How long sending may go on when nothing more will come.
    pub flush: Duration,
    /// Who we are: attributes of the resource.
    pub resource: BTreeMap<String, String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            endpoint: None,
            protocol: None,
            headers: Vec::new(),
            compress: true,
            timeout: Duration::from_secs(10),
            certificate: None,
            client: None,
            queue_spans: 16_384,
            batch_spans: 512,
            delay: Duration::from_secs(1),
            retry: Duration::from_mins(5),
            flush: Duration::from_secs(5),
            resource: BTreeMap::new(),
        }
    }
}

impl Settings {
    /// What the standard variables say; the error names the variable. Those of traces go before the general ones.
    pub fn of_variables(variables: &BTreeMap<String, String>) -> Result<Self, (String, String)> {
        let mut settings = Self::default();
        let of = |name: &str| variables.get(name).map(|text| text.trim()).filter(|text| !text.is_empty());
        let given = |suffix: &str| {
            [format!("OTEL_EXPORTER_OTLP_TRACES_{suffix}"), format!("OTEL_EXPORTER_OTLP_{suffix}")]
                .into_iter()
                .find_map(|name| of(&name).map(|text| (name, text)))
        };
        if let Some((name, text)) = given("PROTOCOL") {
            settings.protocol = Some(text.parse().map_err(|why| (name, why))?);
        }
        if let Some((name, text)) = given("ENDPOINT") {
            settings.endpoint = Some(text.parse().map_err(|why| (name, why))?);
        }
        if let Some((name, text)) = given("HEADERS") {
            settings.headers = headers(text).map_err(|why| (name, why))?;
        }
        if let Some((name, text)) = given("COMPRESSION") {
            settings.compress = compression(text).map_err(|why| (name, why))?;
        }
        let millis = |name: String, text: &str| match text.parse() {
            Ok(millis @ 1..) => Ok(Duration::from_millis(millis)),
            _ => Err((name, "it must be a number of milliseconds, at least 1".to_owned())),
        };
        if let Some((name, text)) = given("TIMEOUT") {
            settings.timeout = millis(name, text)?;
        }
        settings.certificate = given("CERTIFICATE").map(|(_, file)| file.into());
        if let (Some((_, certificate)), Some((_, key))) = (given("CLIENT_CERTIFICATE"), given("CLIENT_KEY")) {
            settings.client = Some((certificate.into(), key.into()));
        }
        if let Some(text) = of("OTEL_BSP_SCHEDULE_DELAY") {
            settings.delay = millis("OTEL_BSP_SCHEDULE_DELAY".into(), text)?;
        }
        let count = |name: &str, to: &mut usize| match of(name).map(str::parse) {
            None => Ok(()),
            Some(Ok(count @ 1..)) => {
                *to = count;
                Ok(())
            }
            Some(_) => Err((name.to_owned(), "it must be a number of spans, at least 1".to_owned())),
        };
        count("OTEL_BSP_MAX_QUEUE_SIZE", &mut settings.queue_spans)?;
        count("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", &mut settings.batch_spans)?;
        if let Some(text) = of("OTEL_RESOURCE_ATTRIBUTES") {
            let name = "OTEL_RESOURCE_ATTRIBUTES".to_owned();
            settings.resource = pairs(text).map_err(|why| (name, why))?.into_iter().collect();
        }
        if let Some(service) = of("OTEL_SERVICE_NAME") {
            settings.resource.insert(SERVICE_NAME.into(), service.into());
        }
        let is = |name: &str, value: &str| of(name).is_some_and(|text| text.eq_ignore_ascii_case(value));
        if is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none") {
            settings.endpoint = None;
        }
        Ok(settings)
    }

    /// What is spoken.
    pub fn spoken(&self) -> Protocol {
        let usual = self.endpoint.as_ref().map_or(Protocol::HttpProtobuf, Endpoint::usual_protocol);
        self.protocol.unwrap_or(usual)
    }

    /// Says who we are where nobody else has: service, host, pod, interfaces (semantic conventions of resources).
    pub fn identify(&mut self, variables: &BTreeMap<String, String>, interfaces: &[String]) {
        let host = host::name();
        let of = |name: &str| variables.get(name).filter(|text| !text.is_empty()).cloned();
        let in_pod = of("KUBERNETES_SERVICE_HOST").is_some();
        let pod = of("POD_NAME").or_else(|| of("HOSTNAME").filter(|_| in_pod));
        let known = [
            (SERVICE_NAME, Some("sidetone".to_owned())),
            ("service.version", Some(env!("CARGO_PKG_VERSION").to_owned())),
            ("host.name", Some(host).filter(|host| !host.is_empty())),
            ("k8s.pod.name", pod),
            ("k8s.namespace.name", of("POD_NAMESPACE")),
            ("k8s.node.name", of("NODE_NAME")),
            ("network.interface.name", (!interfaces.is_empty()).then(|| interfaces.join(","))),
            ("telemetry.sdk.name", Some("opentelemetry".to_owned())),
            ("telemetry.sdk.language", Some("rust".to_owned())),
        ];
        for (key, value) in known {
            if let Some(value) = value {
                self.resource.entry(key.into()).or_insert(value);
            }
        }
    }
}

/// `key=value,key2=value%202` as the specification has it.
pub fn headers(text: &str) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let read = |(key, value): (String, String)| {
        let name = key.parse().map_err(|_| format!("{key:?} is no name of a header"))?;
        let mut value: HeaderValue =
            value.parse().map_err(|_| format!("the value of {key:?} cannot stand in a header"))?;
        value.set_sensitive(true);
        Ok((name, value))
    };
    pairs(text)?.into_iter().map(read).collect()
}

/// `gzip` or `none`.
pub fn compression(text: &str) -> Result<bool, String> {
    match text {
        "gzip" => Ok(true),
        "none" => Ok(false),
        _ => Err(format!("{text:?} is none of gzip, none")),
    }
}

fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let read = |pair: &str| {
        let (key, value) = pair.split_once('=').ok_or("it must be key=value, separated by commas")?;
        let value =
            percent_decoded(value.trim()).ok_or_else(|| format!("the value of {key:?} is badly encoded"))?;
        Ok((key.trim().to_owned(), value))
    };
    text.split(',').map(str::trim).filter(|pair| !pair.is_empty()).map(read).collect()
}

const SERVICE_NAME: &str = "service.name";

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<Settings, (String, String)> {
        let owned = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Settings::of_variables(&owned.collect())
    }

    #[test]
    fn the_standard_variables_are_understood() {
        let settings = of(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://general:4318"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://traces:4317"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20x, x-tenant = a "),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "none"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "2500"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca.pem"),
            ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/c.pem"),
            ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/k.pem"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "99"),
            ("OTEL_BSP_SCHEDULE_DELAY", "50"),
            ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test,service.name=a"),
            ("OTEL_SERVICE_NAME", "edge"),
        ])
        .unwrap();
        assert_eq!(settings.endpoint.unwrap().to_string(), "https://traces:4317/");
        assert_eq!(settings.protocol, Some(Protocol::Grpc));
        assert_eq!(settings.headers[0].1, "Bearer x");
        assert_eq!(settings.headers[1].0, "x-tenant");
        assert!(!settings.compress);
        assert_eq!(settings.timeout, Duration::from_millis(2500));
        assert_eq!((settings.queue_spans, settings.delay), (99, Duration::from_millis(50)));
        assert_eq!(settings.client, Some(("/c.pem".into(), "/k.pem".into())));
        assert_eq!(settings.resource["service.name"], "edge");
        assert_eq!(settings.resource["deployment.environment"], "test");
    }

    #[test]
    fn export_can_be_switched_off_and_nonsense_is_told_by_name() {
        let on = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318");
        assert_eq!(of(&[on, ("OTEL_SDK_DISABLED", "true")]).unwrap().endpoint, None);
        assert_eq!(of(&[on, ("OTEL_TRACES_EXPORTER", "none")]).unwrap().endpoint, None);
        for name in ["ENDPOINT", "PROTOCOL", "HEADERS", "COMPRESSION", "TIMEOUT"] {
            let name = format!("OTEL_EXPORTER_OTLP_{name}");
            assert_eq!(of(&[(&name, "?")]).unwrap_err().0, name);
        }
    }

    #[test]
    fn the_resource_says_who_we_are_unless_it_was_said() {
        let mut settings = of(&[("OTEL_SERVICE_NAME", "edge")]).unwrap();
        let pod = [("POD_NAME".to_owned(), "proxy-0".to_owned())].into();
        settings.identify(&pod, &["eth0".into(), "eth1".into()]);
        assert_eq!(settings.resource["service.name"], "edge");
        assert_eq!(settings.resource["k8s.pod.name"], "proxy-0");
        assert_eq!(settings.resource["network.interface.name"], "eth0,eth1");
        assert_eq!(settings.resource["service.version"], env!("CARGO_PKG_VERSION"));
    }
}
