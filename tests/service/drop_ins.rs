//! The unit with its drop-ins, in a real systemd: another user's program is looked into, and the rights lie where they should.

use std::fs;
use std::path::Path;

use crate::system::Layer;
use crate::target::build;
use crate::tracefs::Tracefs;

#[test]
fn they_give_the_second_process_what_it_takes() {
    let Some(mut layer) = Layer::new() else { return };
    let Some(program) = build("cc", "counter.c", "heap-counter", &["-fno-builtin"]) else { return };
    // Whether there is one; the container mounts its own.
    let Some(_tracefs) = Tracefs::mount() else { return };
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::copy(env!("CARGO_BIN_EXE_sidetone"), layer.place("usr/bin/sidetone")).unwrap();
    fs::copy(program, layer.place("usr/bin/heap-counter")).unwrap();
    fs::copy(project.join("systemd/sidetone.service"), layer.place("etc/systemd/system/sidetone.service"))
        .unwrap();
    for name in ["processes", "ptrace", "perfmon"] {
        let file = format!("sidetone.service.d/{name}.conf");
        fs::copy(project.join("systemd").join(&file), layer.place(&format!("etc/systemd/system/{file}")))
            .unwrap();
    }
    layer.put("etc/sidetone/sidetone.toml", CONFIGURATION);
    layer.put("etc/systemd/system/counter.service", COUNTER);
    layer.start_with_the_system("counter.service");
    layer.start_with_the_system("sidetone.service");
    // What systemd does on a host by itself; and the right to count.
    layer.put("etc/systemd/system/tracing.service", TRACING);
    layer.start_with_the_system("tracing.service");
    layer.allow("--capability=CAP_PERFMON");
    layer.allow("--system-call-filter=perf_event_open");
    let told = layer.boot("sidetone.service counter.service", PROBE);
    told.has("agent", &["CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "Seccomp:\t2"]);
    // CAP_DAC_READ_SEARCH (2), CAP_SYS_PTRACE (19), CAP_PERFMON (38), and not CAP_DAC_OVERRIDE (1).
    told.has("second", &["CapEff:\t0000004000080004", "NoNewPrivs:\t1", "Seccomp:\t2"]);
    assert!(!told.of("second").contains("Uid:\t0"), "{told:?}");
    told.has("figures", &["\"name\":\"second_process\",\"status\":\"up\""]);
    let figure = |series: &str| -> f64 {
        let line = told.of("figures").lines().find(|line| line.starts_with(series));
        line.unwrap_or_else(|| panic!("{series}: {told:?}")).rsplit_once(' ').unwrap().1.parse().unwrap()
    };
    // It answers each "threads" with 28,120 calls, twice a second.
    let (first, then) =
        (figure("before voip_process_allocations_total"), figure("after voip_process_allocations_total"));
    assert!(then >= first + 28_120.0, "{first} {then}");
    assert!(figure("after voip_process_heap_bytes{process=\"counter\",state=\"free\"}") > 0.0);
    assert!(figure("after voip_process_proportional_memory_bytes{process=\"counter\"}") > 0.0);
}

const CONFIGURATION: &str = r#"
[poll]
interval_seconds = 1
well_known = false
[[processes]]
name = "counter"
command = ["heap-counter"]
allocations = "malloc"
heap_interval_seconds = 1
"#;

/// Of a user of its own.
const COUNTER: &str = "[Service]\nDynamicUser=yes\nStandardOutput=null\n\
    ExecStart=/bin/bash -c 'while :; do echo threads; sleep 0.5; done | exec /usr/bin/heap-counter'\n";

const TRACING: &str = "[Unit]\nBefore=sidetone.service\n[Service]\nType=oneshot\n\
    ExecStart=/bin/mount -t tracefs tracefs /sys/kernel/tracing\n";

const PROBE: &str = r#"
get() { exec 3<>/dev/tcp/127.0.0.1/9767 && printf 'GET %s HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n' "$1" >&3 && cat <&3; echo; } 2>/dev/null
within() { for _ in $(seq 100); do "$@" && return 0; sleep 0.1; done; return 1; }
calls() { get /metrics | grep 'voip_process_allocations_total.*malloc'; }

echo "== agent"
agent=$(systemctl show --property MainPID --value sidetone.service)
cat /proc/$agent/status
systemctl -q is-active sidetone.service || { journalctl --no-pager --unit sidetone.service; systemctl poweroff --no-block; exit; }

echo "== second"
cat /proc/$(cat /proc/$agent/task/$agent/children | tr -d ' ')/status

echo "== figures"
counted() { calls | grep -q ' [1-9]'; }
within counted
calls | sed 's/^/before /'
first=$(calls)
rises() { [ "$(calls)" != "$first" ]; }
within rises
sleep 2
get /metrics | grep counter | sed 's/^/after /'
get '/health?detailed=true'
systemctl poweroff --no-block
"#;
