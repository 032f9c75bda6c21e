#!/usr/bin/env bash
# What a flood of events does to the agent and to its logs: guessed passwords, a registration that is refused each, one
# event and one line wanted each (benches/live/failing.c), on the loopback of a network namespace. After a run-in, in which
# tables fill to what the protocol's timers hold, prints Markdown: events, lines written, suppressed and lost, which must add
# up; packets and events dropped; how late after its packet a line was made; resident memory over the time that counts.
#
#   SIDETONE_BENCH_EVENTS    a second, default 20000
#   SIDETONE_BENCH_SECONDS   that count, default 60
#   SIDETONE_BENCH_RUN_IN    seconds before, default 60
#   SIDETONE_BENCH_PROGRAM   another build to measure
#
# Needs root, a C compiler, ip, curl and python3.
set -euo pipefail
cd "$(dirname "$0")/.."

events="${SIDETONE_BENCH_EVENTS:-20000}"
seconds="${SIDETONE_BENCH_SECONDS:-60}"
run_in="${SIDETONE_BENCH_RUN_IN:-60}"
. benches/live/net.sh
unset "${!SIDETONE_@}"
tools cc ip curl python3
build failing.c
net_up

SIDETONE_CAPTURE_INTERFACES=lo SIDETONE_LOGS_DIRECTORY="$kept/logs" SIDETONE_HTTP_LISTEN=127.0.0.1:9767 \
    ip netns exec "$net" "$program" run 2>"$kept/said" &
agent=$!
for _ in $(seq 100); do
    grep -q metrics "$kept/said" && break
    sleep 0.1
done

resident() { awk '/^VmRSS/ { print $2 }' "/proc/$agent/status"; }
inside "$kept/failing" "$events" $((run_in + seconds)) >"$kept/sent" &
sender=$!
sleep "$run_in"
memory=()
for _ in 1 2 3 4 5 6 7; do
    memory+=("$(resident)")
    [ "${#memory[@]}" = 7 ] || sleep "$(awk -v s="$seconds" 'BEGIN { print s / 6.2 }')"
done
wait "$sender"
sleep 2
inside curl -sf http://127.0.0.1:9767/metrics >"$kept/metrics"
kill "$agent"
wait "$agent" || true
agent=""

python3 - "$kept" "${memory[@]}" <<'END'
import datetime, json, re, sys

kept, memory = sys.argv[1], [int(kb) for kb in sys.argv[2:]]
metrics = open(f"{kept}/metrics").read()
sent, rate = map(int, open(f"{kept}/sent").read().split())

def total(name, label=""):
    found = re.findall(rf"^{name}(\{{.*\}})? (\S+)", metrics, re.M)
    return sum(int(float(value)) for labels, value in found if label in labels)

def nanos(stamp):
    whole, fraction = stamp.rstrip("Z").split(".")
    moment = datetime.datetime.fromisoformat(whole).replace(tzinfo=datetime.timezone.utc)
    return int(moment.timestamp()) * 10**9 + int(fraction.ljust(9, "0"))

written, said, late = 0, 0, []
for line in open(f"{kept}/logs/application.log"):
    line = json.loads(line)
    if line["message"] == "registration failed":
        written += 1
        sent_at = int(line["call_id"].split("@")[0].split("-")[1])
        late.append((nanos(line["timestamp"]) - sent_at) / 1e6)
    elif line["message"] == "lines suppressed":
        said += line["metadata"]["lines"]
suppressed = total("sidetone_log_suppressed_lines_total", 'stream="application"')
lost = total("sidetone_log_lost_lines_total", 'stream="application"')
told = total("voip_sip_registrations_total")
print(f"| events sent | a second | taken | lines written | suppressed | said so | lost | sum | packets dropped | events dropped |")
print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
drops, events = total("sidetone_capture_drops_total"), total("sidetone_events_lost_total")
print(f"| {sent} | {rate} | {told} | {written} | {suppressed} | {said} | {lost} | {written + suppressed + lost} | {drops} | {events} |")
late.sort()
at = lambda share: late[int(share * (len(late) - 1))]
print(f"\nms from the making of a packet to its line: median {at(0.5):.1f}, 99 % {at(0.99):.1f}, most {at(1):.1f}")
print(f"resident, kB, at equal distances: {memory}")
END
