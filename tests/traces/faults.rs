//! Collectors that refuse, break, sleep, die and come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use hyper::header::HeaderValue;
use opentelemetry_sdk::trace::SpanData;
use sidetone::event::Event;
use sidetone::log::privacy::{HashKey, Policy, Treatments};
use sidetone::observer::{self, Observer};
use sidetone::simulate::{Outcome, Plan, Traffic};
use sidetone::trace::export::endpoint::Protocol;
use sidetone::trace::export::{self, Outbox, Settings, Snapshot};
use sidetone::trace::{Sampling, Traces};

use crate::double::{Act, Double};
use crate::patience::within;

/// An exporter at work.
struct Running {
    outbox: Outbox,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

fn settings(double: &Double, protocol: Protocol) -> Settings {
    Settings {
        endpoint: Some(format!("http://{}", double.address).parse().unwrap()),
        protocol: Some(protocol),
        headers: vec![("x-tenant".parse().unwrap(), HeaderValue::from_static("voip"))],
        timeout: Duration::from_secs(20),
        batch_spans: 40,
        delay: Duration::from_millis(5),
        resource: [("service.name".to_owned(), "sidetone".to_owned())].into(),
        ..Settings::default()
    }
}

impl Running {
    fn start(settings: Settings) -> Self {
        let (outbox, exporter) = export::open(settings).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = thread::spawn(move || exporter.run(&told));
        Self { outbox, stop, thread }
    }

    fn put(&self, calls: &[Vec<SpanData>]) -> usize {
        for call in calls {
            self.outbox.put(call.clone());
        }
        calls.iter().map(Vec::len).sum()
    }

    fn counts(&self) -> Snapshot {
        self.outbox.counters()
    }

    fn end(self) -> Snapshot {
        self.stop.store(true, Ordering::Release);
        self.thread.join().unwrap();
        self.outbox.counters()
    }
}

/// The spans of so many calls, call by call.
fn calls(count: u32) -> Vec<Vec<SpanData>> {
    let outcomes = vec![Outcome::Answered, Outcome::Busy, Outcome::Cancelled, Outcome::Challenged];
    let plan = Plan { calls: count, outcomes, duration: 0.5, ..Plan::default() };
    let mut observer = observer::Settings::default();
    observer.calls.trails = true;
    let (mut observer, mut traffic) = (Observer::new(observer), Traffic::new(plan).unwrap());
    let users = Policy::new(Treatments::SENT, Arc::new(HashKey::new(b"key")));
    let sampling = Sampling { ratio: 1.0, ..Sampling::default() };
    let mut traces = Traces::new(&sidetone::trace::Settings { vantage: "here".into(), sampling, users });
    let mut spans = Vec::new();
    let mut sink = |event: Event| spans.push(traces.take(&event));
    while let Some(frame) = traffic.next_frame() {
        observer.packets(&[frame], &mut sink);
    }
    observer.finish(&mut sink);
    spans.retain(|call| !call.is_empty());
    assert_eq!(spans.len(), count as usize);
    spans
}

const UNAVAILABLE: u32 = 14;
const EXHAUSTED: u32 = 8;
const INVALID: u32 = 3;

/// What passes, passes; each span arrives, and the same one if it does so again.
#[test]
fn what_a_collector_will_take_later_is_sent_again_until_it_does() {
    let passing = [
        (
            Protocol::Grpc,
            vec![Act::Grpc(UNAVAILABLE, None), Act::Grpc(EXHAUSTED, Some(1)), Act::Cut, Act::TakeAndCut],
        ),
        (
            Protocol::HttpProtobuf,
            vec![Act::Http(503, None), Act::Http(429, Some("1")), Act::Cut, Act::TakeAndCut],
        ),
    ];
    let calls = calls(24);
    for (protocol, acts) in passing {
        let double = Double::start();
        double.next(acts.clone());
        let running = Running::start(settings(&double, protocol));
        let count = running.put(&calls);
        assert!(within(60, || double.distinct() == count), "{protocol:?}: {:?}", running.counts());
        assert!(within(60, || running.counts().sent as usize == count), "{:?}", running.counts());
        let counts = running.end();
        assert_eq!((counts.dropped(), counts.problem), (0, None));
        assert_eq!(counts.failures, acts.len() as u64, "each was counted");
        double.assert_fine();
        let got = double.got.lock().unwrap();
        // The batch that was taken without an answer, and no other.
        let twice = got.spans.values().filter(|times| **times == 2).count();
        assert!((1..=60).contains(&twice) && got.spans.values().all(|times| *times <= 2), "{twice}");
        let waited = got.times[2] - got.times[1];
        assert!(waited >= Duration::from_secs(1), "{protocol:?}: it asked for a second and got {waited:?}");
    }
}

#[test]
fn what_a_collector_will_never_take_is_counted_and_dropped_at_once() {
    for (protocol, act) in [
        (Protocol::HttpProtobuf, Act::Http(400, Some("1"))),
        (Protocol::HttpProtobuf, Act::Http(413, None)),
        (Protocol::Grpc, Act::Grpc(INVALID, None)),
        // Without a time to come back it has no room and will have none.
        (Protocol::Grpc, Act::Grpc(EXHAUSTED, None)),
    ] {
        let double = Double::start();
        double.next([act.clone()]);
        let running = Running::start(settings(&double, protocol));
        let calls = calls(8);
        let first = running.put(&calls[..1]);
        assert!(
            within(30, || running.counts().dropped_refused as usize == first),
            "{act:?} {:?}",
            running.counts()
        );
        assert!(running.counts().problem.is_some(), "and the reason is told");
        let rest = running.put(&calls[1..]);
        assert!(within(30, || running.counts().sent as usize == rest), "{:?}", running.counts());
        assert_eq!(running.end().problem, None);
        assert_eq!(double.distinct(), rest);
        double.assert_fine();
    }
}

#[test]
fn what_a_collector_rejects_of_a_batch_is_counted() {
    for protocol in [Protocol::HttpProtobuf, Protocol::Grpc] {
        let double = Double::start();
        double.next([Act::TakeBut(3)]);
        let running = Running::start(settings(&double, protocol));
        let calls = calls(1);
        let count = running.put(&calls);
        assert!(within(30, || running.counts().dropped_rejected == 3), "{:?}", running.counts());
        let counts = running.end();
        assert_eq!(counts.sent as usize, count - 3);
        assert!(counts.problem.unwrap().contains("too old"));
        assert_eq!(double.got.lock().unwrap().times.len(), 1, "it is not sent again");
    }
}

#[test]
fn a_dead_collector_costs_a_bounded_queue_and_is_found_again() {
    for protocol in [Protocol::HttpProtobuf, Protocol::Grpc] {
        let mut double = Double::start();
        let running = Running::start(Settings { queue_spans: 100, ..settings(&double, protocol) });
        let all = calls(80);
        let (before, during) = all.split_at(4);
        let first = running.put(before);
        assert!(within(30, || running.counts().sent as usize == first), "{:?}", running.counts());
        double.stop();
        let put = during.len();
        let offered = running.put(&during[..put - 4]);
        assert!(within(30, || running.counts().problem.is_some()), "{:?}", running.counts());
        let counts = running.counts();
        assert!(counts.waiting <= 100, "{counts:?}");
        assert!(counts.dropped_full > 0, "{counts:?}");
        double.again();
        let kept = || {
            let counts = running.counts();
            counts.waiting == 0 && (counts.sent + counts.dropped_full) as usize == first + offered
        };
        assert!(within(60, kept), "{offered} {:?}", running.counts());
        let lost = running.counts().dropped_full;
        let last = running.put(&during[put - 4..]);
        assert!(within(30, || double.distinct() as u64 + lost == (first + offered + last) as u64));
        let counts = running.end();
        assert_eq!((counts.dropped(), counts.problem), (lost, None));
        double.assert_fine();
        assert!(double.got.lock().unwrap().spans.values().all(|times| *times == 1), "nothing comes twice");
    }
}

/// With nobody there, asleep, or refusing for long, the end comes in time and what is lost is counted.
#[test]
fn the_end_comes_in_time_whatever_the_collector_does() {
    for protocol in [Protocol::HttpProtobuf, Protocol::Grpc] {
        for act in
            [None, Some(Act::Slow(Duration::from_mins(10))), Some(Act::Http(503, Some("60"))), Some(Act::Cut)]
        {
            let mut double = Double::start();
            match act.clone() {
                Some(act) => double.always(act),
                None => double.stop(),
            }
            let flush = Duration::from_millis(300);
            let running = Running::start(Settings { flush, ..settings(&double, protocol) });
            let count = running.put(&calls(12));
            assert!(within(30, || running.counts().requests > 0));
            let asked = Instant::now();
            let counts = running.end();
            // A machine that is busy has its time.
            assert!(asked.elapsed() < Duration::from_secs(15), "{act:?}: {:?}", asked.elapsed());
            assert_eq!(
                (counts.sent, counts.dropped(), counts.waiting),
                (0, count as u64, 0),
                "{act:?} {counts:?}"
            );
        }
    }
}

/// What waits when the end comes is sent, though its batch was not full.
#[test]
fn at_the_end_what_waits_is_sent() {
    for protocol in [Protocol::HttpProtobuf, Protocol::Grpc] {
        let double = Double::start();
        let running =
            Running::start(Settings { delay: Duration::from_mins(1), ..settings(&double, protocol) });
        let count = running.put(&calls(20));
        let counts = running.end();
        assert_eq!((counts.sent as usize, counts.dropped()), (count, 0), "{counts:?}");
        assert_eq!(double.distinct(), count);
        double.assert_fine();
    }
}

#[test]
fn what_is_tried_for_too_long_is_given_up() {
    let double = Double::start();
    double.always(Act::Http(503, None));
    let retry = Duration::from_millis(800);
    let running = Running::start(Settings { retry, ..settings(&double, Protocol::HttpProtobuf) });
    let calls = calls(2);
    let first = running.put(&calls[..1]);
    assert!(within(60, || running.counts().dropped_late as usize == first), "{:?}", running.counts());
    double.always(Act::Take);
    let second = running.put(&calls[1..]);
    assert!(within(60, || running.counts().sent as usize == second), "{:?}", running.counts());
    running.end();
}
