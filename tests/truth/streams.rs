//! Streams against the recomputation, number by number.

use std::collections::BTreeMap;
use std::fmt;

use sidetone::event::Stream;
use sidetone::wire::Endpoint;

use crate::tables::{Row, Table};

/// A 5-tuple and an SSRC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Key {
    pub(crate) ssrc: u32,
    pub(crate) source: Endpoint,
    pub(crate) destination: Endpoint,
}

/// What is compared. Jitter in milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Numbers {
    pub(crate) packets: u64,
    pub(crate) expected: u64,
    pub(crate) lost: u64,
    /// Repeated sequence numbers, whether the network repeated them or the capture did.
    pub(crate) duplicates: u64,
    pub(crate) last_jitter: Option<f64>,
    pub(crate) max_jitter: Option<f64>,
}

/// One number that differs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Difference {
    pub(crate) field: &'static str,
    truth: f64,
    measured: Option<f64>,
}

impl Key {
    pub(crate) fn of(stream: &Stream) -> Self {
        Self { ssrc: hexadecimal(&stream.ssrc), source: stream.source, destination: stream.destination }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010x} {} > {}", self.ssrc, self.source, self.destination)
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, truth, measured } = self;
        match measured {
            Some(measured) => write!(f, "{field} {measured} instead of {truth}"),
            None => write!(f, "no {field} instead of {truth}"),
        }
    }
}

impl Numbers {
    /// The "RFC 3550 recomputation" of a truth file.
    pub(crate) fn recomputed(table: &Table) -> BTreeMap<Key, Self> {
        table.rows().map(|row| (recomputed_key(row), Self::of_row(row))).collect()
    }

    fn of_row(row: Row<'_>) -> Self {
        Self {
            packets: row.number("unique").unwrap(),
            expected: row.number("expected").unwrap(),
            lost: row.number("lost").unwrap(),
            duplicates: row.number("dup").unwrap(),
            last_jitter: row.number("last_jitter_ms"),
            max_jitter: row.number("max_jitter_ms"),
        }
    }

    /// What tshark's `rtp,streams` prints: it counts duplicates as received, and no jitter at the end.
    pub(crate) fn listed(text: &str) -> BTreeMap<Key, Self> {
        text.lines().filter_map(listed_stream).collect()
    }

    /// The streams reported; a 5-tuple and SSRC that came back after a long silence is one here.
    pub(crate) fn measured(streams: &[Stream]) -> BTreeMap<Key, Self> {
        let mut all: BTreeMap<Key, Self> = BTreeMap::new();
        for stream in streams {
            let sum = all.entry(Key::of(stream)).or_default();
            sum.packets += stream.packets;
            sum.expected += stream.expected;
            sum.lost += stream.lost;
            sum.duplicates += stream.duplicates + stream.capture_duplicates;
            if let Some(jitter) = stream.jitter {
                sum.last_jitter = Some(jitter.last * 1e3);
                sum.max_jitter = Some(sum.max_jitter.unwrap_or_default().max(jitter.max * 1e3));
            }
        }
        all
    }

    /// Where `measured` is not what `self`, the truth, says.
    pub(crate) fn differences(&self, measured: &Self) -> Vec<Difference> {
        let count = |field, truth: u64, measured: u64| {
            (truth != measured).then_some(Difference {
                field,
                truth: truth as f64,
                measured: Some(measured as f64),
            })
        };
        let jitter = |field, truth: Option<f64>, measured: Option<f64>| {
            let truth = truth?;
            let close = measured.is_some_and(|measured| {
                (measured - truth).abs() <= (truth * JITTER_TOLERANCE).max(MICROSECOND_MS)
            });
            (!close).then_some(Difference { field, truth, measured })
        };
        [
            count("packets", self.packets, measured.packets),
            count("expected", self.expected, measured.expected),
            count("lost", self.lost, measured.lost),
            count("duplicates", self.duplicates, measured.duplicates),
            jitter("jitter.last", self.last_jitter, measured.last_jitter),
            jitter("jitter.max", self.max_jitter, measured.max_jitter),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

impl Difference {
    /// Is it that no jitter was measured where the truth has one?
    pub(crate) fn is_absent_jitter(&self) -> bool {
        self.field.starts_with("jitter") && self.measured.is_none()
    }
}

fn recomputed_key(row: Row<'_>) -> Key {
    Key {
        ssrc: hexadecimal(row.text("ssrc")),
        source: row.endpoint("src", "sport"),
        destination: row.endpoint("dst", "dport"),
    }
}

/// `start end ip port ip port 0xSSRC payload packets lost (0.0%) delta delta delta jitter jitter jitter`.
fn listed_stream(line: &str) -> Option<(Key, Numbers)> {
    let cells: Vec<&str> = line.split_whitespace().collect();
    let at = cells.iter().position(|cell| cell.starts_with("0x"))?;
    let endpoint = |from: usize| {
        Some(Endpoint { ip: cells.get(from)?.parse().ok()?, port: cells.get(from + 1)?.parse().ok()? })
    };
    let key = Key {
        ssrc: hexadecimal(cells.get(at)?),
        source: endpoint(at.checked_sub(4)?)?,
        destination: endpoint(at.checked_sub(2)?)?,
    };
    // A payload name may be of several words; the share of lost packets in brackets is one.
    let share = cells.iter().position(|cell| cell.starts_with('('))?;
    let packets: u64 = cells.get(share - 2)?.parse().ok()?;
    let lost: u64 = cells.get(share - 1)?.parse().ok()?;
    let numbers = Numbers {
        packets,
        expected: packets + lost,
        lost,
        duplicates: 0,
        last_jitter: None,
        max_jitter: cells.get(share + 6)?.parse().ok(),
    };
    Some((key, numbers))
}

pub(crate) fn hexadecimal(text: &str) -> u32 {
    u32::from_str_radix(text.trim_start_matches("0x"), 16).unwrap()
}

const JITTER_TOLERANCE: f64 = 0.01;
/// The resolution of the captures' time stamps, and the last digit of the tables.
const MICROSECOND_MS: f64 = 0.001;
