//! What the shipped alerts say of the lab: a real Prometheus beside the agent asks it each second, and no alert need last
//! (`for:` is left out). Alertmanager is looked at in `alerts_live.rs`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};

use serde_json::Value;

use super::patience::within;
use super::skipped::skipped;
use super::stage::{Caller, Lab, Watch};

/// Prometheus on the proxy's host.
pub(crate) struct Alerts<'a> {
    lab: &'a Lab,
    server: Child,
}

impl Drop for Alerts<'_> {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl<'a> Alerts<'a> {
    /// `None` where there is no Prometheus.
    pub(crate) fn watch(lab: &'a Lab) -> Option<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        if !std::env::split_paths(&path).any(|directory| directory.join("prometheus").exists()) {
            skipped("alerts in the lab need prometheus");
            return None;
        }
        for file in ["sidetone.rules.yml", "sidetone.alerts.yml"] {
            let packaged = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/prometheus").join(file);
            let text = fs::read_to_string(packaged).unwrap();
            let lines = text.lines().filter(|line| !line.starts_with("    for: "));
            fs::write(lab.file(file), lines.fold(String::new(), |text, line| text + line + "\n")).unwrap();
        }
        let config = lab.file("prometheus.yml");
        let text = "global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}\n\
                    rule_files: [sidetone.rules.yml, sidetone.alerts.yml]\n\
                    scrape_configs: [{job_name: sidetone, static_configs: [{targets: ['127.0.0.1:9767']}]}]\n";
        fs::write(&config, text).unwrap();
        let server = lab
            .inside("p", "prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", lab.file("prometheus").display()))
            .arg("--web.listen-address=127.0.0.1:9090")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let alerts = Self { lab, server };
        assert!(within(60, || !alerts.query("up == 1").is_empty()), "the agent is scraped");
        Some(alerts)
    }

    /// All that were up at any time, once this many calls are over and the rules have seen it. That a busy machine does
    /// not answer within a second is its own affair.
    pub(crate) fn raised(&self, calls: u32) -> BTreeSet<String> {
        let over = "sum(sidetone:sip_attempt_results:increase5m)";
        let count =
            || self.query(over).first().map(|sum| sum["value"][1].as_str().unwrap().parse::<f64>().unwrap());
        assert!(within(60, || count() >= Some(f64::from(calls))), "{:?} of {calls} calls are over", count());
        let alerts =
            self.query("count by (alertname) (count_over_time(ALERTS{alertname!=\"AgentDown\"}[30m]))");
        alerts.iter().map(|alert| alert["metric"]["alertname"].as_str().unwrap().to_owned()).collect()
    }

    fn query(&self, query: &str) -> Vec<Value> {
        let url = "http://127.0.0.1:9090/api/v1/query";
        let mut asked = self.lab.inside("p", "curl");
        asked.args(["-s", "-m", "10", "-G", url, "--data-urlencode", &format!("query={query}")]);
        let answer: Value = serde_json::from_slice(&asked.output().unwrap().stdout).unwrap_or_default();
        answer["data"]["result"].as_array().cloned().unwrap_or_default()
    }
}

#[test]
fn calls_that_fail_raise_their_alert_and_busy_ones_do_not() {
    let Some(lab) = Lab::up() else { return };
    let watch = Watch::start(&lab);
    let Some(alerts) = Alerts::watch(&lab) else { return };
    let user = "-key user trunk -r 10";
    let mut busy = vec![lab.call("refused:486", 24, "9100", user)];
    watch.sample(&mut busy);
    busy.into_iter().for_each(Caller::succeed);
    assert_eq!(alerts.raised(24), BTreeSet::new(), "people who are busy are no failure");
    let mut failing = vec![lab.call("refused:503", 6, "9900", user)];
    watch.sample(&mut failing);
    failing.into_iter().for_each(Caller::succeed);
    let expected = BTreeSet::from(["HighCallSetupFailureRate".to_owned()]);
    assert!(within(30, || alerts.raised(30) == expected), "{:?}", alerts.raised(30));
    drop(alerts);
    watch.finish(30, 0, 0);
}
