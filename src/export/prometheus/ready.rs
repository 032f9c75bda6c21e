//! A histogram whose buckets are counted elsewhere, such as those of the HTTP listener.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// A copy of such a histogram.
#[derive(Debug, Default)]
pub(super) struct ReadyHistogram(Mutex<Counts>);

#[derive(Clone, Debug, Default)]
struct Counts {
    /// Upper bound, the last one infinite, and the values of that bucket alone.
    buckets: Vec<(f64, u64)>,
    sum: f64,
}

impl ReadyHistogram {
    /// Of buckets that contain those before them.
    pub(super) fn of_cumulative(buckets: &[(f64, u64)], sum: f64) -> Self {
        let mut before = 0;
        let alone = buckets.iter().map(|&(bound, up_to)| {
            let here = up_to.saturating_sub(before);
            before = up_to;
            (bound, here)
        });
        Self(Mutex::new(Counts { buckets: alone.collect(), sum }))
    }

    pub(super) fn copy(&self, from: &Self) {
        let from = from.counts();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = from;
    }

    fn counts(&self) -> Counts {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl TypedMetric for ReadyHistogram {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for ReadyHistogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let counts = self.counts();
        let count = counts.buckets.iter().map(|(_, count)| count).sum();
        encoder.encode_histogram::<NoLabelSet>(counts.sum, count, &counts.buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}
