//! `sidetone demo`: calls that nobody made, through everything that real ones go through behind the capture.
//!
//! ```text
//! simulate::Traffic, several lines -> frames as they are due -> Observer -> facts thread, HTTP     (as in `run`)
//! ```

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::RawFd;

use super::clock::now;
use super::sources::{self, Sources};
use super::{Failure, Origin, Settings, attend, code};
use crate::Stamp;
use crate::capture::Take;
use crate::capture::hep::Listen;
use crate::capture::live::{Interface, Live};
use crate::capture::ring::Socket;
use crate::config::Config;
use crate::http::{BindError, DEFAULT_ADDRESS, Listeners, WebConfig};
use crate::rtp::payload::Codec;
use crate::sandbox::Report;
use crate::simulate::{self, Plan, Traffic};

/// Runs until SIGTERM or SIGINT; returns the exit code.
pub fn demo(config: Config, origin: Origin) -> u8 {
    code(start(config, origin))
}

fn start(mut config: Config, origin: Origin) -> Result<(), Failure> {
    let listeners = bind(&config.agent.listen).map_err(Failure::broken)?;
    let stage = Stage::new(now().plus_nanos(-HISTORY_NANOS)).map_err(Failure::broken)?;
    config.agent.capture = sources::Settings { interfaces: vec![NAME.into()], ..config.agent.capture };
    // What is shown on the terminal is where to look, and not each call.
    let usual = crate::log::Settings::default().places;
    if config.agent.logs.places == usual {
        config.agent.logs.places = [vec![], vec![], vec![]];
    }
    let sources = Sources::of(config.agent.capture.clone(), vec![Box::new(stage)]);
    attend(config, origin, sources, listeners, None, say)
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

fn say(_: &Settings, listeners: &Listeners, _: &[Listen], web: &WebConfig, _: &Report) {
    let mut stderr = io::stderr().lock();
    // Nobody is left to be told when standard error is closed.
    let _ = writeln!(stderr, "sidetone {} plays calls that nobody made", env!("CARGO_PKG_VERSION"));
    let scheme = if web.is_tls() { "https" } else { "http" };
    for address in listeners.addresses() {
        for page in ["", "metrics", "api/calls", "api/streams?limit=10", "health?detailed=true"] {
            let _ = writeln!(stderr, "sidetone: {scheme}://{address}/{page}");
        }
    }
    let _ = writeln!(stderr, "sidetone: Ctrl-C ends it");
}

/// Where the calls are played: a tap that needs no wire.
#[derive(Debug)]
struct Stage {
    name: Interface,
    lines: Vec<Traffic>,
}

impl Stage {
    fn new(start: Stamp) -> Result<Self, simulate::Error> {
        let lines = plans(start).map(Traffic::new).into_iter().collect::<Result<_, _>>()?;
        Ok(Self { name: NAME.into(), lines })
    }

    /// Hands over what is due by `now`, all lines in order of time; false when that is nothing.
    fn play(&mut self, now: Stamp, take: &mut Take<'_>) -> bool {
        let mut any = false;
        loop {
            let due = self.lines.iter_mut().filter_map(|line| line.due().map(|due| (due, line)));
            let Some((_, line)) = due.min_by_key(|(due, _)| *due).filter(|(due, _)| *due <= now) else {
                break;
            };
            if let Some(frame) = line.next_frame() {
                take(&[frame]);
                any = true;
            }
        }
        for line in &mut self.lines {
            // Nobody asks what the calls were really like; it must not pile up.
            let _ = line.take_truth();
        }
        any
    }
}

impl Live for Stage {
    fn interface(&self) -> &Interface {
        &self.name
    }

    /// None: nothing ever wakes the thread but the time it waits at most.
    fn fd(&self) -> RawFd {
        -1
    }

    fn poll(&mut self, take: &mut Take<'_>) -> bool {
        self.play(now(), take);
        // It has time until the next look.
        false
    }

    fn dropped(&mut self) -> u64 {
        0
    }

    fn follow(&mut self) -> bool {
        true
    }

    fn release(self: Box<Self>) -> Option<Socket> {
        None
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
/// What stands for the interface.
const NAME: &str = "demo";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;
    use crate::observer::{self, Observer};

    #[test]
    fn it_plays_good_calls_and_bad_ones_as_time_passes() {
        let start = now();
        let mut stage = Stage::new(start.plus_nanos(-HISTORY_NANOS)).unwrap();
        let mut observer = Observer::new(observer::Settings::default());
        let (mut calls, mut registrations, mut lossy) = (0, 0, 0);
        let mut sink = |event| match event {
            Event::Call(_) => calls += 1,
            Event::Registration(_) => registrations += 1,
            Event::Stream(stream) => lossy += u32::from(stream.loss_ratio.is_some_and(|ratio| ratio > 0.01)),
            _ => {}
        };
        assert!(stage.play(start, &mut |frames| observer.packets(frames, &mut sink)));
        let up = observer.live();
        assert!(up.calls.len() > 5 && up.streams.len() > 10, "{} calls", up.calls.len());
        stage.play(start.plus_seconds(60), &mut |frames| observer.packets(frames, &mut sink));
        assert!(observer.live().totals.packets > up.totals.packets);
        assert!(calls > 20 && registrations > 20 && lossy > 2, "{calls} {registrations} {lossy}");
    }

    #[test]
    fn a_port_that_is_taken_does_not_stop_it() {
        let usual = Listeners::bind(&[DEFAULT_ADDRESS]);
        assert!(bind(&[DEFAULT_ADDRESS]).is_ok());
        drop(usual);
    }
}
