//! The dashboards of packaging/grafana and the rules of packaging/prometheus: well formed, of metrics that there are, and
//! not empty.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot run its subject has failed")]

#[path = "support/catalogue.rs"]
mod catalogue;
#[path = "support/needs.rs"]
mod needs;
#[path = "support/patience.rs"]
mod patience;
#[path = "support/prometheus.rs"]
mod prometheus;
#[path = "support/promql.rs"]
mod promql;
#[path = "support/skipped.rs"]
mod skipped;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use catalogue::Catalogue;
use needs::has;
use prometheus::{Served, asked, prometheus};
use serde_json::Value;

#[test]
fn each_dashboard_is_well_formed() {
    let mut uids = BTreeSet::new();
    for (file, board) in boards() {
        let uid = board["uid"].as_str().unwrap().to_owned();
        assert_eq!(file.file_stem().unwrap().to_str().unwrap(), uid);
        assert!(uids.insert(uid.clone()), "{uid} twice");
        assert_eq!(board["schemaVersion"], 39, "{uid}");
        let variables: BTreeSet<_> = board["templating"]["list"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["name"].as_str().unwrap())
            .collect();
        for variable in ["instance", "tenant", "route", "trunk", "prometheus", "loki", "tempo"] {
            assert!(variables.contains(variable), "{uid} has no variable {variable}");
        }
        let mut ids = BTreeSet::new();
        let mut taken = BTreeSet::new();
        for panel in board["panels"].as_array().unwrap() {
            let title = panel["title"].as_str().unwrap();
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{uid}: {title}: its id is taken");
            let [x, y, w, h] = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap());
            assert!(w > 0 && h > 0 && x + w <= 24, "{uid}: {title}");
            for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
                assert!(taken.insert(cell), "{uid}: {title} lies over another panel");
            }
            if panel["type"] == "row" {
                continue;
            }
            let description = panel["description"].as_str().unwrap();
            assert!(description.len() > 20, "{uid}: {title} does not say what to do");
            for runbook in description.split("runbook ").skip(1) {
                let name = runbook.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap();
                assert!(root(&format!("docs/runbooks/{name}.md")).exists(), "{uid}: {title}: {name}");
            }
            if panel["type"] != "text" {
                let empty = panel["fieldConfig"]["defaults"]["noValue"].as_str().unwrap_or_default();
                assert!(empty.len() > 5, "{uid}: {title} does not say why it is empty");
                assert!(!panel["targets"].as_array().unwrap().is_empty(), "{uid}: {title}");
            }
            for link in panel["links"].as_array().unwrap() {
                let url = link["url"].as_str().unwrap();
                let panes = url.split_once("panes=").unwrap().1;
                assert!(serde_json::from_str::<Value>(panes).is_ok(), "{uid}: {title}: {url}");
            }
        }
    }
    assert_eq!(uids.len(), 8);
}

/// Parsing is Prometheus's work, names are compared with the catalogue, and data come from the demo with trunks, tenants,
/// routes, aliases and processes configured, scraped each second.
#[test]
fn every_query_parses_names_what_there_is_and_gives_data() {
    if !has("prometheus") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("sidetone.toml");
    fs::write(&config, DEMO).unwrap();
    let demo = Demo::start(&config);
    for file in RULES {
        fs::copy(root("packaging/prometheus").join(file), folder.path().join(file)).unwrap();
    }
    let server = prometheus(
        folder.path(),
        &format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [{}]\nscrape_configs:\n\
             - job_name: sidetone\n  static_configs: [{{targets: ['{}']}}]\n",
            RULES.join(", "),
            demo.address
        ),
    );
    let rules = rules(&server);
    let catalogue = Catalogue::new(recorded(&rules));
    let mut queries = Vec::new();
    for rule in &rules {
        let name = rule["name"].as_str().unwrap();
        let unknown = catalogue.unknown(rule["query"].as_str().unwrap());
        assert!(unknown.is_empty(), "rule {name}: {unknown:?} are not in the catalogue");
        if rule["type"] == "recording" {
            queries.push((format!("rule {name}"), name.to_owned()));
        }
    }
    for (file, board) in boards() {
        for (title, query) in queries_of(&board) {
            let what = format!("{}: {title}", file.file_stem().unwrap().to_str().unwrap());
            let unknown = catalogue.unknown(&query);
            assert!(unknown.is_empty(), "{what}: {unknown:?} are not in the catalogue\n{query}");
            queries.push((what, query));
        }
    }
    runbooks(&catalogue, &server, &demo.address);
    // Two scrapes and the rules after them; more while something is still missing.
    let mut empty = queries;
    patience::within(90, || {
        empty.retain(|(what, query)| {
            let answer = asked(&server, query).unwrap_or_else(|| panic!("{what} does not parse\n{query}"));
            answer.is_empty() && EMPTY.iter().all(|(part, _)| !what.contains(part) && !query.contains(part))
        });
        empty.is_empty()
    });
    let empty: Vec<_> = empty.iter().map(|(what, query)| format!("{what}\n    {query}\n")).collect();
    assert!(empty.is_empty(), "no data for\n{}", empty.concat());
}

/// Neither Loki nor Tempo can be asked here; but what panels and links ask them names only what the agent sends.
#[test]
fn queries_of_logs_and_traces_name_what_is_sent() {
    let loki = fs::read_to_string(root("docs/loki.md")).unwrap();
    let sent = loki.lines().find(|line| line.starts_with("| `job`")).unwrap();
    let sent: BTreeSet<&str> = sent.split('`').skip(1).step_by(2).collect();
    let mut asked = 0;
    for (file, board) in boards() {
        for panel in board["panels"].as_array().unwrap() {
            let mut queries: Vec<String> = Vec::new();
            for target in panel["targets"].as_array().into_iter().flatten() {
                queries.extend(
                    ["expr", "query"].iter().filter_map(|key| Some(target[key].as_str()?.to_owned())),
                );
            }
            for link in panel["links"].as_array().into_iter().flatten() {
                let panes: Value =
                    serde_json::from_str(link["url"].as_str().unwrap().split_once("panes=").unwrap().1)
                        .unwrap();
                for query in panes
                    .as_object()
                    .unwrap()
                    .values()
                    .filter_map(|pane| pane["queries"].as_array())
                    .flatten()
                {
                    queries.extend(
                        ["expr", "query"].iter().filter_map(|key| Some(query[key].as_str()?.to_owned())),
                    );
                }
            }
            // Of Prometheus every query begins with a name or a function.
            for query in queries.iter().filter(|query| query.starts_with('{')) {
                let (selector, stages) = query[1..].split_once('}').unwrap();
                let names = selector.split(',').chain(stages.split('|')).filter_map(|part| {
                    let name = part.trim().split(['=', '!', '~', '<', '>']).next()?.trim();
                    (!name.is_empty() && name != "json").then_some(name)
                });
                for name in names {
                    let known = sent.contains(name) || name == "resource.service.name";
                    assert!(known, "{}: {}: {name} of {query}", file.display(), panel["title"]);
                }
                asked += 1;
            }
        }
    }
    assert!(asked > 10, "{asked}");
}

/// Of the commands in runbooks, queries parse and name what there is, and pages of the agent are there.
fn runbooks(catalogue: &Catalogue, server: &Served, agent: &str) {
    let mut commands = 0;
    for file in fs::read_dir(root("docs/runbooks")).unwrap() {
        let page = fs::read_to_string(file.unwrap().path()).unwrap();
        for line in page.lines() {
            if let Some(query) = line.strip_prefix("promtool query instant http://127.0.0.1:9090 ") {
                let query = query.trim_matches('\'');
                assert!(asked(server, query).is_some(), "{line} does not parse");
                let unknown = catalogue.unknown(query);
                assert!(unknown.is_empty(), "{line}: {unknown:?}");
                commands += 1;
            } else if let Some(address) = line.strip_prefix("curl -s 'http://127.0.0.1:9767") {
                let path = address.trim_matches('\'');
                // A busy agent may say 503 of its health meanwhile.
                assert!(patience::within(60, || prometheus::get(agent, path).is_some()), "{line}");
                commands += 1;
            }
        }
    }
    assert!(commands > 50);
}

/// What is rightly empty in the demo: a part of a query or of a title, and why.
const EMPTY: &[(&str, &str)] = &[
    ("avg1h", "a baseline needs more than a quarter of an hour"),
    ("deriv(", "a slope of an hour needs more than the first samples"),
    ("oneway", "the demo plays none"),
    ("dead_air", "the demo plays none"),
    ("table_evictions", "no table is full"),
    ("metrics_overflow", "no family is full"),
    ("sidetone:undecoded", "all is decoded"),
    ("sidetone_sip_malformed", "simulated SIP is right"),
    ("sidetone_sip_defects", "simulated SIP is right"),
    ("sidetone_skipped", "all that is played is of use"),
    ("sidetone_capture_duplicates", "nothing is captured twice"),
    ("sidetone_capture_fragments", "no packet is in fragments"),
    ("sidetone_capture_truncated", "no packet is cut"),
    ("sidetone_windows_tainted", "the tap drops nothing"),
    ("voip_rtp_stalls", "no stream stalls"),
    ("voip_rtp_restarts", "no stream begins anew"),
    ("voip_rtp_discontinuities", "no time stamp jumps"),
    ("voip_rtp_duplicates", "no packet is repeated"),
    ("voip_host_gpu", "it is not asked for"),
    ("voip_reported_mos", "no endpoint reports its MOS"),
    ("voip_rtp_clock_skew", "calls of the demo are shorter than a minute"),
    ("voip_sip_transfers", "the demo plays none"),
    ("voip_sip_forked", "not in every minute"),
    ("voip_sip_retransmissions", "not in every minute"),
    ("voip_sip_orphan", "every beginning was seen"),
    ("voip_sip_auth", "not in every minute"),
    ("voip_sip_session_request_failed", "not in every minute"),
    ("result=~\"failed|timeout|no_final\"", "not in every minute"),
    ("source=\"malloc\"", "asked for only, and needs a right"),
    ("voip_process_fragmentation", "needs CAP_SYS_PTRACE"),
    ("voip_process_heap", "needs CAP_SYS_PTRACE"),
    ("voip_process_pool", "no Kamailio is there"),
    ("voip_process_cgroup", "there need be no limit"),
    ("voip_process_swap", "not told by every kernel"),
    ("voip_host_pressure", "not told by every kernel"),
    ("voip_host_udp", "not told in every container"),
    ("voip_host_filesystem", "not told in every container"),
    ("sidetone_http_rate_limit", "nobody asks too often"),
    ("sidetone_hep_", "no HEP is configured"),
    ("sidetone_loki_", "no Loki is configured"),
    ("sidetone_otlp_", "no collector is configured"),
    ("ALERTS", "alerts may all be well"),
    ("changes(", "the agent started long enough ago, or too lately"),
];

/// Tables of the demo: what its labels and its optional figures come from.
const DEMO: &str = r#"
[metrics]
aliases = ["siprec"]
local_addresses = ["10.0.0.0/8"]
rtp_ports = "1024-65535"

[[trunks]]
name = "carrier"
peers = ["198.51.100.0/24"]
capacity_in = 100
capacity_out = 100

[[tenants]]
name = "acme"
domain = ["example.com"]

[[routes]]
name = "out"
destination = ["198.51.100.0/24"]

[[processes]]
name = "sidetone"
memory_budget = 1000000000
"#;

struct Demo {
    process: Child,
    address: String,
}

impl Demo {
    fn start(config: &Path) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_sidetone"))
            .args(["demo", "--config", &config.display().to_string()])
            .env("SIDETONE_HTTP_LISTEN", "127.0.0.1:0")
            .env("SIDETONE_POLL_INTERVAL_SECONDS", "1")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let page = lines.find_map(|line| Some(line.unwrap().strip_prefix("sidetone: http://")?.to_owned()));
        Self { process, address: page.unwrap().split('/').next().unwrap().to_owned() }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// All rules as Prometheus has parsed them, in their order.
fn rules(server: &Served) -> Vec<Value> {
    let answer = server.json("/api/v1/rules").unwrap();
    let groups = answer["data"]["groups"].as_array().unwrap();
    let rules: Vec<_> = groups.iter().flat_map(|group| group["rules"].as_array().unwrap()).cloned().collect();
    assert!(rules.len() > 150);
    rules
}

/// Recording rules; those of which others are made come first.
fn recorded(rules: &[Value]) -> impl Iterator<Item = (&str, &str)> {
    let of = move |first: bool| {
        rules.iter().filter(|rule| rule["type"] == "recording").filter_map(move |rule| {
            let (name, query) = (rule["name"].as_str()?, rule["query"].as_str()?);
            (name.starts_with("sidetone:") == first).then_some((name, query))
        })
    };
    let results =
        move |first: bool| of(false).filter(move |(name, _)| name.contains(":sip_results:") == first);
    of(true).chain(results(true)).chain(results(false))
}

/// Queries of Prometheus in a dashboard, of panels, variables and annotations, as Grafana would send them.
fn queries_of(board: &Value) -> Vec<(String, String)> {
    let mut queries = Vec::new();
    for panel in board["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            if target["datasource"]["type"] == "prometheus" {
                let title = panel["title"].as_str().unwrap().to_owned();
                queries.push((title, target["expr"].as_str().unwrap().to_owned()));
            }
        }
    }
    for variable in board["templating"]["list"].as_array().unwrap() {
        let query = variable["query"]["query"].as_str().unwrap_or_default();
        if let Some((selector, _)) =
            query.strip_prefix("label_values(").and_then(|query| query.rsplit_once(", "))
        {
            queries.push((format!("variable {}", variable["name"]), selector.to_owned()));
        }
    }
    for annotation in board["annotations"]["list"].as_array().unwrap() {
        queries.push((
            format!("annotation {}", annotation["name"]),
            annotation["expr"].as_str().unwrap().to_owned(),
        ));
    }
    assert!(queries.len() > 10);
    let put = |query: String| {
        let query = query.replace("$__rate_interval", "1m");
        let put = |query: String, name: &str| query.replace(&format!("${name}"), ".*");
        ["instance", "tenant", "route", "trunk", "call_hash"].into_iter().fold(query, put)
    };
    queries.into_iter().map(|(title, query)| (title, put(query))).collect()
}

fn boards() -> Vec<(PathBuf, Value)> {
    let files = fs::read_dir(root("packaging/grafana/dashboards")).unwrap();
    let mut boards: Vec<_> = files
        .map(|file| {
            let file = file.unwrap().path();
            let board = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
            (file, board)
        })
        .collect();
    boards.sort_by(|(one, _), (other, _)| one.cmp(other));
    boards
}

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

const RULES: &[&str] = &["sidetone.rules.yml", "sidetone.alerts.yml"];
