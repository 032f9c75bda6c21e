//! The unit in a real systemd: a Debian in a directory (`tests/tools.sh systemd-nspawn` makes it), booted in a container.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::needs::root_with;
use crate::skipped::skipped;

#[test]
fn it_boots_reloads_and_is_restarted() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/root");
    if !root_with(&["systemd-nspawn", "unshare", "timeout"]) {
        return;
    }
    if !root.join("lib/systemd/systemd").exists() {
        return skipped(format!(
            "there is no bootable system at {}: tests/tools.sh systemd-nspawn",
            root.display()
        ));
    }
    // Journals of earlier boots.
    let _ = fs::remove_dir_all(root.join("var/log/journal"));
    install(&root);
    let told = boot(&root);
    let of = |step: &str| {
        let (_, after) =
            told.split_once(&format!("== {step}\n")).unwrap_or_else(|| panic!("no {step}: {told}"));
        after.split("== ").next().unwrap().to_owned()
    };
    let started = of("started");
    for fact in [
        "active",
        "CapEff:\t0000000000000000",
        "CapPrm:\t0000000000000000",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
        "\"name\":\"sandbox\",\"status\":\"up\"",
        "\"landlock\":{\"abi\":",
    ] {
        assert!(started.contains(fact), "{fact}: {told}");
    }
    assert!(!started.contains("Uid:\t0"), "{told}");
    assert!(of("reloaded").contains("\"endpoint_delay_ms\":7.0"), "{told}");
    assert!(of("refused").contains("active") && of("refused").contains("\"status\":\"degraded\""), "{told}");
    assert!(of("watchdog").contains("Result=watchdog") && of("watchdog").contains("restarted"), "{told}");
    assert!(
        of("bad configuration").contains("ExecMainStatus=64") && of("bad configuration").contains("failed")
    );
    assert!(
        of("no capability").contains("ExecMainStatus=77") && of("no capability").contains("failed"),
        "{told}"
    );
}

fn put(root: &Path, place: &str, text: &str) {
    let path = root.join(place);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn install(root: &Path) {
    let project = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let program = root.join("usr/bin/sidetone");
    let _ = fs::remove_file(&program);
    fs::copy(env!("CARGO_BIN_EXE_sidetone"), &program).unwrap();
    bring_libraries(root);
    let unit = fs::read_to_string(project.join("systemd/sidetone.service")).unwrap();
    put(root, "etc/systemd/system/sidetone.service", &unit);
    let file = fs::read_to_string(project.join("packaging/sidetone.toml")).unwrap();
    put(root, "etc/sidetone/sidetone.toml", &file);
    put(root, "etc/systemd/system/sidetone.service.d/test.conf", SHORT_WATCHDOG);
    put(root, "etc/systemd/system/probe.service", PROBE_UNIT);
    put(root, "probe.sh", PROBE);
    let wants = root.join("etc/systemd/system/multi-user.target.wants");
    fs::create_dir_all(&wants).unwrap();
    for unit in ["sidetone.service", "probe.service"] {
        let _ = fs::remove_file(wants.join(unit));
        std::os::unix::fs::symlink(format!("../{unit}"), wants.join(unit)).unwrap();
    }
}

/// The libraries that the program is linked against and the system there does not have.
fn bring_libraries(root: &Path) {
    let output = Command::new("ldd").arg(env!("CARGO_BIN_EXE_sidetone")).output().unwrap();
    let listed = String::from_utf8(output.stdout).unwrap();
    for line in listed.lines() {
        let Some(library) = line.split(" => /").nth(1).and_then(|rest| rest.split(' ').next()) else {
            continue;
        };
        let there = root.join(library);
        if !there.exists() {
            fs::create_dir_all(there.parent().unwrap()).unwrap();
            fs::copy(Path::new("/").join(library), &there).unwrap();
        }
    }
}

/// Boots it, and returns what the probe has seen. `/run` may lie on a disk, and there need be no system bus here:
/// hence the mount namespace with a `/run` of its own. The container would keep Landlock from what is inside.
fn boot(root: &Path) -> String {
    let told = root.join("probe.txt");
    let _ = fs::remove_file(&told);
    let script = "mount --make-rprivate / && mount -t tmpfs tmpfs /run && \
                  exec systemd-nspawn -D \"$1\" --register=no --keep-unit --private-network --boot \
                  --system-call-filter='landlock_create_ruleset landlock_add_rule landlock_restrict_self'";
    let output = Command::new("timeout")
        .args(["--signal", "KILL", "300", "unshare", "--mount", "sh", "-c", script, "sh"])
        .arg(root)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    fs::read_to_string(&told).unwrap_or_else(|error| {
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        panic!("it did not boot: {error}\n{out}\n{err}")
    })
}

/// It takes 12 s; on a machine that is busy otherwise the watchdog must not bark too early. The capture thread is not the
/// only one that is stopped here: SIGSTOP stops all.
const SHORT_WATCHDOG: &str = "[Service]\nWatchdogSec=5s\nTimeoutAbortSec=1s\nRestartSec=100ms\n";

const PROBE_UNIT: &str = "[Unit]\nAfter=sidetone.service\n[Service]\nType=oneshot\nStandardOutput=file:/probe.txt\n\
                          StandardError=file:/probe.txt\nExecStart=/bin/bash /probe.sh\n[Install]\n\
                          WantedBy=multi-user.target\n";

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
