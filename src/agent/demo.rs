//! `sidetone demo`: calls that nobody made, through everything that real ones go through behind the capture.
//!
//! ```text
//! simulate::Traffic, several lines -> frames as they are due -> Observer -> facts thread, HTTP     (as in `run`)
//! ```

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::Duration;

use crossbeam_channel::Sender;

use super::shared::{Fact, Shared};
use super::tap::{SNAPSHOT_NANOS, is_due, now, publish, tell};
use super::{EVENT_QUEUE, EX_IOERR, Failure, Settings, attend, code, drop_privileges, spawn, web_config};
use crate::Stamp;
use crate::config::Config;
use crate::http::{BindError, DEFAULT_ADDRESS, Listeners};
use crate::observer::{self, Observer};
use crate::rtp::payload::Codec;
use crate::simulate::{Plan, Traffic};

/// Runs until SIGTERM or SIGINT; returns the exit code.
pub fn demo(config: Config) -> u8 {
    code(start(config))
}

fn start(config: Config) -> Result<(), Failure> {
    let settings = config.agent;
    let web = web_config(&settings)?;
    let broken = |text| Failure { text, code: EX_IOERR };
    let listeners = bind(&settings.listen).map_err(|error| broken(error.to_string()))?;
    drop_privileges()?;
    let (events, facts) = crossbeam_channel::bounded(EVENT_QUEUE);
    let shared = Arc::new(Shared::default());
    let stage = Stage::new(config.observer, events, Arc::clone(&shared)).map_err(broken)?;
    let playing = spawn("demo", move || stage.run())?;
    attend(&shared, facts, playing, listeners, web, |listeners| say(&settings, listeners))
}

/// The usual port may be taken, by an agent that runs for one; any other will do, unless one was asked for.
fn bind(addresses: &[SocketAddr]) -> Result<Listeners, BindError> {
    match Listeners::bind(addresses) {
        Err(error) if error.is_in_use() && addresses == [DEFAULT_ADDRESS] => {
            Listeners::bind(&[SocketAddr::from((Ipv4Addr::LOCALHOST, 0))])
        }
        bound => bound,
    }
}

fn say(settings: &Settings, listeners: &Listeners) {
    let mut stderr = io::stderr().lock();
    // Nobody is left to be told when standard error is closed.
    let _ = writeln!(stderr, "sidetone {} plays calls that nobody made", env!("CARGO_PKG_VERSION"));
    let scheme = if settings.web_config.is_some() { "see web_config" } else { "http" };
    for address in listeners.addresses() {
        for page in ["", "metrics", "api/calls", "api/streams?limit=10", "health?detailed=true"] {
            let _ = writeln!(stderr, "sidetone: {scheme}://{address}/{page}");
        }
    }
    let _ = writeln!(stderr, "sidetone: Ctrl-C ends it");
}

/// Owns the traffic and all call and stream state.
struct Stage {
    lines: Vec<Traffic>,
    observer: Observer,
    events: Sender<Fact>,
    shared: Arc<Shared>,
    next_snapshot: Stamp,
}

impl Stage {
    fn new(settings: observer::Settings, events: Sender<Fact>, shared: Arc<Shared>) -> Result<Self, String> {
        let start = now().plus_nanos(-HISTORY_NANOS);
        let lines = plans(start).map(Traffic::new).into_iter().collect::<Result<_, _>>();
        Ok(Self {
            lines: lines.map_err(|error| error.to_string())?,
            observer: Observer::new(settings),
            events,
            shared,
            next_snapshot: Stamp(0),
        })
    }

    /// Until it is told to stop; then everything open becomes final.
    fn run(mut self) {
        while !self.shared.stop.load(Ordering::Acquire) {
            let now = now();
            self.play(now);
            if self.shared.wanted.load(Ordering::Acquire)
                && is_due(&mut self.next_snapshot, now, SNAPSHOT_NANOS)
            {
                self.shared.wanted.store(false, Ordering::Release);
                self.publish();
            }
            sleep(STEP);
        }
        let Self { observer, events, shared, .. } = &mut self;
        observer.finish(&mut |event| tell(events, shared, event));
        self.publish();
    }

    /// Hands over what is due by `now`, all lines in order of time.
    fn play(&mut self, now: Stamp) {
        let Self { lines, observer, events, shared, .. } = self;
        let mut sink = |event| tell(events, shared, event);
        loop {
            let due = lines.iter_mut().filter_map(|line| line.due().map(|due| (due, line)));
            let Some((_, line)) = due.min_by_key(|(due, _)| *due).filter(|(due, _)| *due <= now) else {
                break;
            };
            if let Some(frame) = line.next_frame() {
                observer.packets(&[frame], &mut sink);
            }
        }
        observer.tick(now, &mut sink);
        for line in lines {
            // Nobody asks what the calls were really like; it must not pile up.
            let _ = line.take_truth();
        }
    }

    fn publish(&self) {
        publish(&self.observer, &self.events, &self.shared);
    }
}

/// An office, its people on Wi-Fi, and a trunk that is full.
fn plans(start: Stamp) -> [Plan; 3] {
    let line = |first: u32| Plan {
        calls: FOR_EVER,
        first,
        start,
        seed: start.0,
        duration: 45.0,
        rate: 0.1,
        ..Plan::default()
    };
    [
        Plan { rate: 0.5, mix: 15.0, registrations: FOR_EVER, ..line(0) },
        Plan { codec: Codec::Opus, jitter: 20.0, loss: 0.5, reorder: 0.5, ..line(1_000_000) },
        Plan { codec: Codec::G729, loss: 4.0, burst: 4.0, ..line(2_000_000) },
    ]
}

/// Calls and registrations are numbered in 32 bits together.
const FOR_EVER: u32 = 1 << 31;
/// What has been before it starts, so that there is something to see at once.
const HISTORY_NANOS: i64 = 60_000_000_000;
/// From one look at what is due to the next.
const STEP: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, Sink};

    #[test]
    fn it_plays_good_calls_and_bad_ones_as_time_passes() {
        let (events, facts) = crossbeam_channel::bounded(EVENT_QUEUE);
        let mut stage = Stage::new(observer::Settings::default(), events, Arc::default()).unwrap();
        let start = now();
        stage.play(start);
        let up = stage.observer.live();
        assert!(up.calls.len() > 5 && up.streams.len() > 10, "{} calls", up.calls.len());
        let packets = up.totals.packets;
        stage.play(start.plus_seconds(60));
        assert!(stage.observer.live().totals.packets > packets);
        drop(stage);
        let (mut calls, mut registrations, mut lossy) = (0, 0, 0);
        let mut sink = |event| match event {
            Event::Call(_) => calls += 1,
            Event::Registration(_) => registrations += 1,
            Event::Stream(stream) => lossy += u32::from(stream.loss_ratio.is_some_and(|ratio| ratio > 0.01)),
            _ => {}
        };
        for fact in facts {
            if let Fact::Event(event) = fact {
                sink.event(event);
            }
        }
        assert!(calls > 20 && registrations > 20 && lossy > 2, "{calls} {registrations} {lossy}");
    }

    #[test]
    fn a_port_that_is_taken_does_not_stop_it() {
        let usual = Listeners::bind(&[DEFAULT_ADDRESS]);
        assert!(bind(&[DEFAULT_ADDRESS]).is_ok());
        drop(usual);
    }
}
