//! A real server with Loki's API, qryn over chdb, which goes away and comes back, behind a double that fails now and then and
//! notes what has passed. `tests/tools.sh loki` installs it (1 GB); it runs when `SIDETONE_TEST_LOKI` says for how many
//! seconds the server is to be away.
//!
//! What the server cannot tell: it drops structured metadata (the double has them), it keeps an entry that comes twice twice,
//! where Loki keeps it once, and of a letter of several bytes it makes two signs where one of its buffers ends.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::*;
use crate::qryn::Qryn;

/// Time and line.
type Entry = (u64, String);
type Labels = BTreeMap<String, String>;

/// Asks for this test.
pub(crate) const ASKED: &str = "SIDETONE_TEST_LOKI";

/// All entries of a query of LogQL in order of time, and the labels that they have.
fn ask(server: &Qryn, query: &str) -> (Vec<Entry>, Vec<Labels>) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let (start, end) = (now - 3600, now + 60);
    let asked = ["direction=forward".into(), "limit=200000".into(), format!("query={query}")];
    let span = [format!("start={start}000000000"), format!("end={end}000000000")];
    let answer = server.get("/loki/api/v1/query_range", &[asked.to_vec(), span.to_vec()].concat()).unwrap();
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    let (mut entries, mut labels) = (Vec::new(), Vec::new());
    for stream in answer["data"]["result"].as_array().unwrap() {
        labels.push(serde_json::from_value(stream["stream"].clone()).unwrap());
        for entry in stream["values"].as_array().unwrap() {
            // Times come as JSON numbers or as text.
            let time = entry[0]
                .as_str()
                .map_or_else(|| entry[0].as_f64().unwrap() as u64, |text| text.parse().unwrap());
            entries.push((time, entry[1].as_str().unwrap().to_owned()));
        }
    }
    if labels.len() > 1 {
        entries.sort();
    }
    (entries, labels)
}

/// Numbered lines into a file, 500 a second, until it is told to stop; it returns how many.
fn write(log: PathBuf, stop: Arc<AtomicBool>) -> thread::JoinHandle<usize> {
    thread::spawn(move || {
        let mut file = File::options().append(true).create(true).open(log).unwrap();
        let mut written = 0;
        while !stop.load(Ordering::Acquire) {
            for _ in 0..10 {
                writeln!(file, "app {written:06} \"quoted\" \\").unwrap();
                written += 1;
            }
            thread::sleep(Duration::from_millis(20));
        }
        written
    })
}

fn clock() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64
}

#[test]
fn a_server_with_lokis_api_gives_all_lines_back_whatever_has_happened() {
    let Some(away) = std::env::var(ASKED).ok().and_then(|seconds| seconds.parse().ok()) else {
        return skipped::skipped(format_args!(
            "{ASKED}=SECONDS asks for the test with a real server of Loki's API"
        ));
    };
    if !Qryn::is_there() {
        return skipped::skipped("no server with Loki's API: tests/tools.sh loki installs one, of 1 GB");
    }
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let data = tempfile::tempdir().unwrap();
    let mut server = Qryn::new(data.path());
    server.start();
    let double = Double::before(server.api.port());
    let config = at("s.toml");
    let text = format!(
        "[state]\ndirectory = {:?}\n[logs]\ndirectory = {:?}\n[loki]\nurl = {:?}\nbatch_seconds = 0.1\n\
         labels = [\"host=proxy1\"]\nusers = \"keep\"\nnumbers = \"keep\"\naddresses = \"keep\"\n\
         [[tail]]\nname = \"app\"\nformat = \"text\"\nfrom_start = true\npaths = [{:?}]\n",
        at("state"),
        at("logs"),
        double.url(),
        at("app.log")
    );
    fs::write(&config, text).unwrap();
    let no_more = Arc::<AtomicBool>::default();
    let writing = write(at("app.log"), Arc::clone(&no_more));
    // What an agent that is killed has in hand is in the one file and not in the other.
    let mut killed_at = Vec::new();
    let mut kill = |mut agent: Child| {
        killed_at.push(clock());
        agent.kill().unwrap();
        agent.wait().unwrap();
    };

    let first = agent(&config);
    assert!(within(60, || double.lines() > 1000));
    double.fail([
        Fault::Status(500, ""),
        Fault::Status(429, "retry-after: 1\r\n"),
        Fault::Cut,
        Fault::TakenAndCut,
        Fault::Status(503, ""),
        Fault::TakenAndCut,
    ]);
    assert!(within(60, || double.faults.lock().unwrap().is_empty()));
    let before = double.lines();
    assert!(within(60, || double.lines() > before + 500));

    server.kill();
    thread::sleep(Duration::from_secs(away) / 2);
    end(first);
    double.stop();
    let second = agent(&config);
    thread::sleep(Duration::from_secs(away) / 2);
    kill(second);
    let waited = double.lines();
    server.start();
    let double = double.again();
    double.fail([Fault::TakenAndCut, Fault::Status(429, ""), Fault::Status(500, ""), Fault::Cut]);
    let third = agent(&config);
    assert!(within(120, || double.lines() > waited + 100));
    kill(third);
    let last = agent(&config);
    thread::sleep(Duration::from_secs(2));
    no_more.store(true, Ordering::Release);
    let written = writing.join().unwrap();
    let labels = "{host=\"proxy1\",job=\"sidetone\",stream=\"app\"}";
    let of_app = || double.taken.lock().unwrap().streams.get(labels).map_or(0, Vec::len);
    assert!(within(120, || of_app() == written), "{} of {written}", of_app());
    end(last);

    let taken = double.taken.lock().unwrap();
    assert_eq!(taken.wrong, [""; 0]);
    let (entries, found) = ask(&server, "{job=\"sidetone\",stream=\"app\"}");
    let expected = [("host", "proxy1"), ("job", "sidetone"), ("stream", "app")];
    assert_eq!(found, [expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into()]);
    let mut once = entries.clone();
    once.dedup();
    let lines: Vec<_> = once.iter().map(|(_, line)| line.clone()).collect();
    let whole: Vec<_> = (0..written).map(|number| format!("app {number:06} \"quoted\" \\")).collect();
    assert!(
        lines == whole,
        "{} lines of {written}, first and last {:?} {:?}",
        lines.len(),
        lines.first(),
        lines.last()
    );
    let sent = &taken.streams[labels];
    // Times come back rounded to what a floating-point number can tell apart.
    assert!(once.iter().zip(sent).all(|((time, _), (sent, _))| time.abs_diff(*sent) <= 256));
    let (some, _) = ask(&server, "{stream=\"app\"} |= \"app 000123\"");
    assert_eq!(some.len(), 1);

    let mut own = 0;
    for stream in ["application", "audit", "diagnostics"] {
        let (entries, _) = ask(&server, &format!("{{job=\"sidetone\",stream=\"{stream}\"}}"));
        let mut there: Vec<_> = entries.into_iter().collect();
        there.dedup();
        let text = fs::read_to_string(at("logs").join(format!("{stream}.log"))).unwrap();
        let kept: Vec<&str> = text.lines().collect();
        let in_hand = |time: u64| killed_at.iter().any(|killed| killed.abs_diff(time) < 2_000_000_000);
        let sent: BTreeMap<&str, u64> = there.iter().map(|(time, line)| (line.as_str(), *time)).collect();
        let missing = |line: &&&str| !sent.contains_key(**line);
        let lost: Vec<_> = kept.iter().filter(missing).filter(|line| !in_hand(time_of(line))).collect();
        assert!(lost.is_empty(), "{stream}: {lost:#?}");
        let strange = |(time, line): &&Entry| !kept.contains(&line.as_str()) && !in_hand(*time);
        assert_eq!(there.iter().find(strange), None, "{stream}");
        let in_order: Vec<_> =
            there.iter().filter_map(|(_, line)| kept.iter().position(|kept| kept == line)).collect();
        assert!(in_order.is_sorted(), "{stream}");
        assert!(!there.is_empty(), "{stream}");
        own += there.len();
    }
    let answered = "{job=\"sidetone\",stream=\"application\"} | json | message=\"call answered\"";
    let (answered, _) = ask(&server, answered);
    assert!(!answered.is_empty());
    for (_, line) in &answered {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["message"], "call answered");
    }
    let metadata = &taken.metadata[&answered[0].1];
    let names: Vec<_> = metadata.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["call_id", "trace_id", "audit_seq"]);
    println!(
        "server away for {away} s: {written} lines of a file and {own} of the agent back by LogQL, each in its place; {} \
         requests, {} lines came twice, {} of them of the file",
        taken.requests,
        taken.again,
        entries.len() - once.len()
    );
}

/// Nanoseconds in the time stamp of a line, of this day.
fn time_of(line: &str) -> u64 {
    let line: Value = serde_json::from_str(line).unwrap();
    let stamp = line["timestamp"].as_str().unwrap();
    let number = |range: std::ops::Range<usize>| stamp[range].parse::<u64>().unwrap();
    let date = sidetone::Stamp::of_civil(number(0..4), number(5..7), number(8..10)).unwrap();
    date.0 + (number(11..13) * 3600 + number(14..16) * 60 + number(17..19)) * 1_000_000_000 + number(20..29)
}
