//! Another configuration while it runs, by every way it comes.

use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::symlink;
use std::process::Command;

use crate::agent::{Agent, until};
use crate::skipped::skipped;

/// `[quality] endpoint_delay_ms` in force.
fn delay(agent: &Agent) -> f64 {
    agent.json("/api/config")["quality"]["endpoint_delay_ms"].as_f64().unwrap()
}

fn text(delay: u32) -> String {
    format!("[quality]\nendpoint_delay_ms = {delay}\n")
}

fn becomes(agent: &Agent, expected: u32) {
    let reached = until(|| (delay(agent) - f64::from(expected)).abs() < 0.01);
    assert!(
        reached,
        "{} and not {expected}: {}\n{}",
        delay(agent),
        agent.said(),
        agent.part("configuration")
    );
}

#[test]
fn a_broken_file_is_refused_and_a_good_one_taken() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sidetone.toml");
    fs::write(&file, text(1)).unwrap();
    let Some(agent) = Agent::start(&file) else { return };
    becomes(&agent, 1);
    assert_eq!(agent.part("configuration")["status"], "up");

    // Written in place, and noticed.
    fs::write(&file, "[quality]\nendpoint_delay_ms = \"much\"\nplcc = true\n").unwrap();
    assert!(until(|| agent.part("configuration")["status"] == "degraded"), "{}", agent.said());
    let refused = agent.part("configuration")["detail"]["refused"].clone();
    assert!(refused["at"].as_str().is_some_and(|at| at.ends_with('Z')), "{refused}");
    let reasons = refused["reasons"].to_string();
    for line in ["sidetone.toml:2", "sidetone.toml:3"] {
        assert!(reasons.contains(line) && agent.said().contains(line), "{reasons} {}", agent.said());
    }
    assert!(agent.said().contains("reload refused, the configuration in use stays"));
    assert_eq!(agent.get("/health").0, 200, "it goes on measuring");
    becomes(&agent, 1);

    // Renamed over, as editors do, and noticed.
    let fresh = directory.path().join("sidetone.toml.new");
    for value in [2, 3] {
        fs::write(&fresh, text(value)).unwrap();
        fs::rename(&fresh, &file).unwrap();
        becomes(&agent, value);
    }
    assert_eq!(agent.part("configuration")["status"], "up", "what was refused is over");

    // Missing is broken too; and back again.
    fs::rename(&file, &fresh).unwrap();
    assert!(until(|| agent.part("configuration")["status"] == "degraded"), "{}", agent.said());
    becomes(&agent, 3);
    fs::rename(&fresh, &file).unwrap();
    assert!(until(|| agent.part("configuration")["status"] == "up"), "{}", agent.said());

    // What needs a restart is told and stays, and the rest is taken.
    fs::write(&file, format!("[limits]\ncalls = 17\n{}", text(4))).unwrap();
    agent.signal("-HUP");
    becomes(&agent, 4);
    assert_eq!(
        agent.part("configuration")["detail"]["waiting_for_restart"],
        serde_json::json!(["limits.calls"])
    );
    assert_eq!(agent.json("/api/config")["limits"]["calls"], 200_000);
    assert!(agent.said().contains("limits.calls: 200000 -> 17, after a restart"), "{}", agent.said());
    assert!(agent.said().contains("quality.endpoint_delay_ms: 3.0 -> 4.0\""), "{}", agent.said());

    // A file that nobody names changes nothing.
    let before = agent.part("configuration")["detail"]["reloads"].clone();
    fs::write(directory.path().join("other"), "x").unwrap();
    agent.signal("-HUP");
    let reloads = |agent: &Agent| agent.part("configuration")["detail"]["reloads"].clone();
    assert!(until(|| reloads(&agent) != before));
    assert_eq!(
        reloads(&agent).as_u64(),
        before.as_u64().map(|before| before + 1),
        "the signal alone counted"
    );
}

/// Kubernetes writes a new directory and turns the link `..data` to it; the names in the volume are links through it.
#[test]
fn a_config_map_that_is_swapped_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let volume = directory.path();
    let version = |name: &str, value| {
        fs::create_dir(volume.join(name)).unwrap();
        fs::write(volume.join(name).join("sidetone.toml"), text(value)).unwrap();
    };
    version("..2026_11_29_01", 1);
    symlink("..2026_11_29_01", volume.join("..data")).unwrap();
    symlink("..data/sidetone.toml", volume.join("sidetone.toml")).unwrap();
    let Some(agent) = Agent::start(&volume.join("sidetone.toml")) else { return };
    becomes(&agent, 1);
    for (old, new, value) in
        [("..2026_11_29_01", "..2026_11_29_02", 2), ("..2026_11_29_02", "..2026_11_29_03", 3)]
    {
        version(new, value);
        symlink(new, volume.join("..data_tmp")).unwrap();
        fs::rename(volume.join("..data_tmp"), volume.join("..data")).unwrap();
        fs::remove_dir_all(volume.join(old)).unwrap();
        becomes(&agent, value);
    }
}

#[test]
fn the_capture_thread_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sidetone.toml");
    let rules = |name: &str| format!("[[tenants]]\nname = \"{name}\"\ndomain = \"one.example\"\n");
    fs::write(&file, rules("one")).unwrap();
    let Some(agent) = Agent::start(&file) else { return };
    let tenant = |call: &str| {
        let calls = agent.json("/api/calls");
        let found = calls["calls"].as_array().unwrap().iter().find(|found| found["call_id"] == call).cloned();
        found.map(|call| call["tenant"].as_str().unwrap_or_default().to_owned())
    };
    invite("before", "one.example");
    assert!(until(|| tenant("before").as_deref() == Some("one")), "{}", agent.said());

    let two = "[[tenants]]\nname = \"two\"\ndomain = \"two.example\"\n";
    fs::write(&file, format!("{two}{}", rules("one"))).unwrap();
    agent.signal("-HUP");
    assert!(until(|| agent.json("/api/config")["tenants"].as_array().unwrap().len() == 2));
    // The capture thread takes it within its next round, of 50 ms.
    let mut number = 0;
    let taken = until(|| {
        number += 1;
        let name = format!("after{number}");
        invite(&name, "two.example");
        until(|| tenant(&name).is_some());
        tenant(&name).as_deref() == Some("two")
    });
    assert!(taken, "{}", agent.said());
    assert_eq!(tenant("before").as_deref(), Some("one"), "what is up keeps its name in another place");
}

#[test]
fn interfaces_are_captured_on_from_the_reload_on() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sidetone.toml");
    let on =
        |interface: &str| fs::write(&file, format!("[capture]\ninterfaces = [{interface:?}]\n")).unwrap();
    // A link of a kind that is in every network namespace, or else none that is not lo.
    let Some(other) = fs::read_dir("/sys/class/net")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .find(|name| name != "lo")
    else {
        return skipped("there is no interface but lo");
    };
    on(&other);
    let mut command = Command::new(env!("CARGO_BIN_EXE_sidetone"));
    command.args(["run", "--config"]).arg(&file);
    let Some(agent) = Agent::on(command) else { return };
    let heard = |call: &str| agent.get(&format!("/api/calls/{call}")).0 == 200;
    invite("unheard", "one.example");

    on("lo");
    let mut number = 0;
    let taken = until(|| {
        number += 1;
        let name = format!("heard{number}");
        invite(&name, "one.example");
        until(|| agent.get("/api/calls").0 == 200) && heard(&name)
    });
    assert!(taken, "{}", agent.said());
    assert!(!heard("unheard"));
    assert_eq!(agent.json("/api/config")["capture"]["interfaces"], serde_json::json!(["lo"]));

    // One that is not there: it stays as it was, and why is told.
    on("nowhere0");
    assert!(until(|| agent.part("capture")["status"] == "degraded"), "{}", agent.said());
    let reason = agent.part("capture")["detail"]["interfaces_refused"].to_string();
    assert!(reason.contains("nowhere0") && agent.said().contains(&reason[1..reason.len() - 1]), "{reason}");
    invite("still", "one.example");
    assert!(until(|| heard("still")), "{}", agent.said());
    assert_eq!(agent.part("sandbox")["detail"]["capabilities"], 0);
}

fn invite(call: &str, domain: &str) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let message = format!(
        "INVITE sip:b@{domain} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK{call}\r\n\
         From: <sip:a@{domain}>;tag={call}\r\nTo: <sip:b@{domain}>\r\nCall-ID: {call}\r\nCSeq: 1 INVITE\r\n\
         Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    );
    socket.send_to(message.as_bytes(), "127.0.0.1:5060").unwrap();
}

#[test]
fn the_web_configuration_is_read_again() {
    let directory = tempfile::tempdir().unwrap();
    let (file, web) = (directory.path().join("sidetone.toml"), directory.path().join("web/web-config.yml"));
    fs::create_dir(directory.path().join("web")).unwrap();
    fs::write(&web, "").unwrap();
    fs::write(&file, format!("[http]\nweb_config = {web:?}\n")).unwrap();
    let Some(agent) = Agent::start(&file) else { return };
    let users = "basic_auth_users:\n  alice: $2y$10$mDwo.lAisC94iLAyP81MCesa29IzH37oigHC/42V2pdJlUprsJPze\n";
    fs::write(&web, users).unwrap();
    assert!(until(|| agent.get("/api/config").0 == 401), "{}", agent.said());
    fs::write(&web, "basic_auth_users: 3\n").unwrap();
    assert!(until(|| agent.said().contains("web-config.yml:1")), "{}", agent.said());
    assert_eq!(agent.get("/api/config").0, 401, "what was asked for last holds");
    fs::write(&web, "").unwrap();
    assert!(until(|| agent.get("/api/config").0 == 200), "{}", agent.said());
    let shown = agent.get("/api/config").1;
    assert!(shown.contains("web-config.yml") && !shown.contains("alice"), "{shown}");
}
