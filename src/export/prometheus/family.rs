//! Typed handles on prometheus-client families, declared together with their catalogue entry.
//!
//! A family has at most so many label combinations (MEAS 6.6). What would make one more is counted in the
//! combination whose values are all `other`, so that sums stay right, and in `sidetone_metrics_overflow_total`.

use std::borrow::Cow;
use std::cell::Cell;
use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, NativeHistogramConfig};
use prometheus_client::registry::{Metric, Registry};

use super::catalogue::Entry;
use super::ready::ReadyHistogram;

/// Value of a label: closed sets are static, only configured names and codes are owned.
pub(super) type Value = Cow<'static, str>;
pub(super) type Labels<const N: usize> = [(&'static str, Value); N];

pub(super) type Counters<const N: usize> = Series<N, Counter>;
pub(super) type Gauges<const N: usize> = Series<N, Gauge>;
pub(super) type Histograms<const N: usize> = Series<N, Histogram, Bounds>;
/// Counters of seconds.
pub(super) type RealCounters<const N: usize> = Series<N, Counter<f64, AtomicU64>>;
pub(super) type RealGauges<const N: usize> = Series<N, Gauge<f64, AtomicU64>>;
pub(super) type ReadyHistograms<const N: usize> = Series<N, ReadyHistogram>;

/// Where families are declared.
#[derive(Debug)]
pub(super) struct Declare {
    pub(super) registry: Registry,
    pub(super) catalogue: Vec<Entry>,
    series_max: usize,
    overflow: Family<Labels<1>, Counter>,
}

impl Declare {
    /// Families of at most so many label combinations each, two at least.
    pub(super) fn new(series_max: usize) -> Self {
        let mut declare = Self {
            registry: Registry::default(),
            catalogue: Vec::new(),
            series_max: series_max.max(2),
            overflow: Family::default(),
        };
        let help = "Values counted under labels that are all \"other\", because their family has as many label \
                    combinations as it may have";
        declare.registry.register("sidetone_metrics_overflow", help, declare.overflow.clone());
        declare.list("sidetone_metrics_overflow_total".into(), "counter", &["family"], help);
        declare
    }

    /// A counter; `name` without `_total`, which the exposition appends.
    pub(super) fn counter<const N: usize>(
        &mut self,
        name: &'static str,
        keys: &'static [&'static str; N],
        help: &'static str,
    ) -> Counters<N> {
        self.list(format!("{name}_total"), "counter", keys, help);
        self.series(name, keys, help, Family::default())
    }

    /// A counter of something that is not whole; `name` without `_total`.
    pub(super) fn real_counter<const N: usize>(
        &mut self,
        name: &'static str,
        keys: &'static [&'static str; N],
        help: &'static str,
    ) -> RealCounters<N> {
        self.list(format!("{name}_total"), "counter", keys, help);
        self.series(name, keys, help, Family::default())
    }

    pub(super) fn gauge<const N: usize>(
        &mut self,
        name: &'static str,
        keys: &'static [&'static str; N],
        help: &'static str,
    ) -> Gauges<N> {
        self.list(name.to_owned(), "gauge", keys, help);
        self.series(name, keys, help, Family::default())
    }

    /// A gauge of something that is not whole.
    pub(super) fn real_gauge<const N: usize>(
        &mut self,
        name: &'static str,
        keys: &'static [&'static str; N],
        help: &'static str,
    ) -> RealGauges<N> {
        self.list(name.to_owned(), "gauge", keys, help);
        self.series(name, keys, help, Family::default())
    }

    pub(super) fn histogram<const N: usize>(
        &mut self,
        name: &'static str,
        keys: &'static [&'static str; N],
        bounds: &'static [f64],
        help: &'static str,
    ) -> Histograms<N> {
        self.list(name.to_owned(), "histogram", keys, help);
        let family = Family::new_with_constructor(Bounds(bounds));
        Series { bounds, ..self.series(name, keys, help, family) }
    }

    /// A histogram that somebody else keeps.
    pub(super) fn ready_histogram<const N: usize>(
        &mut self,
        name: &'static str,
        keys: &'static [&'static str; N],
        help: &'static str,
    ) -> ReadyHistograms<N> {
        self.list(name.to_owned(), "histogram", keys, help);
        self.series(name, keys, help, Family::default())
    }

    fn series<const N: usize, M, C>(
        &mut self,
        name: &'static str,
        keys: &'static [&'static str; N],
        help: &'static str,
        family: Family<Labels<N>, M, C>,
    ) -> Series<N, M, C>
    where
        Family<Labels<N>, M, C>: Metric + Clone,
    {
        self.registry.register(name, help, family.clone());
        Series {
            name,
            keys,
            family,
            most: self.series_max,
            known: Cell::new(0),
            overflow: self.overflow.clone(),
            bounds: &[],
        }
    }

    pub(super) fn list(
        &mut self,
        name: String,
        kind: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
    ) {
        self.catalogue.push(Entry { name, kind, labels, help });
    }
}

/// One family: a metric for each set of label values.
#[derive(Debug)]
pub(super) struct Series<const N: usize, M, C = fn() -> M> {
    /// As registered.
    pub(super) name: &'static str,
    keys: &'static [&'static str; N],
    family: Family<Labels<N>, M, C>,
    most: usize,
    known: Cell<usize>,
    overflow: Family<Labels<1>, Counter>,
    /// Upper bounds of the buckets of a histogram.
    bounds: &'static [f64],
}

impl<const N: usize, M, C: MetricConstructor<M>> Series<N, M, C> {
    /// Does something to the metric of these values, and tells the labels it has.
    fn with(&self, values: [Value; N], act: impl FnOnce(&M)) -> Labels<N> {
        let labels = labels(self.keys, values);
        if let Some(metric) = self.family.get(&labels) {
            act(&metric);
            return labels;
        }
        let labels = if N == 0 || self.known.get() + 1 < self.most {
            self.known.set(self.known.get() + 1);
            labels
        } else {
            self.overflow.get_or_create(&[("family", Value::Borrowed(self.name))]).inc();
            labels.map(|(key, _)| (key, Value::Borrowed(OTHER)))
        };
        act(&self.family.get_or_create(&labels));
        labels
    }

    /// Forgets all label values.
    pub(super) fn clear(&self) {
        self.family.clear();
        self.known.set(0);
    }
}

impl<const N: usize> Counters<N> {
    pub(super) fn add(&self, values: [Value; N], count: u64) -> Option<Labels<N>> {
        (count > 0).then(|| {
            self.with(values, |counter| {
                counter.inc_by(count);
            })
        })
    }

    /// Sets it to what is counted elsewhere; it never falls.
    pub(super) fn rise_to(&self, values: [Value; N], total: u64) {
        self.with(values, |counter| {
            counter.inc_by(total.saturating_sub(counter.get()));
        });
    }
}

impl<const N: usize> RealCounters<N> {
    /// Sets it to what is counted elsewhere; it never falls.
    pub(super) fn rise_to(&self, values: [Value; N], total: f64) {
        self.with(values, |counter| {
            counter.inc_by((total - counter.get()).max(0.0));
        });
    }
}

impl<const N: usize> Gauges<N> {
    pub(super) fn raise(&self, values: [Value; N]) {
        self.raise_by(values, 1);
    }

    /// More of what was counted since the family was cleared.
    pub(super) fn raise_by(&self, values: [Value; N], more: usize) {
        self.with(values, |gauge| {
            gauge.inc_by(more as i64);
        });
    }

    pub(super) fn set(&self, values: [Value; N], to: u64) {
        self.with(values, |gauge| {
            gauge.set(i64::try_from(to).unwrap_or(i64::MAX));
        });
    }
}

impl<const N: usize> RealGauges<N> {
    pub(super) fn set(&self, values: [Value; N], to: f64) {
        self.with(values, |gauge| {
            gauge.set(to);
        });
    }
}

impl<const N: usize> Histograms<N> {
    /// Takes one value; an absent or non-finite one is not an observation.
    pub(super) fn observe(&self, values: [Value; N], value: Option<f64>) -> Option<Labels<N>> {
        let value = value.filter(|value| value.is_finite())?;
        Some(self.with(values, |histogram| histogram.observe(value)))
    }

    /// The labels that an observation under these values is counted under.
    pub(super) fn place(&self, values: [Value; N]) -> Labels<N> {
        self.with(values, |_| ())
    }

    /// Upper bound of the bucket a value falls into; infinite for the last one.
    pub(super) fn bucket(&self, value: f64) -> f64 {
        self.bounds.iter().copied().find(|bound| value <= *bound).unwrap_or(f64::INFINITY)
    }
}

impl<const N: usize> ReadyHistograms<N> {
    pub(super) fn copy(&self, values: [Value; N], histogram: &ReadyHistogram) {
        self.with(values, |kept| kept.copy(histogram));
    }
}

fn labels<const N: usize>(keys: &'static [&'static str; N], values: [Value; N]) -> Labels<N> {
    let mut keys = keys.iter();
    values.map(|value| (keys.next().copied().unwrap_or_default(), value))
}

/// Upper bounds of the buckets of one histogram family.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds(&'static [f64]);

impl MetricConstructor<Histogram> for Bounds {
    /// The native buckets, which only protobuf shows, are bounded too: beyond that they grow coarser.
    fn new_metric(&self) -> Histogram {
        let native = NativeHistogramConfig::new(NATIVE_FACTOR).max_buckets(NATIVE_BUCKETS);
        Histogram::new_classic_and_native(self.0.iter().copied(), native)
    }
}

const OTHER: &str = "other";
/// Each native bucket is at most this much wider than the one before.
const NATIVE_FACTOR: f64 = 1.1;
const NATIVE_BUCKETS: usize = 160;

#[cfg(test)]
mod tests {
    use super::*;

    fn written(declare: &Declare) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &declare.registry).unwrap();
        text
    }

    #[test]
    fn a_full_family_counts_the_rest_as_other() {
        let mut declare = Declare::new(3);
        let counters = declare.counter("things", &["tenant", "route"], "Things");
        for number in 0..10 {
            counters.add([number.to_string().into(), "r".into()], 2);
        }
        counters.add(["1".into(), "r".into()], 5);
        let text = written(&declare);
        let series: Vec<_> = text.lines().filter(|line| line.starts_with("things_total{")).collect();
        assert_eq!(series.len(), 3, "{text}");
        assert!(text.contains("things_total{tenant=\"1\",route=\"r\"} 7\n"));
        assert!(text.contains("things_total{tenant=\"other\",route=\"other\"} 16\n"));
        assert!(text.contains("sidetone_metrics_overflow_total{family=\"things\"} 8\n"), "{text}");
    }

    #[test]
    fn a_cleared_family_has_room_again() {
        let mut declare = Declare::new(2);
        let gauges = declare.gauge("up", &["route"], "Up");
        for round in 0..3 {
            gauges.clear();
            gauges.raise([format!("r{round}").into()]);
        }
        let text = written(&declare);
        assert!(text.contains("up{route=\"r2\"} 1\n") && !text.contains("r1"), "{text}");
    }

    #[test]
    fn a_counter_kept_elsewhere_never_falls() {
        let mut declare = Declare::new(10);
        let counters = declare.counter("kept", &[], "Kept");
        let seconds = declare.real_counter("worked_seconds", &[], "Worked");
        for total in [3, 7, 2] {
            counters.rise_to([], total);
            seconds.rise_to([], total as f64 / 2.0);
        }
        let text = written(&declare);
        assert!(text.contains("kept_total{} 7\n") && text.contains("worked_seconds_total{} 3.5\n"), "{text}");
    }
}
