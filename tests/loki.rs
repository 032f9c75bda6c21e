//! Lines on their way to Loki: nothing lost, nothing out of order, whatever happens to the server, to the connection or to
//! the agent; and a server with Loki's API gives them back.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot run its subject has failed")]
#![allow(clippy::disallowed_types, reason = "a test of what waits waits by the clock")]

#[path = "loki/double.rs"]
mod double;
#[path = "support/patience.rs"]
mod patience;
#[path = "support/skipped.rs"]
mod skipped;

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use double::{Double, Fault};
use patience::within;
use sidetone::export::loki::{self, Line, Outlet, Settings};

struct Running {
    outlet: Outlet,
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<()>,
}

fn settings(url: &str) -> Settings {
    Settings {
        url: Some(url.parse().unwrap()),
        tenant: Some("voip".into()),
        batch_wait: Duration::from_millis(5),
        batch_lines: 50,
        timeout: Duration::from_secs(5),
        first_pause: Duration::from_millis(10),
        longest_pause: Duration::from_millis(200),
        seed: Some(1),
        ..Settings::default()
    }
}

fn start(settings: Settings, directory: &Path) -> Running {
    let (outlet, sender) = loki::open(settings, directory.to_owned(), "proxy1").unwrap().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    let thread = thread::spawn(move || sender.run(&told).unwrap());
    Running { outlet, stop, thread }
}

impl Running {
    fn put(&self, stream: &str, numbers: std::ops::Range<u64>) {
        for number in numbers {
            let text = format!("{stream} {number:06}");
            let line = Line {
                stream,
                nanos: 1_800_000_000_000_000_000 + number,
                level: None,
                labels: &[],
                text: &text,
            };
            let call_id = format!("call-{number}");
            self.outlet.put(&[self.outlet.kept(&line, [("call_id", call_id.as_str())])], None);
        }
    }

    fn end(self) {
        self.stop.store(true, Ordering::Release);
        self.thread.join().unwrap();
    }
}

fn assert_whole(double: &Double, stream: &str, lines: u64) {
    let taken = double.taken.lock().unwrap();
    assert_eq!(taken.wrong, [""; 0]);
    let labels = format!("{{host=\"proxy1\",job=\"sidetone\",stream=\"{stream}\"}}");
    let found: Vec<_> = taken.streams[&labels].iter().map(|(_, line)| line.clone()).collect();
    let expected: Vec<_> = (0..lines).map(|number| format!("{stream} {number:06}")).collect();
    assert_eq!(found, expected);
}

#[test]
fn nothing_is_lost_and_nothing_overtakes_whatever_the_server_does() {
    let directory = tempfile::tempdir().unwrap();
    let double = Double::start();
    double.fail([
        Fault::Status(500, ""),
        Fault::Cut,
        Fault::TakenAndCut,
        Fault::Status(429, ""),
        Fault::Status(401, ""),
        Fault::Status(413, ""),
        Fault::Cut,
        Fault::Status(503, ""),
        Fault::TakenAndCut,
    ]);
    let running = start(settings(&double.url()), directory.path());
    running.put("application", 0..500);
    running.put("audit", 0..300);
    assert!(within(30, || double.lines() == 800), "{} {:?}", double.lines(), running.outlet.counters());
    // Away, and there again, and the agent is started anew meanwhile.
    double.stop();
    running.put("application", 500..700);
    running.end();
    let running = start(settings(&double.url()), directory.path());
    running.put("application", 700..900);
    assert!(within(30, || !running.outlet.counters().is_up));
    let double = double.again();
    double.fail([Fault::TakenAndCut, Fault::Status(500, "")]);
    assert!(within(30, || double.lines() == 1200), "{} {:?}", double.lines(), running.outlet.counters());
    assert!(within(30, || running.outlet.counters().waiting_lines == 0));
    assert_whole(&double, "application", 900);
    assert_whole(&double, "audit", 300);
    let taken = double.taken.lock().unwrap();
    assert!(taken.again > 0, "what was taken without an answer comes once more");
    assert!(taken.headers.contains("\r\nx-scope-orgid: voip\r\n"), "{}", taken.headers);
    assert_eq!(taken.metadata["audit 000007"], [("call_id".to_owned(), "call-7".to_owned())]);
    drop(taken);
    let counters = running.outlet.counters();
    assert!(counters.is_up && counters.lost() == 0, "{counters:?}");
    running.end();
}

#[test]
fn a_server_that_asks_for_a_pause_gets_it() {
    let directory = tempfile::tempdir().unwrap();
    let double = Double::start();
    double.fail([Fault::Status(429, "retry-after: 1\r\n")]);
    let running = start(settings(&double.url()), directory.path());
    running.put("application", 0..10);
    assert!(within(30, || double.lines() == 10));
    let taken = double.taken.lock().unwrap();
    assert!(taken.times[1] - taken.times[0] >= Duration::from_secs(1));
    drop(taken);
    running.end();
}

#[test]
fn what_the_server_will_never_take_is_given_up_and_counted() {
    let directory = tempfile::tempdir().unwrap();
    let double = Double::start();
    double.fail([Fault::Status(400, "")]);
    let running = start(Settings { batch_lines: 1, ..settings(&double.url()) }, directory.path());
    running.put("application", 0..3);
    assert!(within(30, || double.lines() == 2));
    assert!(within(30, || running.outlet.counters().lost.contains(&("400", 1))));
    running.end();
}

/// The real program, tailing a file.
fn agent(config: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_sidetone"))
        .args(["demo", "--config"])
        .arg(config)
        .env("SIDETONE_HTTP_LISTEN", "127.0.0.1:0")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn an_agent_that_is_killed_goes_on_where_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let (log, config) = (directory.path().join("app.log"), directory.path().join("s.toml"));
    let double = Double::start();
    let text = format!(
        "[state]\ndirectory = {:?}\n[loki]\nurl = {:?}\nstreams = [\"app\"]\nbatch_seconds = 0.02\n\
         labels = [\"host=proxy1\"]\n[[tail]]\nname = \"app\"\nformat = \"text\"\nfrom_start = true\npaths = [{log:?}]\n",
        directory.path().join("state"),
        double.url()
    );
    fs::write(&config, text).unwrap();
    let mut file = File::options().append(true).create(true).open(&log).unwrap();
    let mut written = 0;
    for kill in 0..4 {
        let mut child = agent(&config);
        for _ in 0..15 {
            for _ in 0..200 {
                writeln!(file, "app {written:06}").unwrap();
                written += 1;
            }
            thread::sleep(Duration::from_millis(20));
        }
        if kill == 1 {
            fs::rename(&log, directory.path().join("app.log.1")).unwrap();
            file = File::options().append(true).create(true).open(&log).unwrap();
        }
        // In the middle of it, wherever that is.
        let before = double.lines();
        within(20, || double.lines() > before);
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let mut child = agent(&config);
    // Until it listens to signals, too.
    thread::sleep(Duration::from_secs(2));
    let all = within(60, || double.lines() == written);
    let status = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(status.success() && child.wait().unwrap().success());
    assert!(all, "{} of {written}", double.lines());
    assert_whole(&double, "app", written as u64);
}

/// qryn over chdb, where `tests/tools.sh loki` has put them.
#[test]
fn a_server_with_lokis_api_gives_the_lines_back() {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/loki");
    if !tools.join("made").exists() {
        return skipped::skipped("no server with Loki's API: tests/tools.sh loki installs one, of 1 GB");
    }
    let data = tempfile::tempdir().unwrap();
    let (database, port) = (free_port(), free_port());
    let log = File::create(data.path().join("log")).unwrap();
    let mut servers = vec![
        Command::new(tools.join("python/bin/python"))
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/loki/database.py"))
            .args([database.to_string(), data.path().join("data").display().to_string()])
            .stdout(log.try_clone().unwrap())
            .stderr(log.try_clone().unwrap())
            .spawn()
            .unwrap(),
    ];
    assert!(within(60, || std::net::TcpStream::connect(("127.0.0.1", database)).is_ok()));
    servers.push(
        Command::new("node")
            .arg("qryn_node.js")
            .current_dir(tools.join("node_modules/qryn"))
            .envs([
                ("CLICKHOUSE_SERVER", "127.0.0.1"),
                ("CLICKHOUSE_PORT", &database.to_string()),
                ("CLICKHOUSE_DB", "qryn"),
                ("CLICKHOUSE_AUTH", "default:"),
                ("HOST", "127.0.0.1"),
                ("PORT", &port.to_string()),
            ])
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap(),
    );
    let is_ready = within(60, || get(port, "/ready").is_some());
    let found = is_ready.then(|| push_and_query(data.path(), port));
    for server in &mut servers {
        server.kill().unwrap();
        server.wait().unwrap();
    }
    let said = fs::read_to_string(data.path().join("log")).unwrap_or_default();
    let (sent, found) = found.unwrap_or_else(|| panic!("it did not start: {said}"));
    assert_eq!(sent, found, "{said}");
}

fn push_and_query(directory: &Path, port: u16) -> (Vec<String>, Vec<String>) {
    let settings = settings(&format!("http://127.0.0.1:{port}"));
    let running = start(settings, &directory.join("spool"));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let sent: Vec<_> = (0..200).map(|number| format!("line {number:03} \u{fc} \"quoted\"")).collect();
    for (number, text) in sent.iter().enumerate() {
        // qryn gives times back as JSON numbers, which cannot tell nanoseconds apart.
        let nanos = now + number as u64 * 1_000_000;
        let line = Line { stream: "application", nanos, level: Some("info"), labels: &[], text };
        running.outlet.put(&[running.outlet.kept(&line, [("call_id", "abc")])], None);
    }
    assert!(within(60, || running.outlet.counters().sent == 200), "{:?}", running.outlet.counters());
    running.end();
    let (from, to) = (now / 1_000_000_000 - 60, now / 1_000_000_000 + 60);
    let query = format!(
        "/loki/api/v1/query_range?direction=forward&limit=1000&start={from}000000000&end={to}000000000&query=\
         %7Bjob%3D%22sidetone%22%2Cstream%3D%22application%22%7D"
    );
    let mut found = Vec::new();
    within(30, || {
        let Some(answer) = get(port, &query) else { return false };
        let json: serde_json::Value = serde_json::from_str(&answer).unwrap_or_default();
        let streams = json["data"]["result"].as_array().cloned().unwrap_or_default();
        let values =
            streams.iter().flat_map(|stream| stream["values"].as_array().cloned().unwrap_or_default());
        found = values.filter_map(|value| value[1].as_str().map(str::to_owned)).collect();
        found.len() >= 200
    });
    found.sort();
    (sent, found)
}

fn get(port: u16, path: &str) -> Option<String> {
    let url = format!("http://127.0.0.1:{port}{path}");
    let answer = Command::new("curl").args(["-fsS", "-m", "20", &url]).output().ok()?;
    answer.status.success().then(|| String::from_utf8_lossy(&answer.stdout).into_owned())
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
