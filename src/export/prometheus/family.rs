//! Typed handles on prometheus-client families, declared together with their catalogue entry.

use std::borrow::Cow;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::catalogue::Entry;

/// Value of a label: closed sets are static, only configured names and codes are owned.
pub(super) type Value = Cow<'static, str>;
type Labels<const N: usize> = [(&'static str, Value); N];

/// Where families are declared.
#[derive(Debug, Default)]
pub(super) struct Declare {
    pub(super) registry: Registry,
    pub(super) catalogue: Vec<Entry>,
}

impl Declare {
    /// A counter; `name` without `_total`, which the exposition appends.
    pub(super) fn counter<const N: usize>(
        &mut self,
        name: &str,
        keys: &'static [&'static str; N],
        help: &'static str,
    ) -> Counters<N> {
        let family = Family::<Labels<N>, Counter>::default();
        self.registry.register(name, help, family.clone());
        self.list(format!("{name}_total"), "counter", keys, help);
        Counters { family, keys }
    }

    pub(super) fn gauge<const N: usize>(
        &mut self,
        name: &str,
        keys: &'static [&'static str; N],
        help: &'static str,
    ) -> Gauges<N> {
        let family = Family::<Labels<N>, Gauge>::default();
        self.registry.register(name, help, family.clone());
        self.list(name.to_owned(), "gauge", keys, help);
        Gauges { family, keys }
    }

    pub(super) fn histogram<const N: usize>(
        &mut self,
        name: &str,
        keys: &'static [&'static str; N],
        bounds: &'static [f64],
        help: &'static str,
    ) -> Histograms<N> {
        let family = Family::<Labels<N>, Histogram, Bounds>::new_with_constructor(Bounds(bounds));
        self.registry.register(name, help, family.clone());
        self.list(name.to_owned(), "histogram", keys, help);
        Histograms { family, keys }
    }

    fn list(
        &mut self,
        name: String,
        kind: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
    ) {
        self.catalogue.push(Entry { name, kind, labels, help });
    }
}

/// A counter for each set of label values.
#[derive(Debug)]
pub(super) struct Counters<const N: usize> {
    family: Family<Labels<N>, Counter>,
    keys: &'static [&'static str; N],
}

impl<const N: usize> Counters<N> {
    pub(super) fn add(&self, values: [Value; N], count: u64) {
        if count > 0 {
            self.family.get_or_create(&labels(self.keys, values)).inc_by(count);
        }
    }

    /// Raises it to what somebody else has counted.
    pub(super) fn reach(&self, values: [Value; N], total: u64) {
        if total > 0 {
            let counter = self.family.get_or_create(&labels(self.keys, values));
            counter.inc_by(total.saturating_sub(counter.get()));
        }
    }
}

/// A gauge for each set of label values.
#[derive(Debug)]
pub(super) struct Gauges<const N: usize> {
    family: Family<Labels<N>, Gauge>,
    keys: &'static [&'static str; N],
}

impl<const N: usize> Gauges<N> {
    pub(super) fn raise(&self, values: [Value; N]) {
        self.family.get_or_create(&labels(self.keys, values)).inc();
    }

    pub(super) fn set(&self, values: [Value; N], to: usize) {
        self.family.get_or_create(&labels(self.keys, values)).set(to as i64);
    }

    /// Forgets all label values.
    pub(super) fn clear(&self) {
        self.family.clear();
    }
}

/// A histogram for each set of label values.
#[derive(Debug)]
pub(super) struct Histograms<const N: usize> {
    family: Family<Labels<N>, Histogram, Bounds>,
    keys: &'static [&'static str; N],
}

impl<const N: usize> Histograms<N> {
    /// Takes one value; an absent or non-finite one is not an observation.
    pub(super) fn observe(&self, values: [Value; N], value: Option<f64>) {
        if let Some(value) = value.filter(|value| value.is_finite()) {
            self.family.get_or_create(&labels(self.keys, values)).observe(value);
        }
    }
}

fn labels<const N: usize>(keys: &'static [&'static str; N], values: [Value; N]) -> Labels<N> {
    let mut keys = keys.iter();
    values.map(|value| (keys.next().copied().unwrap_or_default(), value))
}

/// Upper bounds of the buckets of one histogram family.
#[derive(Clone, Copy, Debug)]
struct Bounds(&'static [f64]);

impl MetricConstructor<Histogram> for Bounds {
    fn new_metric(&self) -> Histogram {
        Histogram::new(self.0.iter().copied())
    }
}
