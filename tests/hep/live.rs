//! The running agent.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sidetone::Stamp;
use sidetone::capture::file::Files;
use sidetone::capture::{Progress, Source};
use sidetone::event::{Event, Mirrored, Sink};
use sidetone::export::hep::{self as out, Peer, Rtcp, Spool};
use sidetone::hep::{self, Next};
use sidetone::observer::{Observer, Settings};
use sidetone::simulate::{self, Outcome, Plan};

use crate::agent::{Agent, alone, analyzed, replay, until};

/// Some calls, and the capture of them.
struct Scene {
    file: PathBuf,
    _folder: tempfile::TempDir,
}

impl Scene {
    /// It begins in a second.
    fn new(calls: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("calls.pcap");
        let outcomes = vec![
            Outcome::Answered,
            Outcome::Challenged,
            Outcome::Busy,
            Outcome::Cancelled,
            Outcome::Redirected,
        ];
        let start = now().plus_nanos(1_000_000_000);
        let plan =
            Plan { calls, duration: 2.0, rate: 5.0, registrations: 3, outcomes, start, ..Plan::default() };
        simulate::write_files(&plan, &file).unwrap();
        Self { file, _folder: folder }
    }
}

fn now() -> Stamp {
    Stamp(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64)
}

/// A first agent in small: it mirrors a capture as time goes by.
struct Proxy(Spool);

impl Sink for Proxy {
    fn event(&mut self, _: Event) {}

    fn message(&mut self, message: &Mirrored<'_>) {
        self.0.message(message);
    }
}

impl Proxy {
    fn play(scene: &Scene, settings: out::Settings) -> out::Counters {
        let (spool, sender) = out::open(settings);
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let flag = std::sync::Arc::clone(&stop);
        let sending = std::thread::spawn(move || sender.run(&flag));
        let mut proxy = Self(spool);
        let mut observer = Observer::new(Settings { mirror: true, ..Settings::default() });
        let mut files = Files::open([&scene.file]);
        while files
            .poll(&mut |frames| {
                for frame in frames {
                    let ahead = frame.stamp.nanos_since(now()).max(0) as u64;
                    sleep(Duration::from_nanos(ahead));
                    observer.packets(std::slice::from_ref(frame), &mut proxy);
                }
            })
            .unwrap()
            == Progress::More
        {}
        stop.store(true, std::sync::atomic::Ordering::Release);
        sending.join().unwrap();
        proxy.0.counters()
    }
}

/// What of the metrics is about SIP, and the same whatever way it was seen.
fn signalling(samples: &BTreeMap<String, f64>) -> BTreeMap<&str, f64> {
    let wanted = |name: &str| {
        (name.starts_with("voip_sip_")
            || name.starts_with("voip_calls_ended")
            || name.starts_with("voip_registration"))
            && !name.contains("_created")
            && !["_active", "_sum", "_bucket"].iter().any(|part| name.contains(part))
    };
    samples
        .iter()
        .filter(|(name, value)| wanted(name) && **value > 0.0)
        .map(|(name, value)| (name.as_str(), *value))
        .collect()
}

/// What the agent counts otherwise than the file. Sums of delays are left out: what a busy machine does to the replay
/// is in them. `library` compares them on packet time.
fn differences(agent: &Agent, file: &BTreeMap<String, f64>) -> Vec<String> {
    let live = agent.metrics();
    let (live, file) = (signalling(&live), signalling(file));
    assert!(file.len() > 20, "{file:#?}");
    let names: std::collections::BTreeSet<_> = live.keys().chain(file.keys()).collect();
    let value = |samples: &BTreeMap<&str, f64>, name: &str| samples.get(name).copied().unwrap_or(0.0);
    let pairs = names.into_iter().map(|name| (name, value(&live, name), value(&file, name)));
    pairs
        .filter(|(_, live, file)| (live - file).abs() > 1e-9)
        .map(|(name, live, file)| format!("{name} is {live}, and {file} from the file"))
        .collect()
}

/// In a minute at most, the agent counts what the file has.
fn assert_equal(agent: &Agent, file: &BTreeMap<String, f64>, what: &str) {
    assert!(until(|| differences(agent, file).is_empty()), "{what}: {:#?}", differences(agent, file));
}

#[test]
fn hep_over_udp_and_tcp_gives_what_the_file_gives() {
    if !alone("live::hep_over_udp_and_tcp_gives_what_the_file_gives") {
        return;
    }
    let agents = [
        Agent::start("lo", &[("HEP_LISTEN", "udp:127.0.0.1:0"), ("HEP_KEY", "secret")]),
        Agent::start("lo", &[("HEP_LISTEN", "tcp:127.0.0.1:0"), ("HEP_KEY", "secret")]),
        Agent::start("lo", &[("HEP_LISTEN", "127.0.0.1:0")]),
    ];
    let scene = Scene::new(10);
    let ways = [
        (agents[0].hep[0].clone(), true),
        (agents[1].hep[0].clone(), false),
        (agents[2].hep[1].clone(), true),
    ];
    let counters: Vec<_> = std::thread::scope(|scope| {
        let play = |(peer, compress): &(String, bool)| {
            let peer: Peer = peer.parse().unwrap();
            let settings = out::Settings {
                key: "secret".into(),
                compress: *compress,
                rtcp: Rtcp::Json,
                node: "proxy".into(),
                ..out::Settings::to(peer)
            };
            let scene = &scene;
            scope.spawn(move || Proxy::play(scene, settings))
        };
        let playing: Vec<_> = ways.iter().map(play).collect();
        playing.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let file = analyzed(&scene.file);
    for ((agent, (way, _)), counters) in agents.into_iter().zip(&ways).zip(counters) {
        assert_equal(&agent, &file, way);
        let health = agent.health();
        assert_eq!(health["detail"]["received"], counters.sent, "{way}: {health}");
        assert_eq!(
            (&health["status"], &health["detail"]["refused"]),
            (&"up".into(), &0.into()),
            "{way}: {health}"
        );
        assert_eq!(agent.end(), Some(0));
    }
}

/// The first agent takes the calls off the wire and sends them on. The second takes them off the wire as well, by HEP
/// from the first, and reads the HEP that passes on the loopback besides: three ways for every message.
#[test]
fn the_wire_and_hep_are_one_and_own_hep_is_none() {
    if !alone("live::the_wire_and_hep_are_one_and_own_hep_is_none") {
        return;
    }
    for carrier in ["udp", "tcp"] {
        let listen = format!("{carrier}:127.0.0.1:0");
        let both = [("HEP_LISTEN", listen.as_str()), ("CAPTURE_DECODE_HEP", "true"), ("HEP_NODE", "second")];
        let second = Agent::start("st1,lo", &both);
        let onward =
            [("HEP_SEND", second.hep[0].as_str()), ("CAPTURE_DECODE_HEP", "true"), ("HEP_NODE", "first")];
        let first = Agent::start("st1,lo", &onward);
        let scene = Scene::new(10);
        if !replay(&scene.file) {
            return;
        }
        let file = analyzed(&scene.file);
        for (agent, what) in [(&first, "first"), (&second, "second")] {
            assert_equal(agent, &file, &format!("{carrier} {what}"));
        }
        let sent = || first.health()["detail"][format!("to {}", second.hep[0])].clone();
        assert!(until(|| sent()["waiting_bytes"] == 0), "{}", sent());
        let received = || second.health()["detail"]["received"].clone();
        assert!(until(|| received() == sent()["sent"]), "{} {}", received(), sent());
        assert_eq!(sent()["lost"], 0);
        // Everything has come every way, and nothing was counted again.
        assert_eq!((differences(&first, &file), differences(&second, &file)), (vec![], vec![]));
        assert_eq!((first.end(), second.end()), (Some(0), Some(0)));
    }
}

#[test]
fn a_dead_receiver_stops_nothing_and_is_taken_up_again() {
    if !alone("live::a_dead_receiver_stops_nothing_and_is_taken_up_again") {
        return;
    }
    // One that is away and will come back, one that takes nothing, one that hears of refusals.
    let away = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let stuck = TcpListener::bind("127.0.0.1:0").unwrap();
    let refusing = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let send = format!("tcp:{away},tcp:{},udp:{refusing}", stuck.local_addr().unwrap());
    let agent = Agent::start("st1", &[("HEP_SEND", &send), ("HEP_SPOOL_BYTES", "131072")]);
    let before = agent.resident();
    let scene = Scene::new(10);
    if !replay(&scene.file) {
        return;
    }
    let file = analyzed(&scene.file);
    assert_equal(&agent, &file, "with dead receivers");
    let health = agent.health();
    assert_eq!(health["status"], "degraded", "{health}");
    let told = |health: &serde_json::Value, peer: &str| health["detail"][format!("to {peer}")].clone();
    let dead = told(&health, &format!("tcp:{away}"));
    assert_eq!((&dead["connected"], &dead["sent"]), (&false.into(), &0.into()), "{health}");
    assert!(dead["waiting_bytes"].as_u64().unwrap() <= 131_072, "{health}");
    assert!(until(|| told(&agent.health(), &format!("udp:{refusing}"))["lost"].as_u64().unwrap() > 0));
    // The spools, and what a few calls cost.
    let grown = agent.resident().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes more");

    let homer = TcpListener::bind(away).unwrap();
    let (mut stream, _) = homer.accept().unwrap();
    let (mut held, mut buffer, mut records) = (Vec::new(), vec![0; 65_536], 0);
    stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    while let Ok(len @ 1..) = stream.read(&mut buffer) {
        held.extend_from_slice(&buffer[..len]);
        while let Next::Record(len) = hep::next(&held) {
            if held.len() < len {
                break;
            }
            hep::decode(&held[..len], &mut Vec::new()).unwrap();
            held.drain(..len);
            records += 1;
        }
    }
    assert!(held.is_empty());
    let back = told(&agent.health(), &format!("tcp:{away}"));
    assert_eq!((&back["sent"], &back["waiting_bytes"]), (&records.into(), &0.into()));
    assert!(records > 0 && back["connected"] == true, "{back}");
    assert_eq!(agent.end(), Some(0), "what cannot be sent does not hold up the end for good");
}

#[test]
fn noise_on_the_port_stops_nothing() {
    if !alone("live::noise_on_the_port_stops_nothing") {
        return;
    }
    let settings = [("HEP_LISTEN", "127.0.0.1:0"), ("HEP_KEY", "secret"), ("HEP_CONNECTIONS", "8")];
    let agent = Agent::start("lo", &settings);
    let place = |place: &str| place.split_once(':').unwrap().1.to_owned();
    let (udp, tcp) = (place(&agent.hep[0]), place(&agent.hep[1]));
    let noise = UdpSocket::bind("127.0.0.1:0").unwrap();
    for number in 0..3000_u32 {
        let mut bytes = b"HEP3\x00\x40".to_vec();
        bytes.extend(number.to_be_bytes().repeat(15));
        noise.send_to(if number % 2 == 0 { &bytes } else { &bytes[6..] }, &udp).unwrap();
    }
    let mut flood: Vec<TcpStream> = (0..64).filter_map(|_| TcpStream::connect(&tcp).ok()).collect();
    for stream in &mut flood {
        let _ = stream.write_all(b"GET / HTTP/1.1\r\n\r\n");
    }
    // The flood has gone by, and what was no HEP is closed: an honest agent finds room.
    let scene = Scene::new(5);
    let peer: Peer = agent.hep[1].parse().unwrap();
    let key = "secret".into();
    let counters = Proxy::play(&scene, out::Settings { key, ..out::Settings::to(peer) });
    let file = analyzed(&scene.file);
    assert_equal(&agent, &file, "amid noise");
    let health = agent.health();
    assert_eq!(health["detail"]["received"], counters.accepted, "{health}");
    assert!(health["detail"]["refused"].as_u64().unwrap() > 1000, "{health}");
    assert_eq!(agent.end(), Some(0));
}
