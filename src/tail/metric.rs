//! Metrics that rules make of lines: families with names, labels and buckets of the configuration's own.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Display};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use foldhash::fast::RandomState;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

type Labels = Vec<(String, String)>;

/// What a family is.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Rises by one with each line, or by a value of it.
    Counter {
        /// Values need not be whole.
        sums: bool,
    },
    /// Stands at the last value.
    Gauge,
    /// Counts values in buckets with these upper bounds.
    Histogram(Vec<f64>),
}

/// What is configured of one family.
#[derive(Clone, Debug, PartialEq)]
pub struct Declared {
    /// As it is scraped.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// A sentence without its full stop.
    pub help: String,
    /// Names of its labels.
    pub labels: Vec<String>,
    /// Label combinations at most.
    pub series_max: usize,
}

/// All families of all rules, written beside the agent's own.
#[derive(Debug, Default)]
pub struct Families {
    registry: Registry,
    by_name: BTreeMap<String, Series>,
    overflow: AtomicU64,
}

/// One family.
#[derive(Debug)]
pub(super) struct Series {
    metric: Metric,
    labels: Vec<String>,
    most: usize,
    /// By the values of its labels: one that is there is found without a copy of them.
    handles: Mutex<HashMap<Vec<String>, Handle, RandomState>>,
}

/// One series.
#[derive(Clone, Debug)]
enum Handle {
    Counts(Counter),
    Sums(Counter<f64, AtomicU64>),
    Gauge(Gauge<f64, AtomicU64>),
    Histogram(Histogram),
}

#[derive(Debug)]
enum Metric {
    Counts(Family<Labels, Counter>),
    Sums(Family<Labels, Counter<f64, AtomicU64>>),
    Gauge(Family<Labels, Gauge<f64, AtomicU64>>),
    Histogram(Family<Labels, Histogram, Bounds>),
}

#[derive(Clone, Debug)]
struct Bounds(Vec<f64>);

impl MetricConstructor<Histogram> for Bounds {
    fn new_metric(&self) -> Histogram {
        Histogram::new(self.0.iter().copied())
    }
}

impl Families {
    /// Declares each family once; the first declaration of a name counts.
    pub fn new(declared: &[Declared]) -> Self {
        let mut families = Self::default();
        for Declared { name, kind, help, labels, series_max } in declared {
            if families.by_name.contains_key(name) {
                continue;
            }
            // prometheus-client appends it again.
            let stem = name.strip_suffix("_total").unwrap_or(name);
            let registry = &mut families.registry;
            let metric = match kind {
                Kind::Counter { sums: false } => {
                    let family = Family::default();
                    registry.register(stem, help, family.clone());
                    Metric::Counts(family)
                }
                Kind::Counter { sums: true } => {
                    let family = Family::default();
                    registry.register(stem, help, family.clone());
                    Metric::Sums(family)
                }
                Kind::Gauge => {
                    let family = Family::default();
                    registry.register(name, help, family.clone());
                    Metric::Gauge(family)
                }
                Kind::Histogram(bounds) => {
                    let family = Family::new_with_constructor(Bounds(bounds.clone()));
                    registry.register(name, help, family.clone());
                    Metric::Histogram(family)
                }
            };
            let series = Series {
                metric,
                labels: labels.clone(),
                most: (*series_max).max(2),
                handles: Mutex::default(),
            };
            families.by_name.insert(name.clone(), series);
        }
        families
    }

    /// For the exposition.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Values that were counted under `other`, because their family had as many series as it may have.
    pub fn overflow(&self) -> u64 {
        self.overflow.load(Ordering::Relaxed)
    }

    /// Takes a value under these label values; `None` is one more.
    pub(super) fn take(&self, name: &str, values: Vec<String>, value: Option<f64>) {
        let Some(series) = self.by_name.get(name) else { return };
        let mut handles = series.handles.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(handle) = handles.get(&values) {
            return handle.take(value);
        }
        // One place is kept for what there is no place for.
        if handles.len() + 1 < series.most || values.is_empty() {
            let handle = series.handle(&values);
            handle.take(value);
            handles.insert(values, handle);
        } else {
            self.overflow.fetch_add(1, Ordering::Relaxed);
            series.handle(&vec![OTHER.to_owned(); values.len()]).take(value);
        }
    }
}

impl Series {
    fn handle(&self, values: &[String]) -> Handle {
        let labels: Labels = self.labels.iter().cloned().zip(values.iter().cloned()).collect();
        match &self.metric {
            Metric::Counts(family) => Handle::Counts(family.get_or_create_owned(&labels)),
            Metric::Sums(family) => Handle::Sums(family.get_or_create_owned(&labels)),
            Metric::Gauge(family) => Handle::Gauge(family.get_or_create_owned(&labels)),
            Metric::Histogram(family) => Handle::Histogram(family.get_or_create_owned(&labels)),
        }
    }
}

impl Handle {
    fn take(&self, value: Option<f64>) {
        let value = value.unwrap_or(1.0);
        match self {
            Self::Counts(counter) => drop(counter.inc()),
            Self::Sums(counter) => drop(counter.inc_by(value)),
            Self::Gauge(gauge) => drop(gauge.set(value)),
            Self::Histogram(histogram) => histogram.observe(value),
        }
    }
}

/// Whether a family may have this name, beside those that the agent has (`taken`, as they are scraped).
pub fn check_name(name: &str, kind: &Kind, taken: &[String]) -> Result<(), String> {
    let mut letters = name.chars();
    let begins = letters.next().is_some_and(|letter| letter.is_ascii_lowercase() || letter == '_');
    if !begins || !letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_') {
        return Err(format!(
            "{name:?} is no name of a metric: letters, digits and _, the first one a small letter"
        ));
    }
    if let Some(own) = OWN.iter().find(|own| name.starts_with(**own)) {
        return Err(format!("names that begin with {own} are the agent's own"));
    }
    if matches!(kind, Kind::Counter { .. }) != name.ends_with("_total") {
        return Err("counters end in _total, and nothing else does".into());
    }
    if let Some(suffix) = SUFFIXES.iter().find(|suffix| name.ends_with(**suffix)) {
        return Err(format!("{suffix} at its end would be taken for a part of another family"));
    }
    if taken.iter().any(|own| own == name) {
        return Err(format!("{name} is one of the agent's own"));
    }
    Ok(())
}

/// `counter`, `gauge`, `histogram`
impl Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Counter { .. } => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        })
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "counter" => Ok(Self::Counter { sums: false }),
            "gauge" => Ok(Self::Gauge),
            "histogram" => Ok(Self::Histogram(USUAL_BOUNDS.to_vec())),
            _ => Err(format!("{text:?} is none of counter, gauge, histogram")),
        }
    }
}

const OTHER: &str = "other";
const OWN: [&str; 2] = ["sidetone_", "voip_"];
const SUFFIXES: [&str; 5] = ["_bucket", "_sum", "_count", "_created", "_info"];
/// Seconds, as for most things that programs do.
const USUAL_BOUNDS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

#[cfg(test)]
mod tests {
    use super::*;

    fn written(families: &Families) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, families.registry()).unwrap();
        text
    }

    fn declared(name: &str, kind: Kind) -> Declared {
        Declared { name: name.into(), kind, help: "Help".into(), labels: vec!["a".into()], series_max: 3 }
    }

    #[test]
    fn families_are_written_as_others_are() {
        let families = Families::new(&[
            declared("chat_total", Kind::Counter { sums: false }),
            declared("cost_total", Kind::Counter { sums: true }),
            declared("depth", Kind::Gauge),
            declared("took_seconds", Kind::Histogram(vec![1.0, 5.0])),
        ]);
        for value in [0.5, 2.0] {
            for name in ["chat_total", "cost_total", "depth", "took_seconds"] {
                families.take(name, vec!["x".into()], Some(value));
            }
        }
        let text = written(&families);
        for line in [
            "# HELP chat Help.\n# TYPE chat counter\nchat_total{a=\"x\"} 2\n",
            "cost_total{a=\"x\"} 2.5\n",
            "depth{a=\"x\"} 2.0\n",
            "took_seconds_bucket{le=\"1.0\",a=\"x\"} 1\n",
            "took_seconds_sum{a=\"x\"} 2.5\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
    }

    #[test]
    fn labels_are_capped_and_sums_stay_right() {
        let families = Families::new(&[declared("chat_total", Kind::Counter { sums: false })]);
        for number in 0..10 {
            families.take("chat_total", vec![number.to_string()], None);
        }
        let text = written(&families);
        assert_eq!(text.matches("chat_total{").count(), 3);
        assert!(text.contains("chat_total{a=\"other\"} 8\n"), "{text}");
        assert_eq!(families.overflow(), 8);
    }

    #[test]
    fn names_are_checked() {
        let taken = ["sip_sessions_active".to_owned()];
        let counter = Kind::Counter { sums: false };
        assert_eq!(check_name("chat_requests_total", &counter, &taken), Ok(()));
        for (name, kind) in [
            ("chat_requests", &counter),
            ("chat_total", &Kind::Gauge),
            ("1a", &Kind::Gauge),
            ("a-b", &Kind::Gauge),
            ("sidetone_x", &Kind::Gauge),
            ("voip_x", &Kind::Gauge),
            ("a_bucket", &Kind::Gauge),
            ("sip_sessions_active", &Kind::Gauge),
            ("", &Kind::Gauge),
        ] {
            assert!(check_name(name, kind, &taken).is_err(), "{name}");
        }
    }
}
