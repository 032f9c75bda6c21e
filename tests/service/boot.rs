//! The unit in a real systemd.

use std::fs;
use std::path::Path;

use crate::system::Layer;

#[test]
fn it_boots_reloads_and_is_restarted() {
    let Some(layer) = Layer::new() else { return };
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::copy(env!("CARGO_BIN_EXE_sidetone"), layer.place("usr/bin/sidetone")).unwrap();
    for (from, to) in [
        ("systemd/sidetone.service", "etc/systemd/system/sidetone.service"),
        ("packaging/sidetone.toml", "etc/sidetone/sidetone.toml"),
    ] {
        fs::copy(project.join(from), layer.place(to)).unwrap();
    }
    layer.put("etc/systemd/system/sidetone.service.d/test.conf", SHORT_WATCHDOG);
    layer.start_with_the_system("sidetone.service");
    let told = layer.boot("sidetone.service", PROBE);
    told.has(
        "started",
        &[
            "active",
            "CapEff:\t0000000000000000",
            "CapPrm:\t0000000000000000",
            "NoNewPrivs:\t1",
            "Seccomp:\t2",
            "\"name\":\"sandbox\",\"status\":\"up\"",
            "\"landlock\":{\"abi\":",
        ],
    );
    assert!(!told.of("started").contains("Uid:\t0"), "{told:?}");
    told.has("reloaded", &["\"endpoint_delay_ms\":7.0"]);
    told.has("refused", &["active", "\"status\":\"degraded\""]);
    told.has("watchdog", &["Result=watchdog", "restarted"]);
    told.has("bad configuration", &["ExecMainStatus=64", "failed"]);
    told.has("no capability", &["ExecMainStatus=77", "failed"]);
}

/// It takes 12 s; on a machine that is busy otherwise the watchdog must not bark too early. The capture thread is not the
/// only one that is stopped here: SIGSTOP stops all.
const SHORT_WATCHDOG: &str = "[Service]\nWatchdogSec=5s\nTimeoutAbortSec=1s\nRestartSec=100ms\n";

const PROBE: &str = r#"
unit=sidetone.service
file=/etc/sidetone/sidetone.toml
pid() { systemctl show --property MainPID --value $unit; }
get() { exec 3<>/dev/tcp/127.0.0.1/9767 && printf 'GET %s HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n' "$1" >&3 && cat <&3; echo; } 2>/dev/null
within() { for _ in $(seq 300); do "$@" && return 0; sleep 0.1; done; return 1; }

echo "== started"
systemctl is-active $unit
cat /proc/$(pid)/status
systemctl -q is-active $unit || { journalctl --no-pager --unit $unit; systemctl poweroff --no-block; exit; }
get '/health?detailed=true'

echo "== reloaded"
printf '[quality]\nendpoint_delay_ms = 7\n' >$file
systemctl reload $unit
seven() { get /api/config | grep -q '"endpoint_delay_ms":7.0'; }
within seven
get /api/config

echo "== refused"
echo 'nonsense = 1' >$file
systemctl reload $unit
refused() { get '/health?detailed=true' | grep -q refused; }
within refused
systemctl is-active $unit
get '/health?detailed=true' | grep -o '"name":"configuration","status":"[a-z]*"'

echo "== watchdog"
echo >$file
old=$(pid)
kill -STOP $old
restarted() { [ "$(systemctl show --property NRestarts --value $unit)" -ge 1 ] && [ "$(pid)" != "$old" ] && systemctl -q is-active $unit; }
within restarted && echo restarted
systemctl show --property Result,NRestarts $unit
journalctl --boot --no-pager --unit $unit | grep -o 'Failed with result .*' | sed "s/.*'\(.*\)'.*/Result=\1/"

echo "== bad configuration"
echo 'nonsense = 1' >$file
systemctl restart $unit
sleep 1
systemctl is-active $unit
systemctl show --property ExecMainStatus,NRestarts $unit

echo "== no capability"
echo >$file
printf '[Service]\nAmbientCapabilities=\nCapabilityBoundingSet=\n' >/run/none.conf
mkdir -p /run/systemd/system/$unit.d && mv /run/none.conf /run/systemd/system/$unit.d/zz.conf
systemctl daemon-reload
systemctl reset-failed $unit
systemctl restart $unit
sleep 1
systemctl is-active $unit
systemctl show --property ExecMainStatus,NRestarts $unit
systemctl poweroff --no-block
"#;
