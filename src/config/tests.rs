use std::fmt::Write;

use super::*;
use crate::event::Band;
use crate::log::{Level, Place, Stream};
use crate::rtp::payload::{Codec, Format};

fn variables(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn problems(text: &str, pairs: &[(&str, &str)]) -> Vec<String> {
    let problems = read("s.toml", text, &variables(pairs)).err().unwrap_or_default();
    problems.iter().map(Problem::to_string).collect()
}

/// Every key there is, with a value that is not its default.
pub(crate) const ALL: &str = r#"
[capture]
interfaces = ["eth0", "eth1"]
source = "pcap"
filter = "udp"
clock = "adapter"
ring_bytes = 16777216
decode_hep = true

[hep]
listen = ["0.0.0.0:9060", "tcp:[::1]:9061"]
key = "in"
connections = 20
idle_seconds = 60
send = ["homer:9060", "tcp:[2001:db8::1]:9061"]
send_key = "out"
agent_id = 7
node = "proxy1"
compress = true
rtcp = "binary"
reports = false
spool_bytes = 1_000_000

[otlp]
endpoint = "https://collector:4318"
protocol = "grpc"
headers = ["authorization=Bearer%20x", "x-tenant=a"]
compression = "none"
timeout_seconds = 3
retry_seconds = 60
delay_ms = 250
queue_spans = 1000
batch_spans = 100
certificate = "ca.pem"
client_certificate = "client.pem"
client_key = "client.key"
sample_ratio = 0.25
mos_bound = 3.1
vantage = "edge"
users = "omit"
[state]
directory = "/srv/sidetone"

[evidence]
enabled = true
directory = "/srv/evidence"
sip_bytes = 2_000_000
rtp_bytes = 0
file_bytes = 3_000_000
files_per_minute = 7
keep_files = 8
keep_bytes = 9_000_000
keep_days = 10

[loki]
url = "https://loki.example:3100"
tenant = "voip"
user = "agent"
password_file = "/etc/sidetone/loki.password"
bearer_file = "/etc/sidetone/loki.token"
ca = "/etc/sidetone/ca.pem"
labels = ["site=berlin"]
streams = ["application", "audit"]
users = "mask"
numbers = "mask"
addresses = "drop"
spool = "/srv/spool"
spool_bytes = 10_000_000
batch_bytes = 100_000
batch_lines = 500
batch_seconds = 2.5
timeout_seconds = 5

[[tail]]
name = "chat"
paths = ["/var/log/chat/*.log"]
format = "json"
from_start = true
send = false
relay = true
labels = ["team=chat"]
timestamp = "time"
line_bytes = 1000

[[tail.rule]]
metric = "chat_seconds"
type = "histogram"
help = "How long it took"
when = { event = ["chat", "talk"], ok = true }
pattern = 'took (?P<took>\d+)'
field = "message"
value = "took"
scale = 0.001
labels = { status = "status", stage = "=llm" }
buckets = [0.1, 1, 10]
series_max = 20

[http]
listen = ["127.0.0.1:9000", "[::1]:9000"]
web_config = "web-config.yml"

[logs]
directory = "/var/log/sidetone"
file = "/var/log/sidetone/all.log"
application = ["journald", "stdout"]
audit = ["file", "stdout"]
diagnostics = "stderr"
level = "warn"
diagnostics_level = "debug"
components = ["http=debug"]
format = "json"
rotate_bytes = 5000
rotate_daily = false
keep_full_files = 3
application_days = 9
audit_days = 36
diagnostics_days = 3
lines_per_second = 20
burst = 30
mos_below = 3.6
users = "hash"
numbers = "mask"
addresses = "drop"
hash_key = "sixteen bytes or more"
audit_key = "/var/lib/sidetone/audit.key"
checkpoint_lines = 10
checkpoint_seconds = 6

[limits]
calls = 1_000
transactions = 2000
registrations = 3000
streams = 4000
endpoints = 5000
candidates = 600
fragments = 70
fragment_bytes = 0x100000
tcp_flows = 80
tcp_flow_bytes = 65536
tcp_bytes = 90000

[metrics]
aliases = ["siprec"]
sessions_max = 50
series_max = 500
local_addresses = ["192.0.2.0/24", "2001:db8::1"]
rtp_ports = "30000-39999"

[[trunks]]
name = "carrier"
peers = ["203.0.113.0/24", "198.51.100.7:5080"]
capacity_in = 30
capacity_out = 60

[poll]
interval_seconds = 5
slow_interval_seconds = 300
well_known = false
host = false
gpu = true

[[processes]]
name = "proxy"
command = "kamailio*"
exe = ["/usr/sbin/kamailio", "/opt/*"]
cgroup = "/system.slice"
unit = "kamailio"
pid_file = "/run/kamailio/kamailio.pid"
memory_budget = 2147483648
allocations = "malloc"
heap = false
heap_interval_seconds = 120

[quality]
assumed_owd_ms = 40
endpoint_delay_ms = 12.5
plc = false

[quality.codecs."opus/fb"]
ie = 9
[quality.codecs.OPUS]
ie = 12.5
bpl = 20

[sip]
correlation_headers = ["X-CID", "X-Orig-Call-ID"]
join_heuristics = true

[[tenants]]
name = "acme"
domain = "*.acme.example"
header = "X-Tenant"
header_value = ["acme", "acme-*"]
from_number = "+4930"
to_number = ["+49", "0"]
source = ["192.0.2.0/24", "2001:db8::/32"]
source_port = 5060
destination = "198.51.100.7"
destination_port = 5061

[[tenants]]
name = "rest"

[[routes]]
name = "pstn"
destination = "203.0.113.0/24"
"#;

#[test]
fn every_key_reaches_what_it_sets() {
    let observer = read("s.toml", ALL, &BTreeMap::new()).unwrap().observer;
    let limits = &observer.limits;
    assert_eq!((limits.calls, limits.transactions, limits.registrations), (1000, 2000, 3000));
    assert_eq!((limits.streams, limits.endpoints, limits.candidates), (4000, 5000, 600));
    assert_eq!((limits.fragments, limits.fragment_bytes), (70, 1 << 20));
    assert_eq!((limits.tcp_flows, limits.tcp_flow_bytes, limits.tcp_bytes), (80, 65_536, 90_000));
    let rating = &observer.rating;
    assert_eq!((rating.assumed_delay_ms, rating.endpoint_delay_ms), (Some(40.0), 12.5));
    assert!(!rating.concealment);
    let opus = |bit_rate| {
        let format =
            Format { payload_type: 96, codec: Codec::Opus, clock_rate: 48_000, bit_rate, fec: false };
        rating.impairments.impairment(&format, true).unwrap()
    };
    assert_eq!(
        (opus(0).ie, opus(0).bpl, opus(0).band),
        (9.0, 20.0, Band::Fb),
        "a mode stands over its codec"
    );
    assert_eq!((opus(20_000).ie, opus(20_000).bpl), (12.5, 20.0));
    let calls = &observer.calls;
    assert_eq!(calls.correlation_headers, ["X-CID", "X-Orig-Call-ID"]);
    assert!(calls.heuristics);
    let names: Vec<_> = calls.tenants.iter().chain(&calls.routes).map(|rule| rule.name.as_str()).collect();
    assert_eq!(names, ["acme", "rest", "pstn"]);
    let acme = &calls.tenants[0];
    assert_eq!((acme.source_port, acme.destination_port), (Some(5060), Some(5061)));
    assert_eq!((acme.domain.len(), acme.source.len(), acme.destination.len()), (1, 2, 1));
    assert_eq!((acme.from_number.len(), acme.to_number.len()), (1, 2));
    assert_eq!(acme.header.as_ref().unwrap().values.len(), 2);
}

#[test]
fn hep_is_configured_both_ways() {
    let otlp = read("s.toml", ALL, &BTreeMap::new()).unwrap().otlp;
    assert!(otlp.is_on() && !otlp.export.compress);
    assert_eq!(otlp.export.headers[0].1, "Bearer x");
    assert_eq!(otlp.sampling(1.0), crate::trace::Sampling { ratio: 0.25, mos_bound: 3.1 });
    assert_eq!(otlp.vantage.as_deref(), Some("edge"));
    assert_eq!((otlp.export.queue_spans, otlp.export.batch_spans), (1000, 100));

    let hep = read("s.toml", ALL, &BTreeMap::new()).unwrap().agent.hep;
    let listens: Vec<_> = hep.incoming.listen.iter().map(ToString::to_string).collect();
    assert_eq!(listens, ["udp:0.0.0.0:9060", "tcp:0.0.0.0:9060", "tcp:[::1]:9061"]);
    assert_eq!((hep.incoming.connections, hep.incoming.idle_seconds), (20, 60));
    assert!(hep.incoming.key.admits(b"in") && !hep.incoming.key.admits(b"out"));
    let peers: Vec<_> = hep.send.iter().map(ToString::to_string).collect();
    assert_eq!(peers, ["udp:homer:9060", "tcp:[2001:db8::1]:9061"]);
    let out = &hep.outgoing;
    assert_eq!((out.key.bytes(), out.agent, out.node.as_str()), (b"out".as_slice(), 7, "proxy1"));
    assert_eq!((out.compress, out.rtcp, out.reports), (true, crate::export::hep::Rtcp::Binary, false));
    assert_eq!((out.spool_bytes, hep.decode), (1_000_000, true));

    let given = variables(&[
        ("SIDETONE_HEP_LISTEN", "udp:127.0.0.1:9060,tcp:127.0.0.1:9061"),
        ("SIDETONE_HEP_SEND", "udp:homer:9060"),
        ("SIDETONE_HEP_KEY", "secret"),
    ]);
    let hep = read("s.toml", "", &given).unwrap().agent.hep;
    assert_eq!((hep.incoming.listen.len(), hep.send.len(), hep.decode), (2, 1, false));
    assert!(hep.incoming.key.admits(b"secret") && !hep.incoming.key.admits(b""));

    let wrong = "[hep]\nlisten = '9060'\nsend = ['homer']\nrtcp = 'xml'\nspool_bytes = 1\nconnections = 0\n";
    let expected = [
        "s.toml:2: hep.listen is wrong; \"9060\" is no address to listen on: write udp:0.0.0.0:9060, tcp:[::]:9060, \
         or 0.0.0.0:9060 for both",
        "s.toml:3: hep.send is wrong; \"homer\" is nowhere to send HEP to: write udp:homer.example:9060 or \
         tcp:10.0.0.5:9060",
        "s.toml:4: hep.rtcp is wrong; \"xml\" is none of json, binary, off",
        "s.toml:5: hep.spool_bytes is wrong; it must be between 131072 and 1073741824",
        "s.toml:6: hep.connections is wrong; it must be between 1 and 65536",
    ];
    assert_eq!(problems(wrong, &[]), expected);
}

#[test]
fn logs_go_where_they_are_told() {
    let logs = read("s.toml", ALL, &BTreeMap::new()).unwrap().agent.logs;
    assert_eq!(
        logs.places,
        [vec![Place::Stdout, Place::Journald], vec![Place::File, Place::Stdout], vec![Place::Stderr]]
    );
    assert_eq!(logs.filter.levels, [Level::Warn, Level::Warn, Level::Debug]);
    assert!(logs.filter.admits(Stream::Application, Level::Debug, "http"));
    assert!(!logs.filter.admits(Stream::Application, Level::Info, "call"));
    assert_eq!(logs.directories(), [Path::new("/var/lib/sidetone"), Path::new("/var/log/sidetone")]);

    let usual = read("s.toml", "", &BTreeMap::new()).unwrap().agent.logs;
    assert_eq!(usual, crate::log::Settings::default(), "nothing is written where nothing is configured");
    let unit = [("LOGS_DIRECTORY", "/var/log/sidetone"), ("STATE_DIRECTORY", "/var/lib/sidetone:/else")];
    let logs = read("s.toml", "", &variables(&unit)).unwrap().agent.logs;
    assert_eq!(logs.places, [vec![Place::File], vec![Place::File], vec![Place::File]]);
    assert_eq!(logs.audit_key.as_deref(), Some(Path::new("/var/lib/sidetone/audit.key")));
    let agent = read("s.toml", "", &variables(&[("STATE_DIRECTORY", "/srv/state:/else")])).unwrap().agent;
    assert_eq!(agent.state, Path::new("/srv/state"), "all of it");
    let text = "[state]\ndirectory = \"/own\"\n[logs]\ndirectory = \"/logs\"";
    let agent = read("s.toml", text, &variables(&unit)).unwrap().agent;
    assert_eq!(agent.state, Path::new("/own"));
    assert_eq!(agent.logs.audit_key.as_deref(), Some(Path::new("/own/audit.key")));

    let common = [
        ("LOG_LEVEL", "WARNING"),
        ("LOG_FORMAT", "json"),
        ("LOG_FILE", "-"),
        ("SIDETONE_LOGS_FORMAT", "text"),
    ];
    let logs = read("s.toml", "", &with_common(variables(&common))).unwrap().agent.logs;
    assert_eq!((logs.filter.levels[0], logs.format), (Level::Warn, crate::log::Format::Text));
    assert_eq!(logs.places, [vec![Place::Stdout], vec![], vec![]]);

    let wrong =
        "[logs]\naudit = 'file'\nlevel = 'loud'\ncomponents = 'http'\nusers = 'burn'\nhash_key = 'short'\n";
    let found = problems(wrong, &[]);
    let places: Vec<_> = found.iter().map(|problem| problem.split(" is wrong").next().unwrap()).collect();
    let expected = ["audit", "level", "components", "users", "hash_key"].into_iter().zip(2..);
    assert_eq!(places, expected.map(|(key, line)| format!("s.toml:{line}: logs.{key}")).collect::<Vec<_>>());
}

#[test]
fn without_a_file_the_defaults_stand() {
    let config = load(None, &BTreeMap::new()).unwrap();
    assert_eq!(config.observer.limits.calls, crate::limits::Limits::default().calls);
    assert_eq!(config.observer.rating, crate::quality::Rating::default());
    assert!(config.observer.calls.tenants.is_empty());
}

#[test]
fn variables_stand_over_the_file() {
    let given = variables(&[
        ("SIDETONE_LIMITS_CALLS", " 2_000 "),
        ("SIDETONE_QUALITY_PLC", "FALSE"),
        ("SIDETONE_QUALITY_ASSUMED_OWD_MS", "12.5"),
        ("SIDETONE_SIP_CORRELATION_HEADERS", "X-A, X-B"),
        ("SIDETONE_CONFIG", "s.toml"),
        ("SIDETONE_HTTP_LISTEN", "127.0.0.1:9000,[::1]:9000"),
        ("SIDETONE_OTHERS_URL", "for a section that is not there"),
        ("PATH", "/bin"),
    ]);
    let config = read("s.toml", "[limits]\ncalls = 'wrong'\nstreams = 7", &given).unwrap();
    assert_eq!(config.agent.listen, ["127.0.0.1:9000".parse().unwrap(), "[::1]:9000".parse().unwrap()]);
    let observer = config.observer;
    assert_eq!((observer.limits.calls, observer.limits.streams), (2000, 7));
    assert!(!observer.rating.concealment);
    assert_eq!(observer.rating.assumed_delay_ms, Some(12.5));
    assert_eq!(observer.calls.correlation_headers, ["X-A", "X-B"]);
}

#[test]
fn all_problems_are_listed_with_their_line_and_a_hint() {
    let text = "\
[limit]
calls = 1

[limits]
cals = 10
streams = 0
fragment_bytes = \"16M\"

[quality]
assumed_owd_ms = -1
[quality.codecs.\"G.711\"]
ie = 1
[quality.codecs.PCMU]

[sip]
correlation_headers = [1]

[[tenants]]
domain = \"a*b\"
[[tenants]]
name = \"all\"
[[tenants]]
name = \"never\"
source = [\"10.1.2.3/8\"]
header_value = \"x\"
port = 5060
";
    let given =
        [("SIDETONE_LIMITS_CALL", "9"), ("SIDETONE_LIMIT_CALLS", "9"), ("SIDETONE_LIMITS_STREAMS", "many")];
    let expected = [
        "SIDETONE_LIMITS_STREAMS: \"many\" is not understood; it must be a whole number, not negative",
        "SIDETONE_LIMITS_CALL: this variable stands for no key; did you mean SIDETONE_LIMITS_CALLS?",
        "SIDETONE_LIMIT_CALLS: this variable stands for no key; did you mean SIDETONE_LIMITS_CALLS?",
        "s.toml:1: limit is no section; did you mean limits?",
        "s.toml:5: limits.cals is no key; did you mean calls?",
        "s.toml:7: limits.fragment_bytes is wrong; it must be a whole number, not negative",
        "s.toml:10: quality.assumed_owd_ms is wrong; it must be between 0 and 10000",
        "s.toml:11: quality.codecs.\"G.711\" is refused; no codec or codec mode is named \"G.711\"",
        "s.toml:13: quality.codecs.\"PCMU\" sets nothing; give it ie, bpl, or both",
        "s.toml:16: sip.correlation_headers is wrong; it must be a list of texts in quotes",
        "s.toml:18: tenants entry has no name; give it name = \"...\", which is what its calls are called",
        "s.toml:19: tenants.domain is wrong; \"a*b\": it may have one *, at its beginning or its end",
        "s.toml:22: tenants entry is never reached; one before it has no condition and fits every call",
        "s.toml:24: tenants.source is wrong; \"10.1.2.3/8\": it has bits beyond its prefix; is 10.0.0.0/8 meant?",
        "s.toml:25: tenants.header_value is wrong; name the header too: header = \"X-Tenant\"",
        "s.toml:26: tenants.port is no key; these are: name, domain, header, header_value, source_port, \
         destination_port, from_number, to_number, source, destination",
    ];
    let found = problems(text, &given);
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

#[test]
fn what_metrics_there_are_is_read() {
    let metrics = read("s.toml", ALL, &BTreeMap::new()).unwrap().metrics;
    assert!(metrics.aliases);
    assert_eq!((metrics.sessions_max, metrics.series_max), (50, 500));
    assert_eq!((metrics.local.len(), metrics.rtp_ports), (2, 30_000..=39_999));
    let [trunk] = metrics.trunks.as_slice() else { panic!("{:?}", metrics.trunks) };
    assert_eq!((trunk.peers.len(), trunk.capacity_in, trunk.capacity_out), (2, Some(30), Some(60)));
}

#[test]
fn what_is_wrong_with_metrics_is_told() {
    let text = "\
[metrics]
aliases = \"homer\"
rtp_ports = \"39999-30000\"
local_addresses = \"here\"
[[trunks]]
name = \"a\"
[[trunks]]
name = \"a\"
peers = [\"203.0.113.9:port\"]
";
    let found = problems(text, &[]);
    let places: Vec<_> = found.iter().map(|problem| problem.split(';').next().unwrap()).collect();
    let expected = [
        "s.toml:2: metrics.aliases is wrong",
        "s.toml:3: metrics.rtp_ports is wrong",
        "s.toml:4: metrics.local_addresses is wrong",
        "s.toml:5: trunks entry has no peers",
        "s.toml:8: trunks.name is wrong",
        "s.toml:9: trunks.peers is wrong",
    ];
    assert_eq!(places, expected, "{found:#?}");
}

#[test]
fn broken_toml_is_told_with_its_lines() {
    let found = problems("[limits]\ncalls = = 3\nstreams = 0\n[sip\n", &[]);
    assert!(found[0].starts_with("s.toml:2: "), "{found:#?}");
    assert!(found.iter().any(|problem| problem.starts_with("s.toml:3: limits.streams")), "{found:#?}");
    assert!(found.iter().any(|problem| problem.starts_with("s.toml:4: ")), "{found:#?}");
    for text in [
        "limits = 3",
        "tenants = 3",
        "[tenants]",
        "tenants = [3]",
        "[quality]\ncodecs = 1",
        "quality.codecs.x = 1",
    ] {
        assert_eq!(problems(text, &[]).len(), 1, "{text}: {:?}", problems(text, &[]));
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let found = load(Some(Path::new("no/such.toml")), &BTreeMap::new()).unwrap_err();
    assert_eq!((found.len(), found[0].place.as_str()), (1, "no/such.toml"));
}

#[test]
fn more_rules_than_can_be_labels_are_refused() {
    let text = (0..=1000).fold(String::new(), |mut text, at| {
        writeln!(text, "[[routes]]\nname = \"{at}\"\nsource_port = 1").unwrap();
        text
    });
    assert_eq!(problems(&text, &[]), ["s.toml:3001: routes has too many entries; there may be 1000"]);
}

#[test]
fn every_key_is_documented_and_no_other() {
    let page = include_str!("../../docs/configuration.md");
    let mut keys = Vec::new();
    Reader::read("s.toml", ALL, &BTreeMap::new(), |reader| {
        Config::default().fill(reader);
        keys = reader.keys.iter().cloned().collect();
    });
    assert_eq!(keys.iter().filter(|key| key.starts_with("limits.")).count(), 11);
    for key in &keys {
        let (section, name) = key.rsplit_once('.').unwrap();
        let heading = match section {
            "tenants" | "routes" => "### `[[tenants]]`, `[[routes]]`".to_owned(),
            "trunks" | "processes" | "tail" | "tail.rule" => format!("### `[[{section}]]`"),
            _ if section.contains('"') => "### `[quality.codecs.\"NAME\"]`".to_owned(),
            _ => format!("### `[{section}]`"),
        };
        let (_, after) = page.split_once(&heading).unwrap_or_else(|| panic!("{heading} is missing"));
        let part = after.split("\n### ").next().unwrap();
        let row = format!("| `{name}` |");
        assert!(part.lines().any(|line| line.starts_with(&row)), "{key} is not documented");
    }
    let documented = page.lines().filter(|line| line.starts_with("| `")).count();
    let distinct: std::collections::BTreeSet<_> = keys
        .iter()
        .map(|key| key.replace("routes.", "tenants.").replace("\"OPUS\"", "\"opus/fb\""))
        .collect();
    assert_eq!(documented, distinct.len(), "the page has rows for keys that do not exist");
}

#[test]
fn the_documented_limits_are_the_defaults() {
    let page = include_str!("../../docs/configuration.md");
    let part = page.split("### `[limits]`").nth(1).unwrap().split("\n### ").next().unwrap();
    let rows = part.lines().filter_map(|line| line.strip_prefix("| `"));
    let text = rows.fold("[limits]\n".to_owned(), |text, row| {
        let mut cells = row.split('|').map(|cell| cell.trim_matches([' ', '`']));
        format!("{text}{} = {}\n", cells.next().unwrap(), cells.next().unwrap())
    });
    let documented = read("page", &text, &BTreeMap::new()).unwrap().observer.limits;
    assert_eq!(format!("{documented:?}"), format!("{:?}", crate::limits::Limits::default()));
}
